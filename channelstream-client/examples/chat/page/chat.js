// The chat's page, which all three applications share. The applications check permissions; the page shows
// what the push server sends, always as text, never as HTML.

const at = (id) => document.getElementById(id);
const push = document.body.dataset.push;
const TYPING = 3000; // ms after the last key

let me, connection;
let rooms = [];
let current = null;
/** By `#room` or `@user`: the list of messages, its items by id, states by user, the number of unread messages,
 * the draft, and why it could not be sent. */
const conversations = new Map();

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function button(className, text, act) {
  const element = make('button', className, text);
  element.type = 'button';
  element.addEventListener('click', act);
  return element;
}

function conversation(key) {
  if (!conversations.has(key)) {
    conversations.set(key, { key, list: make('ol'), items: new Map(), people: new Map(), unread: 0, draft: '', failed: '' });
  }
  return conversations.get(key);
}

function notice(text) {
  at('notice').textContent = text;
  at('notice').hidden = !text;
}

/** Requests the session from the application. */
async function session(method, body) {
  const json = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch('session', { method, ...json });
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error);
  return data;
}

// What is shown

const joined = () => connection.channels.map((room) => `#${room}`);

/** Makes the round letter of a user; the color follows from the name. */
function face(user) {
  const element = make('span', 'face', [...user][0].toUpperCase());
  element.setAttribute('aria-hidden', 'true');
  element.style.setProperty('--hue', [...user].reduce((sum, letter) => sum * 31 + letter.codePointAt(0), 7) % 360);
  return element;
}

function fill(list, buttons) {
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.key;
  list.replaceChildren(...buttons.map((element) => make('li', '', element)));
  if (focused) [...list.querySelectorAll('button')].find(({ dataset }) => dataset.key === focused)?.focus();
}

function entry(key, ...content) {
  const element = button('entry', '', () => open(key));
  element.dataset.key = key;
  element.append(...content);
  return element;
}

/** Makes an entry that shows whether it is open, and how many messages are unread. */
function tab(key, ...content) {
  const element = entry(key, ...content);
  const unread = conversations.get(key)?.unread;
  if (unread) element.append(make('span', 'badge', String(unread), make('span', 'unseen', ' unread')));
  if (current?.key === key) element.setAttribute('aria-current', 'true');
  return element;
}

function draw() {
  const here = joined();
  const room = current?.key.startsWith('#') ? current : null;
  const join = (name) => (here.includes(`#${name}`) ? '' : make('span', 'quiet', 'join'));
  fill(at('rooms'), rooms.map((name) => tab(`#${name}`, make('span', 'name', `# ${name}`), join(name))));
  const people = [...(room ?? conversation(here[0])).people.keys()].sort();
  fill(at('people'), people.map((user) => entry(`@${user}`, face(user), make('span', 'name', user === me ? `${user} (you)` : user))));
  const privates = [...conversations.keys()].filter((key) => key.startsWith('@'));
  fill(at('privates'), privates.map((key) => tab(key, face(key.slice(1)), make('span', 'name', key.slice(1)))));
  at('no-privates').hidden = privates.length > 0;
  const typing = room ? [...room.people].filter(([user, state]) => user !== me && `#${state?.typing}` === room.key) : [];
  at('typing').textContent = typing.length ? `${typing.map(([user]) => user).join(', ')}: typing …` : '';
  at('leave').hidden = !room || here.length < 2;
  // A message that could not be sent stays in the input, with the error.
  const { failed } = current ?? {};
  at('text').readOnly = sending !== null && sending === current;
  at('text').setAttribute('aria-invalid', String(Boolean(failed)));
  at('unsent').textContent = failed ? `Not sent: ${failed}.` : '';
  at('submit').textContent = failed ? 'Send again' : 'Send';
  at('title').textContent = room ? room.key.replace('#', '# ') : `${current?.key.slice(1)}, in private`;
}

