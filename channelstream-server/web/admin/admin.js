// The admin page: the open view, its subscription, and the state of the connection to the server.

import * as channels from './channels.js';
import { at, say, setClock } from './element.js';
import { Feed } from './feed.js';
import * as journal from './journal.js';
import * as overview from './overview.js';
import * as slow from './slow.js';
import * as users from './users.js';
import * as webhooks from './webhooks.js';

const VIEWS = { overview: 'Overview', channels: 'Channels', users: 'Users', slow: 'Slow listeners', webhooks: 'Webhooks' };
const PULSES = { live: 'live', gone: 'not connected', blocked: 'not connected', refused: 'refused', 'signed-out': 'signed out' };
// Views that subscribe to more than the overview.
const SUBSCRIBING = { channels, users, slow, webhooks };
// The view to return to after a sign-in, which leaves the page.
const PLACE = 'channelstream-admin-view';

let view = 'overview';
let node = null;
let state = 'opening';

const feed = new Feed(receive, showState);
channels.start(ask);
users.start(ask);

/** Subscribes to what is in view, and to nothing else. */
function ask() {
  feed.subscribe(SUBSCRIBING[view]?.subscription() ?? {});
}

function receive({ overview: now, past, error, ...parts }) {
  if (error) console.error(`the server does not understand the subscription: ${error}`);
  SUBSCRIBING[view]?.show(parts);
  if (!now) return;
  setClock(now.now);
  if (node && node !== now.node) restarted(now.journal);
  node = now.node;
  at('loading').hidden = true;
  at('content').hidden = false;
  if (past) overview.begin(past, now);
  if (document.hidden) {
    overview.show(now, false);
    return;
  }
  overview.show(now, view === 'overview');
  journal.show(now, view === 'overview');
  SUBSCRIBING[view]?.tick?.();
}

function showState(now, reason = '') {
  say(at('refused-why'), reason);
  if (now === state) return;
  state = now;
  for (const name of ['signed-out', 'gone', 'blocked', 'refused']) at(name).hidden = name !== now;
  at('pulse').dataset.state = now;
  say(at('pulse-text'), PULSES[now]);
  at('content').classList.toggle('stale', now !== 'live');
}

function restarted(of) {
  say(at('restarted-text'), `Noticed at ${new Date().toLocaleTimeString()}: ${journal.restarted(of)}`);
  at('restarted').hidden = false;
  setTimeout(() => { at('restarted').hidden = true; }, 60_000);
}

/** Opens the view of the address: `#channels`, or `#channels/` and a name. */
function go(moved) {
  const [wanted, ...rest] = location.hash.slice(1).split('/');
  view = wanted in VIEWS ? wanted : 'overview';
  let name = null;
  try {
    name = rest.length ? decodeURIComponent(rest.join('/')) : null;
  } catch {
    // A malformed address names nothing.
  }
  for (const other of Object.keys(VIEWS)) at(`view-${other}`).hidden = other !== view;
  for (const link of document.querySelectorAll('.views a')) {
    if (link.hash === `#${view}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  SUBSCRIBING[view]?.open?.(name);
  document.title = `${name ?? VIEWS[view]} - Admin - Channelstream`;
  sessionStorage.setItem(PLACE, location.hash);
  ask();
  // Keyboard users go on where the content has changed.
  const list = document.activeElement?.closest('[role="listbox"]');
  if (!moved || list?.checkVisibility()) return;
  const place = name === null ? `${view}-heading` : { channels: 'channel', users: 'user' }[view];
  at(place ?? `${view}-heading`).focus({ preventScroll: true });
}

addEventListener('hashchange', () => go(true));
if (!location.hash && sessionStorage.getItem(PLACE)) history.replaceState(null, '', sessionStorage.getItem(PLACE));
go(false);
