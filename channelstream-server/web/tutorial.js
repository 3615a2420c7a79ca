// The tutorial: each step sends what its form says, shows what went over the wire, and the same as
// a program. Everything that comes from the server goes into the page as text.

import { ChannelStreamConnection } from '../channelstream/index.js';
import { indent, parseExact } from './json_text.js';
import { FRAMEWORKS, LANGUAGES, snippets } from './snippets.js';

const at = (id) => document.getElementById(id);
const simulated = document.body.dataset.simulation === 'on';

// Below the prefix of a proxy, if there is one.
const base = new URL('./', location.href).href.replace(/\/$/, '');
const socketBase = base.replace(/^http/, 'ws');

/** How many frames the log keeps. */
const KEPT = 60;
/** What the log calls this page. */
const PAGE = 'this page';
/** Between two looks at the channel, in ms. */
const LOOK = 2000;

/** A random id, also where the page is not served by https. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

const ids = { user: newId(), message: newId(), friend: newId(), traveller: newId() };
const friendName = `friend-${ids.friend.slice(0, 4)}`;
const travellerName = `traveller-${ids.traveller.slice(0, 4)}`;
at('listen-user').value = `visitor-${ids.user.slice(0, 4)}`;

/** A new element with a text, or with children. */
function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

const indented = (value) => JSON.stringify(value, null, 2);

// What goes over the wire

/** Shows requests and answers of a step in the place of those before. */
function showWire(step, exchanges) {
  const box = at(`${step}-wire`);
  box.classList.add('pair');
  box.replaceChildren(
    ...exchanges.flatMap(({ request, answer }) => [
      make('div', '', make('h3', '', 'Request'), scrolling('Request', request)),
      make('div', '', make('h3', '', 'Answer'), scrolling('Answer', answer)),
    ]),
  );
}

/** A text that can be scrolled by keyboard. */
function scrolling(label, text) {
  const pre = make('pre', '', text);
  pre.tabIndex = 0;
  pre.setAttribute('role', 'group');
  pre.setAttribute('aria-label', label);
  return pre;
}

