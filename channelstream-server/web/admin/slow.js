// Listeners for whom frames wait, and the means to let them go.

import * as acting from './acting.js';
import { at, bytes, make, plural, reconcile, say } from './element.js';

export function watched() {
  return { slow: true };
}

export function show({ slow }) {
  if (!slow) return;
  const { rows, total } = slow;
  say(at('slow-line'), total === 0 ? 'Nobody is behind: all frames have left.'
    : rows.length < total ? `Frames wait for ${plural(total, 'listener', 'listeners')}; those with most:`
      : `Frames wait for ${plural(total, 'listener', 'listeners')}:`);
  reconcile(at('slow'), rows, ({ connection }) => connection, makeRow);
}

function makeRow({ user, connection, kind, frames, bytes: size }) {
  const link = make('a', '', user);
  link.href = `#users/${encodeURIComponent(user)}`;
  const waiting = make('span', 'quiet', `${plural(frames, 'frame', 'frames')}, ${bytes(size)} wait · ${kind}`);
  const kick = make('button', 'second small danger', 'Disconnect');
  kick.type = 'button';
  kick.setAttribute('aria-label', `Disconnect ${user}, ${connection}`);
  kick.addEventListener('click', () => acting.disconnect(user, [connection]));
  return make('li', '', make('div', 'message-line', make('p', '', link, ' ', waiting), kick), make('code', 'quiet', connection));
}