function open(key) {
  if (key.startsWith('#') && !joined().includes(key)) return connection.subscribe([key.slice(1)]);
  setTyping(null);
  if (current) current.draft = at('text').value;
  current = conversation(key);
  at('text').value = current.draft;
  current.unread = 0;
  at('log').replaceChildren(current.list);
  at('log').scrollTop = at('log').scrollHeight;
  at('text').placeholder = key.startsWith('#') ? `Message to everybody in ${key.slice(1)}` : `Message to ${key.slice(1)} alone`;
  draw();
  at('text').focus();
}

/** Adds to a conversation, and stays at its end if the end was in view. */
function append(where, item) {
  const log = at('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  where.list.append(item);
  if (where === current && atEnd) log.scrollTop = log.scrollHeight;
}

function show(event, where, isNew) {
  if (where.items.has(event.uuid)) return; // arrived already, in the history or on an earlier TCP connection
  const { uuid, user, timestamp, edited } = event;
  const time = make('time', 'quiet', new Date(timestamp.replace(/Z?$/, 'Z')).toLocaleTimeString([], { timeStyle: 'short' }));
  const mark = make('span', 'quiet', edited ? 'edited' : '');
  const text = make('p', '', event.message?.text ?? '');
  const item = make('li', user === me ? 'own' : '', face(user), make('div', 'head', make('b', '', user), time, mark), text);
  if (user === me) {
    const change = button('plain', 'Edit', () => edit(uuid, item, text));
    const remove = button('plain', 'Delete', () => connection.delete({ uuid }));
    item.append(make('div', 'acts', change, remove));
  }
  where.items.set(uuid, { item, text, mark });
  append(where, item);
  if (isNew && where !== current) where.unread += 1;
}

function edit(uuid, item, text) {
  if (item.querySelector('form')) return;
  const field = make('input');
  field.value = text.textContent;
  field.maxLength = 2000;
  field.required = true;
  field.setAttribute('aria-label', 'New text');
  const form = make('form', '', field, make('button', '', 'Save'), button('plain', 'Cancel', () => close()));
  const close = () => {
    form.replaceWith(text);
    item.querySelector('.acts button').focus();
  };
  form.addEventListener('keydown', ({ key }) => key === 'Escape' && close());
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    connection.edit({ uuid, text: field.value });
    close();
  });
  text.replaceWith(form);
  field.focus();
}

// What comes

function receive(event) {
  const all = [...conversations.values()];
  const shown = all.find(({ items }) => items.has(event.uuid));
  const { message, user, channel } = event;
  if (event.type === 'message') {
    const other = user === me ? message?.to : user;
    show(event, conversation(channel === null ? `@${other}` : `#${channel}`), true);
  } else if (event.type === 'message:edit' && shown) {
    const { text, mark } = shown.items.get(event.uuid);
    if (message) text.textContent = message.text ?? '';
    mark.textContent = 'edited';
  } else if (event.type === 'message:delete' && shown) {
    shown.items.get(event.uuid).item.remove();
    shown.items.delete(event.uuid);
  } else if (event.type === 'presence') {
    const where = conversation(`#${channel}`);
    where.people = new Map(event.users.map(({ user, state }) => [user, state]));
    append(where, make('li', 'quiet', `${user} ${message.action === 'joined' ? 'came' : 'left'}`));
  } else if (event.type === 'user_state_change') {
    conversation(`#${channel}`).people.set(user, message.state);
  }
  draw();
}

/** Draws the rooms again from an answer of the server. */
function take({ channels_info: { channels, users } }, names = Object.keys(channels)) {
  const states = new Map(users.map(({ user, state }) => [user, state]));
  for (const name of names) {
    const where = conversation(`#${name}`);
    where.list.replaceChildren();
    where.items.clear();
    where.people = new Map(channels[name].users.map((user) => [user, states.get(user)]));
    for (const message of channels[name].history) show(message, where, false);
  }
}

// What is done

/** The room in which the user types: the current one, and the last one that was sent. */
let typing = null;
let sentTyping = null;
let sendingTyping = false;
let typingTimer;

