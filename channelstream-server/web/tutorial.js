// The tutorial: each step sends the request of its form, shows request and answer, and the same as a
// program. Everything that comes from the server goes into the page as text.

import { ChannelStreamConnection } from '../channelstream/index.js';
import { messages } from '../channelstream/messages.js';
import { FRAMEWORKS } from './applications.js';
import { code } from './code.js';
import { at, make } from './element.js';
import { indent, parseExact } from './json_text.js';
import { LANGUAGES, snippets } from './snippets.js';

const simulated = at('main').dataset.simulation === 'on';

// Below the prefix of a proxy, if there is one.
const base = new URL('./', location.href).href.replace(/\/$/, '');
const socketBase = base.replace(/^http/, 'ws');

/** The number of events that the feed keeps. */
const KEPT = 60;
/** The name of this page in the feed. */
const PAGE = 'this page';
/** Milliseconds between two requests for the channel's numbers. */
const INTERVAL = 2000;
/** Milliseconds between two words of the assistant. */
const WORD = 200;

/** A random id, also where the page is not served by https. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

const ids = { user: newId(), message: newId(), friend: newId(), traveller: newId(), answer: newId() };
const friendName = `friend-${ids.friend.slice(0, 4)}`;
const travellerName = `traveller-${ids.traveller.slice(0, 4)}`;
at('listen-user').value = `visitor-${ids.user.slice(0, 4)}`;

const indented = (value) => JSON.stringify(value, null, 2);

// Requests and answers

/** Shows requests and answers of a step in the place of earlier ones. */
function showWire(step, exchanges) {
  at(`${step}-wire`).replaceChildren(
    ...exchanges.flatMap(({ request, answer }) => [
      code(make('h3', '', 'Request'), 'request', request),
      code(make('h3', '', 'Answer'), 'answer', answer),
    ]),
  );
}

