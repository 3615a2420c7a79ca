// The list of users, and one of them with state and connections.

import * as acting from './acting.js';
import { at, make, plural, reconcile, say, shownJson } from './element.js';
import { foundLine, WindowList } from './window_list.js';

let list;
let name = null;
let facts = null;

/** `ask` is called when something else is to be watched. */
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
  at('user-send').addEventListener('click', () => acting.send({ user: name, listeners: connections(facts.total_connections) }));
  at('user-kick').addEventListener('click', () => acting.disconnect(name, facts.connections.map(({ id }) => id)));
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

export function watched() {
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

function showUser({ facts: told, state }) {
  facts = told;
  at('user-gone').hidden = told !== null;
  at('user-view').hidden = told === null;
  if (told === null) return;
  say(at('user-name'), told.name);
  const stored = told.stored_frames
    ? ` · ${plural(told.stored_frames, 'private frame', 'private frames')} stored` : '';
  say(at('user-line'), `${plural(told.total_connections, 'connection', 'connections')}${stored} · id ${told.uuid}`);
  say(at('user-state'), shownJson(state));
  say(at('user-keys'), told.public_keys.length
    ? `Others may see: ${told.public_keys.join(', ')}` : 'Others see none of it.');
  at('user-kick').hidden = told.connections.length < 2;
  reconcile(at('user-connections'), told.connections, ({ id }) => id, makeConnection);
  const more = told.total_connections - told.connections.length;
  say(at('user-more'), told.total_connections === 0 ? 'Not connected.' : more > 0 ? `and ${more} more` : '');
}

function makeConnection({ id, listener, ended, channels, total_channels }) {
  const standing = ended ? 'has ended' : listener === 'socket' ? 'listens on a websocket'
    : listener === 'poll' ? 'waits in a long poll' : 'nobody listens';
  const user = name;
  const kick = make('button', 'second small danger', 'Disconnect');
  kick.type = 'button';
  kick.disabled = ended;
  kick.setAttribute('aria-label', `Disconnect ${id}`);
  kick.addEventListener('click', () => acting.disconnect(user, [id]));
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