async function ask(method, path, body) {
  const url = new URL(`${base}/tutorial${path}`);
  const request = `${method} ${url.pathname} HTTP/1.1\nhost: ${url.host}\ncontent-type: application/json\n\n${indented(body)}`;
  const begun = performance.now();
  try {
    const response = await fetch(url, {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    const took = (performance.now() - begun).toFixed(0);
    let data = null;
    try {
      data = JSON.parse(text);
    } catch {
      // Shown as it is.
    }
    const head = `${response.status} ${response.statusText}, after ${took} ms\ncontent-type: ${response.headers.get('content-type')}`;
    return { ok: response.ok, data, request, answer: `${head}\n\n${data === null ? text : indent(text)}` };
  } catch (error) {
    return { ok: false, data: null, request, answer: `no answer: ${error.message}` };
  }
}

/** Does the calls of a step one after another, as long as they succeed, and shows them. */
async function simulate(step, ...calls) {
  const exchanges = [];
  for (const call of calls) {
    exchanges.push(await ask(...call));
    showWire(step, exchanges);
    if (!exchanges.at(-1).ok) break;
  }
  return exchanges.at(-1);
}

/** Runs what a button does, and keeps it from being pressed meanwhile. */
async function busy(button, work) {
  button.setAttribute('aria-busy', 'true');
  button.disabled = true;
  try {
    // What is enabled afterwards is for the work to say, by giving false.
    if ((await work()) !== false) button.disabled = false;
  } finally {
    button.removeAttribute('aria-busy');
  }
}

// Frames

function told(frame) {
  switch (frame.type) {
    case 'presence':
      return `${frame.user} ${frame.message.action} ${frame.channel}`;
    case 'user_state_change':
      return `${frame.user} is ${JSON.stringify(frame.message.state)}`;
    case 'message:delete':
      return `${frame.uuid} is gone`;
    default: {
      const text = frame.message?.text ?? JSON.stringify(frame.message ?? null);
      return `${frame.user ?? 'now'}: ${typeof text === 'string' ? text : JSON.stringify(text)}`;
    }
  }
}

/** Adds a frame to the log; `hearer` is who heard it. */
function showFrame(frame, hearer) {
  const list = at('frames');
  const line = make('p', '', make('span', 'kind', frame.type), make('span', '', told(frame)));
  if (frame.catchup) line.append(make('span', 'badge', 'catchup'));
  if (frame.type === 'message' && frame.channel === null) line.append(make('span', 'badge', 'private'));
  line.append(make('span', 'quiet', `to ${hearer}`));
  const json = scrolling('Frame', indented(frame));
  list.prepend(make('li', '', line, make('details', '', make('summary', '', 'as the page reads it'), json)));
  while (list.children.length > KEPT) list.lastElementChild.remove();
}

/** A connection that the simulation makes, whose frames go into the log as what `hearer` heard. */
function listener(username, hearer, more) {
  const connection = new ChannelStreamConnection({
    username,
    channels: [at('listen-channel').value],
    connectUrl: `${base}/tutorial/connect`,
    websocketUrl: `${socketBase}/ws`,
    longPollUrl: `${base}/listen`,
    disconnectUrl: `${base}/disconnect`,
    ...more,
  });
  connection.addEventListener('listenMessage', ({ detail }) => {
    for (const frame of Array.isArray(detail) ? detail : []) {
      showFrame(frame, hearer);
      arrived(frame, hearer);
    }
  });
  return connection;
}

// 1: connect, and what the channel looks like

at('connect-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const body = { username: at('connect-user').value, channels: [at('connect-channel').value] };
  busy(event.submitter, async () => {
    await simulate('connect', ['POST', '/connect', body]);
    await look();
  });
});

/** The channel as /info tells it, now. */
async function look() {
  const name = at('connect-channel').value;
  const { ok, data } = await ask('POST', '/info', { info: { channels: [name], include_history: false, return_public_state: true } });
  const channel = data?.channels?.[name];
  at('now-connections').textContent = ok ? String(channel?.total_connections ?? 'no such channel') : 'no answer';
  at('now-users').textContent = channel?.users.join(', ') || 'nobody';
}

// 2: listen

let page = null;

function startListening() {
  page?.disconnect();
  const mine = listener(at('listen-user').value, PAGE);
  page = mine;
  const state = (text) => {
    if (page === mine) at('listen-state').textContent = text;
  };
  state('Connecting.');
  mine.addEventListener('listenOpened', () => state(`Listening on ${mine.channels.join(', ')} as ${mine.username}.`));
  mine.addEventListener('listenClose', () => state('The line is gone; coming back.'));
  mine.addEventListener('connectError', () => state('The server does not answer; trying again.'));
  mine.connect();
  at('listen-stop').disabled = false;
}

at('listen-form').addEventListener('submit', (event) => {
  event.preventDefault();
  startListening();
});

at('listen-stop').addEventListener('click', () => {
  page?.disconnect();
  page = null;
  at('listen-stop').disabled = true;
  at('listen-state').textContent = 'Not listening.';
});

// 3: send

let sent = null;

/** The message of the form; null, and a word about it, if it is no JSON object. */
function message() {
  const field = at('send-message');
  let value = null;
  let fault = 'A message is a JSON object, in braces.';
  try {
    value = parseExact(field.value);
  } catch (error) {
    fault = `This is no JSON: ${error.message}`;
  }
  const good = value !== null && typeof value === 'object' && !Array.isArray(value) && !JSON.isRawJSON?.(value);
  at('send-fault').textContent = good ? '' : fault;
  field.setAttribute('aria-invalid', String(!good));
  return good ? value : null;
}

function address() {
  const channel = at('listen-channel').value;
  const me = at('listen-user').value;
  switch (at('send-to').value) {
    case 'user':
      return { pm_users: [me] };
    case 'others':
      return { channel, exclude_users: [me] };
    default:
      return { channel };
  }
}

at('send-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = message();
  if (content === null) return at('send-message').focus();
  const where = address();
  // An id of the page's own, so that it knows the message when it arrives before the answer.
  const uuid = newId();
  sent = { uuid, where, at: performance.now() };
  at('send-arrival').textContent = where.exclude_users
    ? 'On its way to all the others; here nothing comes.'
    : page ? 'On its way.' : 'On its way; this page does not listen.';
  busy(event.submitter, async () => {
    const { ok } = await simulate('send', ['POST', '/message', [{ user: at('send-user').value, uuid, message: content, ...where }]]);
    at('edit-button').disabled = at('delete-button').disabled = !ok;
    at('edit-state').textContent = ok ? `About the message ${uuid}.` : 'Send a message first.';
    if (!ok) at('send-arrival').textContent = 'Not sent.';
  });
});