async function send(method, path, body) {
  const url = new URL(`${base}/tutorial${path}`);
  const request = `${method} ${url.pathname} HTTP/1.1\nhost: ${url.host}\ncontent-type: application/json\n\n${indented(body)}`;
  const start = performance.now();
  try {
    const response = await fetch(url, {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    const took = (performance.now() - start).toFixed(0);
    let data = null;
    try {
      data = JSON.parse(text);
    } catch {
      // The text is shown as it is.
    }
    const head = `${response.status} ${response.statusText}, after ${took} ms\ncontent-type: ${response.headers.get('content-type')}`;
    return { ok: response.ok, data, request, answer: `${head}\n\n${data === null ? text : indent(text)}` };
  } catch (error) {
    return { ok: false, data: null, request, answer: `no answer: ${error.message}` };
  }
}

/** Sends the request of a step and shows it with its answer. */
async function simulate(step, method, path, body) {
  const exchange = await send(method, path, body);
  showWire(step, [exchange]);
  return exchange;
}

/** Runs the work of a button, which cannot be pressed meanwhile. */
async function busy(button, work) {
  button.setAttribute('aria-busy', 'true');
  button.disabled = true;
  try {
    // Work that returns false sets the button's state itself.
    if ((await work()) !== false) button.disabled = false;
  } finally {
    button.removeAttribute('aria-busy');
  }
}

// The feed

/** An event in words. */
function describe(event) {
  switch (event.type) {
    case 'presence':
      return `${event.user} ${event.message.action} ${event.channel}`;
    case 'user_state_change':
      return `${event.user} is ${JSON.stringify(event.message.state)}`;
    case 'message:delete':
      return `${event.uuid} is deleted`;
    case 'message:append': {
      const more = Object.keys(event.append).length ? `+ ${event.append.text ?? JSON.stringify(event.append)}` : '';
      return event.status ? `${more} ${event.status}` : more;
    }
    case 'gap':
      return `events of ${event.channel ?? 'this user'} were lost: ${event.reason}`;
    default: {
      const text = event.message?.text ?? JSON.stringify(event.message ?? null);
      return `${event.user ?? 'now'}: ${typeof text === 'string' ? text : JSON.stringify(text)}`;
    }
  }
}

/** Adds an event to the feed. `receiver` names the connection that received it. */
function showEvent(event, receiver) {
  const list = at('events');
  // What is appended to a message takes the place of what was appended before.
  const growing = event.type === 'message:append' ? `${event.uuid} ${receiver}` : null;
  if (growing) [...list.children].find(({ dataset }) => dataset.growing === growing)?.remove();
  const line = make('p', '', make('span', 'kind', event.type), make('span', '', describe(event)));
  if (event.catchup) line.append(make('span', 'badge', 'catchup'));
  if (event.type === 'message' && event.channel === null) line.append(make('span', 'badge', 'private'));
  line.append(make('span', 'quiet', `to ${receiver}`));
  const json = code(make('span'), 'event', indented(event));
  const item = make('li', '', line, make('details', '', make('summary', '', 'as JSON'), json));
  if (growing) item.dataset.growing = growing;
  list.prepend(item);
  while (list.children.length > KEPT) list.lastElementChild.remove();
}

/** Makes a connection whose events go into the feed as those of `receiver`. */
function listener(username, receiver, more) {
  const connection = new ChannelStreamConnection({
    username,
    channels: [at('listen-channel').value],
    connectUrl: `${base}/tutorial/connect`,
    websocketUrl: `${socketBase}/ws`,
    eventStreamUrl: `${base}/sse`,
    longPollUrl: `${base}/listen`,
    cancelUrl: `${base}/cancel`,
    disconnectUrl: `${base}/disconnect`,
    ...more,
  });
  connection.addEventListener('listenMessage', ({ detail }) => {
    for (const event of Array.isArray(detail) ? detail : []) {
      showEvent(event, receiver);
      arrived(event, receiver);
    }
  });
  return connection;
}

// 1: connect, and the numbers of the channel

at('connect-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const body = { username: at('connect-user').value, channels: [at('connect-channel').value] };
  busy(event.submitter, async () => {
    await simulate('connect', 'POST', '/connect', body);
    await showChannel();
  });
});

/** Shows what /info returns about the channel. */
async function showChannel() {
  const name = at('connect-channel').value;
  const { ok, data } = await send('POST', '/info', { info: { channels: [name], include_history: false, return_public_state: true } });
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
  messages(mine).onChange(({ message }) => {
    if (message && message.uuid === answering?.uuid) showAnswer(message);
  });
  const state = (text) => {
    if (page === mine) at('listen-state').textContent = text;
  };
  state('Connecting.');
  mine.addEventListener('listenOpened', () => state(`Listening on ${mine.channels.join(', ')} as ${mine.username}.`));
  mine.addEventListener('listenClose', () => state('The connection is lost; reconnecting.'));
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

/** Returns the message of the form. If it is not a JSON object, shows the error and returns null. */
function message() {
  const field = at('send-message');
  let value = null;
  let error = 'A message is a JSON object, in braces.';
  try {
    value = parseExact(field.value);
  } catch ({ message }) {
    error = `This is not JSON: ${message}`;
  }
  const good = value !== null && typeof value === 'object' && !Array.isArray(value) && !JSON.isRawJSON?.(value);
  at('send-error').textContent = good ? '' : error;
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
  // The page chooses the id: the event may arrive before the answer.
  const uuid = newId();
  sent = { uuid, where, at: performance.now() };
  at('send-arrival').textContent = where.exclude_users
    ? 'On its way to everybody else; this page does not receive it.'
    : page ? 'On its way.' : 'On its way; this page does not listen.';
  busy(event.submitter, async () => {
    const { ok } = await simulate('send', 'POST', '/message', [{ user: at('send-user').value, uuid, message: content, ...where }]);
    at('edit-button').disabled = at('delete-button').disabled = !ok;
    at('edit-state').textContent = ok ? `About the message ${uuid}.` : 'Send a message first.';
    if (!ok) at('send-arrival').textContent = 'Not sent.';
  });
});

function arrived(event, receiver) {
  at('events-none').hidden = true;
  if (receiver !== PAGE || event.uuid !== sent?.uuid) return;
  if (event.type === 'message') {
    at('send-arrival').textContent = `Arrived after ${Math.max(1, Math.round(performance.now() - sent.at))} ms.`;
  } else {
    at('edit-state').textContent = `The listeners received ${event.type}.`;
  }
}

// 4: edit and delete

at('edit-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const content = { ...(message() ?? {}), text: at('edit-text').value };
  busy(event.submitter, () => simulate('edit', 'PATCH', '/message', [{ uuid: sent.uuid, ...sent.where, message: content }]).then(() => true));
});