function setTyping(room) {
  clearTimeout(typingTimer);
  if (room) typingTimer = setTimeout(() => setTyping(null), TYPING);
  typing = room;
  sendTyping();
}

/** Sends one request after the other, since two at a time could arrive in the wrong order. */
function sendTyping() {
  if (sendingTyping || typing === sentTyping) return;
  sendingTyping = true;
  sentTyping = typing;
  connection.updateUserState({ typing });
}

function onTypingSent() {
  sendingTyping = false;
  sendTyping();
}

at('text').addEventListener('input', ({ target }) => {
  setTyping(target.value && current.key.startsWith('#') ? current.key.slice(1) : null);
});

/** The conversation whose draft is being sent. Drafts are sent one at a time, to keep their order. */
let sending = null;

at('send').addEventListener('submit', (event) => {
  event.preventDefault();
  if (sending) return;
  sending = current;
  sending.draft = at('text').value;
  sending.failed = '';
  const name = sending.key.slice(1);
  connection.message({ text: sending.draft, ...(sending.key.startsWith('#') ? { room: name } : { to: name }) });
  draw();
});

/** Handles the answer to a draft. After an error the draft stays, to be sent again. */
function sent(failed) {
  sending.failed = failed;
  if (!failed) {
    sending.draft = '';
    if (sending === current) at('text').value = '';
    setTyping(null);
  }
  sending = null;
  draw();
}

at('leave').addEventListener('click', () => connection.unsubscribe([current.key.slice(1)]));

at('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    enter(await session('POST', { name: at('name').value }));
  } catch (error) {
    notice(error.message);
  }
});

at('sign-out').addEventListener('click', async () => {
  connection.disconnect();
  await session('DELETE', {});
  location.reload();
});

async function enter({ user, rooms: names }) {
  const client = await import(`${push}/static/channelstream/index.js`).catch(() => null);
  if (!client) return notice(`The push server at ${push} does not answer. Start it, by cargo run --release -p channelstream-server, and load this page again.`);
  me = user;
  rooms = names;
  connection = new client.ChannelStreamConnection({
    channels: rooms.slice(0, 1),
    connectUrl: 'connect',
    subscribeUrl: 'subscribe',
    unsubscribeUrl: 'unsubscribe',
    userStateUrl: 'user_state',
    messageUrl: 'message',
    messageEditUrl: 'message',
    messageDeleteUrl: 'message',
    websocketUrl: `${push.replace('http', 'ws')}/ws`,
    longPollUrl: `${push}/listen`,
    disconnectUrl: `${push}/disconnect`,
  });
  const on = (name, act) => connection.addEventListener(name, ({ detail }) => act(detail));
  const line = (text) => (at('line').textContent = text);
  on('connect', ({ data }) => {
    take(data);
    open(current?.key ?? `#${rooms[0]}`);
  });
  on('subscribe', ({ data }) => {
    take(data, data.subscribed_to);
    if (data.subscribed_to.length) open(`#${data.subscribed_to[0]}`); // else the button was pressed twice
  });
  on('unsubscribe', () => open(joined()[0]));
  on('listenMessage', (events) => events.forEach(receive));
  on('listenOpened', () => line('connected'));
  on('listenClose', () => line('coming back …'));
  on('refused', ({ status }) => line(`refused (${status})`));
  // A restarted application has lost its sessions.
  on('connectError', ({ request }) => (request.status === 401 ? location.reload() : line('coming back …')));
  on('message', () => {
    notice('');
    sent('');
  });
  on('messageError', ({ data }) => sent(data?.error ?? 'the application does not answer'));
  for (const end of ['setUserState', 'setUserStateError']) on(end, onTypingSent);
  on('error', ({ source, data }) => !['messageError', 'setUserStateError'].includes(source) && data?.error && notice(data.error));
  at('me').replaceChildren(face(me), me);
  at('sign-in').hidden = true;
  at('chat').hidden = at('sign-out').hidden = false;
  connection.connect();
}

const known = await session('GET');
if (known.user) enter(known);
else at('sign-in').hidden = false;