function arrived(frame, hearer) {
  at('frames-none').hidden = true;
  if (hearer !== PAGE || frame.uuid !== sent?.uuid) return;
  if (frame.type === 'message') {
    at('send-arrival').textContent = `Arrived after ${Math.max(1, Math.round(performance.now() - sent.at))} ms.`;
  } else {
    at('edit-state').textContent = `The listeners were told: ${frame.type}.`;
  }
}

// 4: edit and delete

at('edit-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = { ...(message() ?? {}), text: at('edit-text').value };
  busy(event.submitter, () => simulate('edit', ['PATCH', '/message', [{ uuid: sent.uuid, ...sent.where, message: content }]]).then(() => true));
});

at('delete-button').addEventListener('click', (event) => {
  busy(event.currentTarget, async () => {
    const { ok } = await simulate('edit', ['DELETE', '/message', [{ uuid: sent.uuid, ...sent.where }]]);
    if (ok) at('edit-button').disabled = true;
    return !ok;
  });
});

// 5: state and presence

let friend = null;

const settings = { notify_presence: true, notify_state: true, store_history: true };

at('settings-button').addEventListener('click', (event) => {
  busy(event.currentTarget, async () => {
    const { ok } = await simulate('state', ['POST', '/channel_config', { [at('listen-channel').value]: settings }]);
    at('friend-state').textContent = ok ? 'The channel now tells who comes and goes.' : 'That did not work.';
  });
});

at('friend-button').addEventListener('click', (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  friend = listener(friendName, friendName);
  friend.addEventListener('connect', ({ detail }) => {
    const body = { username: friendName, channels: friend.channels };
    const request = `POST ${new URL(friend.connectUrl).pathname} HTTP/1.1\ncontent-type: application/json\n\n${indented(body)}`;
    const { status, statusText } = detail.request;
    showWire('state', [{ request, answer: `${status} ${statusText}\n\n${indented(detail.data)}` }]);
  });
  friend.addEventListener('listenOpened', () => {
    at('friend-state').textContent = `${friendName} is here, and listens.`;
    at('friend-leave').disabled = at('state-button').disabled = false;
  });
  friend.connect();
});

at('friend-leave').addEventListener('click', () => {
  friend?.disconnect();
  friend = null;
  at('friend-leave').disabled = at('state-button').disabled = true;
  at('friend-button').disabled = false;
  at('friend-state').textContent = `${friendName} has left.`;
});

at('state-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const body = { user: friendName, user_state: { mood: at('state-mood').value }, state_public_keys: ['mood'] };
  busy(event.submitter, () => simulate('state', ['POST', '/user_state', body]).then(() => friend !== null));
});

// 6: away and back. By long polls, since a websocket that a page closes says good-bye.

let traveller = null;

/** Which of the buttons make sense now. */
function awayAt(stage, text) {
  at('away-connect').disabled = stage !== 'gone';
  at('away-close').disabled = stage !== 'listening';
  at('away-send').disabled = at('away-open').disabled = stage !== 'away';
  at('away-state').textContent = text;
}

at('away-connect').addEventListener('click', () => {
  awayAt('waiting', 'Connecting.');
  traveller = listener(travellerName, travellerName, { noWebsocket: true });
  traveller.addEventListener('connect', () => awayAt('listening', `${travellerName} listens.`));
  traveller.addEventListener('connectError', () => awayAt('gone', 'The server does not answer.'));
  traveller.addEventListener('listenError', () => {
    traveller.closeConnection();
    awayAt('gone', 'Away for too long: the server has forgotten the connection. The client would connect anew.');
  });
  traveller.connect();
});