at('delete-button').addEventListener('click', (event) => {
  busy(event.currentTarget, async () => {
    const { ok } = await simulate('edit', 'DELETE', '/message', [{ uuid: sent.uuid, ...sent.where }]);
    if (ok) at('edit-button').disabled = true;
    return !ok;
  });
});

// 5: state and presence

let friend = null;

const settings = { notify_presence: true, notify_state: true, store_history: true };

at('settings-button').addEventListener('click', (event) => {
  busy(event.currentTarget, async () => {
    const { ok } = await simulate('state', 'POST', '/channel_config', { [at('listen-channel').value]: settings });
    at('friend-state').textContent = ok ? 'The channel now reports who joins and leaves.' : 'That did not work.';
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
    at('friend-state').textContent = `${friendName} is here and listens.`;
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
  busy(event.submitter, () => simulate('state', 'POST', '/user_state', body).then(() => friend !== null));
});

// 6: away and back, by long polls: when a page closes a websocket, the server ends the connection.

let traveller = null;

/** Enables the buttons of a stage. */
function awayAt(stage, text) {
  at('away-connect').disabled = stage !== 'gone';
  at('away-close').disabled = stage !== 'listening';
  at('away-send').disabled = at('away-open').disabled = stage !== 'away';
  at('away-state').textContent = text;
}

at('away-connect').addEventListener('click', () => {
  awayAt('waiting', 'Connecting.');
  traveller = listener(travellerName, travellerName, { transports: ['poll'] });
  traveller.addEventListener('connect', () => awayAt('listening', `${travellerName} listens.`));
  traveller.addEventListener('connectError', () => awayAt('gone', 'The server does not answer.'));
  traveller.addEventListener('listenError', () => {
    traveller.closeConnection();
    awayAt('gone', 'Away for too long: the connection has expired. A client would connect again.');
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
    const { ok } = await simulate('away', 'POST', '/message', body);
    if (at('away-open').disabled) return false;
    at('away-state').textContent = ok ? 'Sent, and kept for the traveller. Open the lid.' : 'That did not work.';
  });
});

at('away-open').addEventListener('click', () => {
  awayAt('listening', `${travellerName} is back on the same connection and catches up.`);
  traveller.startListening(null, null);
});

// 7: a message that grows, and is interrupted

let answering = null;

/** Shows the answer as the page's view of messages has it. */
function showAnswer({ message, status, rev }) {
  at('answer-grown').textContent = message.text;
  at('answer-state').textContent = `The message is ${status}, after ${rev} changes.`;
  at('answer-cancel').disabled = status !== 'open' || !page;
}

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

at('answer-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const uuid = newId();
  const channel = at('listen-channel').value;
  const words = at('answer-text').value.match(/\S+\s*/g) ?? [];
  answering = { uuid };
  at('answer-grown').textContent = '';
  at('answer-state').textContent = page ? 'Asking.' : 'Asking; this page does not listen.';
  busy(event.submitter, async () => {
    const user = 'assistant';
    const opening = { user, channel, uuid, message: { text: '' }, status: 'open', cancel_by: [at('listen-user').value] };
    const opened = await simulate('answer', 'POST', '/message', [opening]);
    let item = opened.ok ? { taken: true } : null;
    for (let step = 1; item?.taken && step <= words.length + 1; step += 1) {
      const next = step <= words.length ? { append: { text: words[step - 1] } } : { status: 'done' };
      await pause(WORD);
      const appended = await send('PATCH', '/message', [{ uuid, channel, step, ...next }]);
      showWire('answer', [opened, appended]);
      item = appended.data?.[0];
    }
    at('answer-cancel').disabled = true;
    if (!item) at('answer-state').textContent = 'That did not work.';
    else if (!item.taken) at('answer-state').textContent = `The assistant was told that the message is ${item.status}, and stopped.`;
  });
});

at('answer-cancel').addEventListener('click', (event) => {
  event.currentTarget.disabled = true;
  page?.cancel(answering.uuid).catch(({ message }) => (at('answer-state').textContent = `Not interrupted: ${message}`));
});

// The programs

let language = 'curl';
let framework = 'flask';

/** Shows the program of a step, below tabs if there are several. All steps show the same language. */
function showCode(box, texts) {
  const { step } = box.dataset;
  const keys = Object.keys(texts);
  if (keys.length === 1) return box.replaceChildren(code(make('code', 'quiet', 'page.html'), 'page', texts[keys[0]]));
  const names = step === 'app' ? FRAMEWORKS : LANGUAGES;
  // A step may have no program in the language that is shown in the others.
  const wanted = step === 'app' ? framework : language;
  const shown = wanted in texts ? wanted : keys[0];
  const list = make('div', 'tabs');
  const program = code(list, 'program', texts[shown]);
  const panel = program.querySelector('pre');
  panel.id = `${step}-program`;
  panel.setAttribute('role', 'tabpanel');
  panel.removeAttribute('aria-label');
  panel.setAttribute('aria-labelledby', `${step}-tab-${shown}`);
  list.setAttribute('role', 'tablist');
  list.setAttribute('aria-label', step === 'app' ? 'Framework' : 'Language');
  list.append(...keys.map((key) => {
    const tab = make('button', '', names[key]);
    tab.type = 'button';
    tab.id = `${step}-tab-${key}`;
    tab.setAttribute('role', 'tab');
    tab.setAttribute('aria-selected', String(key === shown));
    tab.setAttribute('aria-controls', panel.id);
    tab.tabIndex = key === shown ? 0 : -1;
    tab.addEventListener('click', () => choose(step, key));
    tab.addEventListener('keydown', (event) => moveTab(event, step, keys, key));
    return tab;
  }));
  box.replaceChildren(program);
}

function moveTab(event, step, keys, key) {
  const index = keys.indexOf(key);
  const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  choose(step, keys.at(next % keys.length));
}

function choose(step, key) {
  const tab = at(`${step}-tab-${key}`);
  const before = tab.getBoundingClientRect().top;
  if (step === 'app') framework = key;
  else language = key;
  showPrograms();
  const now = at(`${step}-tab-${key}`);
  // The boxes above have another height now; the tab stays where it was pressed.
  scrollBy(0, now.getBoundingClientRect().top - before);
  now.focus({ preventScroll: true });
}

function showPrograms() {
  const value = (id) => at(id).value;
  let content = { text: 'This can serve as notification', level: 'warning' };
  try {
    content = Object(parseExact(value('send-message')));
  } catch {
    // The form shows the error when it is sent.
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
  showChannel();
  setInterval(() => {
    if (!document.hidden) showChannel();
  }, INTERVAL);
} else {
  at('no-simulation').hidden = false;
  for (const button of document.querySelectorAll('.step button:not([role], .copy)')) button.disabled = true;
}
document.body.dataset.ready = 'yes';
