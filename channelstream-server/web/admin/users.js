// The list of users, and one user with state and connections.

import * as actions from './actions.js';
import { at, make, plural, reconcile, say, shownJson } from './element.js';
import { foundLine, WindowList } from './window_list.js';

let list;
let name = null;
let facts = null;

/** `ask` is called when the subscription changes. */
export function start(ask) {
  list = new WindowList(at('user-list'), {
    label: 'Users',
    rowHeight: 40,
    write: ({ name, connections }) => [name, connections ? plural(connections, 'connection', 'connections') : 'away'],
    choose: (user) => { location.hash = `users/${encodeURIComponent(user)}`; },
    ask,
  });
  at('user-search').addEventListener('input', ({ target }) => list.find({ search: target.value.trim() }));
  at('user-order').addEventListener('change', ({ target }) => list.find({ order: target.value }));
  at('user-connected').addEventListener('change', () => list.restart());
  at('user-send').addEventListener('click', () => actions.send({ user: name, listeners: connections(facts.total_connections) }));
  at('user-kick').addEventListener('click', () => actions.disconnect(name, facts.connections.map(({ id }) => id)));
}

const connections = (total) => `their ${plural(total, 'connection', 'connections')}`;

export function open(chosen) {
  list.chosen = chosen;
  if (chosen === name) return;
  name = chosen;
  facts = null;
  at('user-none').hidden = name !== null;
  at('user-gone').hidden = true;
  at('user-view').hidden = true;
  at('user-connections').replaceChildren();
  at('user').classList.toggle('chosen', name !== null);
}

export function subscription() {
  return { users: { window: list.window, connected: at('user-connected').checked }, user: name };
}

export function show({ users, user }) {
  if (users && users.connected === at('user-connected').checked && list.show(users)) {
    say(at('user-count'), foundLine(users, 'user', 'users'));
  }
  if (user && user.name === name) showUser(user);
}

export function tick() {
  list.tick();
}

function showUser({ facts: received, state }) {
  facts = received;
  at('user-gone').hidden = received !== null;
  at('user-view').hidden = received === null;
  if (received === null) return;
  say(at('user-name'), received.name);
  const stored = received.stored_frames
    ? ` · ${plural(received.stored_frames, 'private event', 'private events')} stored` : '';
  say(at('user-line'), `${plural(received.total_connections, 'connection', 'connections')}${stored} · id ${received.uuid}`);
  say(at('user-state'), shownJson(state));
  say(at('user-keys'), received.public_keys.length
    ? `Public keys: ${received.public_keys.join(', ')}` : 'No key is public.');
  at('user-kick').hidden = received.connections.length < 2;
  reconcile(at('user-connections'), received.connections, ({ id }) => id, makeConnection);
  const more = received.total_connections - received.connections.length;
  say(at('user-more'), received.total_connections === 0 ? 'Not connected.' : more > 0 ? `and ${more} more` : '');
}

function makeConnection({ id, listener, ended, channels, total_channels }) {
  const standing = ended ? 'has ended' : listener === 'socket' ? 'listens on a websocket'
    : listener === 'poll' ? 'waits in a long poll' : 'no listener';
  const user = name;
  const kick = make('button', 'second small danger', 'Disconnect');
  kick.type = 'button';
  kick.disabled = ended;
  kick.setAttribute('aria-label', `Disconnect ${id}`);
  kick.addEventListener('click', () => actions.disconnect(user, [id]));
  const places = make('p', 'places');
  if (!total_channels) places.append(make('span', 'quiet', 'in no channel'));
  for (const channel of channels) {
    const link = make('a', '', channel);
    link.href = `#channels/${encodeURIComponent(channel)}`;
    places.append(link, ' ');
  }
  const more = total_channels - channels.length;
  if (more > 0) places.append(make('span', 'quiet', `and ${more} more`));
  const head = make('p', '', make('code', '', id), ' ', make('span', 'quiet', standing));
  return make('li', '', make('div', 'message-line', head, kick), places);
}