at('away-close').addEventListener('click', () => {
  traveller.closeConnection();
  awayAt('away', 'The lid is closed; the server keeps the connection for 15 seconds. Send something.');
});

at('away-send').addEventListener('click', (event) => {
  const body = [{ user: at('send-user').value, channel: at('listen-channel').value, message: { text: 'Sent while you were away' } }];
  busy(event.currentTarget, async () => {
    const { ok } = await simulate('away', ['POST', '/message', body]);
    if (at('away-open').disabled) return false;
    at('away-state').textContent = ok ? 'Sent, and kept for the traveller. Open the lid.' : 'That did not work.';
  });
});

at('away-open').addEventListener('click', () => {
  awayAt('listening', `${travellerName} is back on the same connection, and catches up.`);
  traveller.startListening(null, null);
});

// The same as programs

let language = 'curl';
let framework = 'flask';

/** Tabs of one step; the language that is chosen in one is chosen in all. */
function showCode(box, texts) {
  const step = box.dataset.step;
  const names = step === 'app' ? FRAMEWORKS : LANGUAGES;
  const shown = Object.keys(texts).length === 1 ? Object.keys(texts)[0] : step === 'app' ? framework : language;
  const panel = scrolling('Program', texts[shown]);
  panel.id = `${step}-program`;
  if (Object.keys(texts).length === 1) return box.replaceChildren(panel);
  panel.setAttribute('role', 'tabpanel');
  const list = make('div', 'tabs');
  list.setAttribute('role', 'tablist');
  list.setAttribute('aria-label', step === 'app' ? 'Framework' : 'Language');
  const keys = Object.keys(names);
  for (const key of keys) {
    const tab = make('button', '', names[key]);
    tab.type = 'button';
    tab.id = `${step}-tab-${key}`;
    tab.setAttribute('role', 'tab');
    tab.setAttribute('aria-selected', String(key === shown));
    tab.setAttribute('aria-controls', panel.id);
    tab.tabIndex = key === shown ? 0 : -1;
    tab.addEventListener('click', () => choose(step, key));
    tab.addEventListener('keydown', (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (move) choose(step, keys[(keys.indexOf(key) + move + keys.length) % keys.length]);
    });
    list.append(tab);
    if (key === shown) panel.setAttribute('aria-labelledby', tab.id);
  }
  panel.removeAttribute('aria-label');
  box.replaceChildren(list, panel);
}

function choose(step, key) {
  const tab = at(`${step}-tab-${key}`);
  const before = tab.getBoundingClientRect().top;
  if (step === 'app') framework = key;
  else language = key;
  showPrograms();
  const now = at(`${step}-tab-${key}`);
  // What stands above has changed its height; the tab stays under the finger.
  scrollBy(0, now.getBoundingClientRect().top - before);
  now.focus({ preventScroll: true });
}

function showPrograms() {
  const value = (id) => at(id).value;
  let content = { text: 'This can serve as notification', level: 'warning' };
  try {
    content = Object(parseExact(value('send-message')));
  } catch {
    // The form says so when it is sent.
  }
  const texts = snippets(base, {
    user: value('connect-user'),
    channel: value('connect-channel'),
    sender: value('send-user'),
    message: content,
    listener: value('listen-user'),
    text: value('edit-text'),
    mood: value('state-mood'),
    ids,
  });
  for (const box of document.querySelectorAll('.code')) showCode(box, texts[box.dataset.step]);
}

document.addEventListener('change', showPrograms);
showPrograms();

if (simulated) {
  startListening();
  look();
  setInterval(() => {
    if (!document.hidden) look();
  }, LOOK);
} else {
  at('no-simulation').hidden = false;
  for (const button of document.querySelectorAll('.step button:not([role])')) button.disabled = true;
}
document.body.dataset.ready = 'yes';
