// Listeners with waiting events, and the action to disconnect them.

import * as actions from './actions.js';
import { at, bytes, make, plural, reconcile, say } from './element.js';

export function subscription() {
  return { slow: true };
}

export function show({ slow }) {
  if (!slow) return;
  const { rows, total } = slow;
  say(at('slow-line'), total === 0 ? 'No listener is behind.'
    : rows.length < total ? `Events wait for ${plural(total, 'listener', 'listeners')}. Those with the most:`
      : `Events wait for ${plural(total, 'listener', 'listeners')}:`);
  reconcile(at('slow'), rows, ({ connection }) => connection, makeRow);
}

function makeRow({ user, connection, kind, frames, bytes: size }) {
  const link = make('a', '', user);
  link.href = `#users/${encodeURIComponent(user)}`;
  const waiting = make('span', 'quiet', `${plural(frames, 'event', 'events')}, ${bytes(size)} wait · ${kind}`);
  const kick = make('button', 'second small danger', 'Disconnect');
  kick.type = 'button';
  kick.setAttribute('aria-label', `Disconnect ${user}, ${connection}`);
  kick.addEventListener('click', () => actions.disconnect(user, [connection]));
  return make('li', '', make('div', 'message-line', make('p', '', link, ' ', waiting), kick), make('code', 'quiet', connection));
}
