// The admin page: fetches the server's figures when opened, every ten seconds and on request, and
// shows them. Everything that comes from the server goes into the page as text.

const PERIOD = 10_000;
const PATIENCE = 20_000;
const MOST_ROWS = 200;
const MOST_MESSAGES = 50;

const FIGURES = [
  'remembered_user_count', 'unique_user_count', 'total_connections',
  'total_channels', 'total_unique_messages', 'total_messages',
];

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const number = new Intl.NumberFormat('en');

const at = (id) => document.getElementById(id);

let shown = null; // the last figures
let shownAt = null; // when they came
let chosen = null; // name of the channel in view: names outlive a restart of the server, ids do not
let timer = null;
let asking = false;

/** A new element with a text, or with children. */
function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function plural(count, one, many) {
  return `${number.format(count)} ${count === 1 ? one : many}`;
}

/** Times of the server are in UTC, with or without saying so. */
function parseTime(text) {
  const zoned = /(Z|[+-]\d\d:?(\d\d)?)$/.test(text.slice(10));
  return new Date(zoned ? text : `${text}Z`);
}

function timeAgo(text) {
  const time = parseTime(text);
  const seconds = Math.round((time - Date.now()) / 1000);
  if (Number.isNaN(seconds)) return text;
  for (const [unit, length] of [['day', 86_400], ['hour', 3_600], ['minute', 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return relative.format(seconds, 'second');
}

function showTime(element, text) {
  element.dateTime = text;
  element.title = text;
  element.textContent = timeAgo(text);
}

/**
 * Makes the children of `list` stand for `items` in their order. The element of a key that stays is
 * kept, and so are its focus and its open folds.
 */
function reconcile(list, items, keyOf, create, update) {
  const wanted = new Set(items.map(keyOf));
  const kept = new Map();
  for (const child of Array.from(list.children)) {
    const key = child.dataset.key;
    if (wanted.has(key) && !kept.has(key)) kept.set(key, child);
    else child.remove();
  }
  const focused = document.activeElement;
  let place = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = kept.get(key);
    kept.delete(key);
    if (!element) {
      element = create(item);
      element.dataset.key = key;
    }
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
    update(element, item);
  }
  if (focused !== document.activeElement && list.contains(focused)) focused.focus();
}

/** Says in words how many of a list are in view. */
function countLine(inView, matching, all, noun) {
  if (all === 0) return `No ${noun}.`;
  if (matching === 0) return `None of ${number.format(all)} ${noun} matches.`;
  const of = matching === all ? number.format(all) : `${number.format(matching)} matching`;
  if (inView < matching) return `The first ${number.format(inView)} of ${of} ${noun}.`;
  if (matching < all) return `${number.format(matching)} of ${number.format(all)} ${noun}.`;
  return `All ${number.format(all)} ${noun}.`;
}

const ORDERS = {
  name: (a, b) => a.name.localeCompare(b.name),
  connections: (a, b) => b.total_connections - a.total_connections || ORDERS.name(a, b),
  active: (a, b) => parseTime(b.last_active) - parseTime(a.last_active) || ORDERS.name(a, b),
};

function matches(text, search) {
  return text.toLowerCase().includes(search.trim().toLowerCase());
}

function createChannelRow({ name }) {
  const button = make('button', 'row', make('span', 'row-name', name), make('span', 'quiet'));
  button.type = 'button';
  button.addEventListener('click', () => {
    chosen = name;
    render();
    at('channel').scrollIntoView({ block: 'nearest' });
  });
  return make('li', '', button);
}

function updateChannelRow(row, channel) {
  const button = row.firstElementChild;
  if (channel.name === chosen) button.setAttribute('aria-current', 'true');
  else button.removeAttribute('aria-current');
  button.lastElementChild.textContent = [
    plural(channel.total_connections, 'connection', 'connections'),
    plural(channel.users.length, 'user', 'users'),
    timeAgo(channel.last_active),
  ].join(' · ');
}

function renderChannels(channels) {
  const search = at('channel-search').value;
  const matching = channels.filter((channel) => matches(channel.name, search));
  matching.sort(ORDERS[at('channel-order').value]);
  const inView = matching.slice(0, MOST_ROWS);
  at('channel-count').textContent =
    countLine(inView.length, matching.length, channels.length, 'channels');
  reconcile(at('channel-list'), inView, (channel) => channel.name, createChannelRow, updateChannelRow);
}

function createMessage() {
  const head = make('p', 'message-head', make('strong'), ' ', make('time', 'quiet'), make('span', 'quiet'));
  return make('li', '', head, make('pre'));
}

function updateMessage(item, message) {
  const [user, time, marks] = item.firstElementChild.children;
  user.textContent = message.user;
  showTime(time, message.timestamp);
  const notes = [];
  if (message.edited) notes.push('edited');
  if (message.pm_users.length) notes.push(`only for ${message.pm_users.join(', ')}`);
  if (message.exclude_users.length) notes.push(`not for ${message.exclude_users.join(', ')}`);
  marks.textContent = notes.map((note) => ` · ${note}`).join('');
  const text = 'message' in message ? JSON.stringify(message.message, null, 2) : 'no content';
  item.lastElementChild.textContent = text;
}

function renderChannel(channel) {
  at('channel-none').hidden = chosen !== null;
  at('channel-gone').hidden = chosen === null || channel !== undefined;
  at('channel-view').hidden = channel === undefined;
  if (!channel) return;
  at('channel-name').textContent = channel.name;
  at('channel-uuid').textContent = channel.uuid;
  at('channel-connections').textContent = number.format(channel.total_connections);
  showTime(at('channel-active'), channel.last_active);

  reconcile(
    at('channel-settings'), Object.entries(channel.settings), ([name]) => name,
    ([name]) => make('tr', '', make('th', '', make('code', '', name)), make('td')),
    (row, [, value]) => { row.lastElementChild.textContent = String(value); },
  );
  const users = channel.users.slice(0, MOST_ROWS);
  at('channel-users-count').textContent = number.format(channel.users.length);
  at('channel-users-line').textContent =
    countLine(users.length, channel.users.length, channel.users.length, 'users');
  reconcile(at('channel-users'), users, (name) => name, (name) => make('li', '', name), () => {});

  const newest = channel.history.slice(-MOST_MESSAGES).reverse();
  at('channel-history-count').textContent = number.format(channel.history.length);
  at('channel-history-line').textContent = newest.length < channel.history.length
    ? `The newest ${newest.length} of ${plural(channel.history.length, 'message', 'messages')}, newest first.`
    : newest.length ? 'Newest first.' : 'No messages are stored.';
  reconcile(at('channel-history'), newest, (message) => message.uuid, createMessage, updateMessage);
}

function createUser({ user }) {
  const fold = make('details', '', make('summary', '', make('span', 'row-name', user), ' ', make('span', 'quiet')));
  fold.append(
    make('h3', '', 'Public state'), make('pre'),
    make('h3', '', 'Connections'), make('ul', 'ids'),
  );
  return make('li', '', fold);
}

function updateUser(item, user) {
  const fold = item.firstElementChild;
  const [summary, , state, , connections] = fold.children;
  summary.lastElementChild.textContent =
    plural(user.connections.length, 'connection', 'connections');
  state.textContent = JSON.stringify(user.state, null, 2);
  reconcile(connections, user.connections, (id) => id, (id) => make('li', '', make('code', '', id)), () => {});
}

function renderUsers(users) {
  const search = at('user-search').value;
  const matching = users.filter((user) => matches(user.user, search));
  matching.sort((a, b) => a.user.localeCompare(b.user));
  const inView = matching.slice(0, MOST_ROWS);
  at('user-count').textContent = countLine(inView.length, matching.length, users.length, 'connected users');
  reconcile(at('user-list'), inView, (user) => user.user, createUser, updateUser);
}

function render() {
  if (!shown) return;
  for (const name of FIGURES) at(name).textContent = number.format(shown[name]);
  at('server-line').textContent = `Version ${shown.version}, up ${shown.uptime}`;
  at('updated').textContent = `Updated at ${shownAt.toLocaleTimeString()}`;
  const channels = Object.values(shown.channels);
  renderChannels(channels);
  renderChannel(channels.find((channel) => channel.name === chosen));
  renderUsers(shown.users);
  at('content').hidden = false;
}

/** Which of the notices is in view: `signed-out`, `gone`, `failed`, or none. */
function notice(which, text) {
  for (const name of ['signed-out', 'gone', 'failed']) at(name).hidden = name !== which;
  at('content').classList.toggle('stale', Boolean(which));
  if (which && !shown) at('server-line').textContent = '';
  if (which === 'failed') at('failed-text').textContent = text;
}

async function ask() {
  let response;
  try {
    response = await fetch('admin/admin.json', {
      cache: 'no-store',
      redirect: 'manual',
      headers: { Accept: 'application/json' },
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (response.ok) {
      shown = await response.json();
      shownAt = new Date();
    }
  } catch (error) {
    if (error instanceof SyntaxError) notice('failed', 'The answer of the server is no JSON.');
    else notice('gone');
    return;
  }
  // The server sends who has no rights to the sign-in page, which the browser shows as this type.
  if (response.type === 'opaqueredirect') notice('signed-out');
  else if (!response.ok) notice('failed', `The server answered with status ${response.status}.`);
  else {
    notice(null);
    render();
  }
}

async function refresh() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  at('refresh').setAttribute('aria-busy', 'true');
  try {
    await ask();
  } finally {
    at('refresh').removeAttribute('aria-busy');
    asking = false;
    if (!document.hidden) timer = setTimeout(refresh, PERIOD);
  }
}

at('refresh').addEventListener('click', refresh);
for (const id of ['channel-search', 'channel-order', 'user-search']) {
  at(id).addEventListener('input', render);
}
// A page that nobody sees asks nothing.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
refresh();
