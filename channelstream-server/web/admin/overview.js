// The overview: charts of the last minutes, and counters since the start.

import { reload } from './actions.js';
import { Chart } from './chart.js';
import { at, bytes, count, make, plural, say, short, span } from './element.js';

const rate = (value) => `${value < 10 && value > 0 ? value.toFixed(1) : short(value)}/s`;
// The least time between two samples in seconds: rates over less time would mislead.
const LEAST = 0.5;

const percent = (value) => `${value.toFixed(value < 10 ? 1 : 0)} %`;

const box = at('charts');
const charts = {
  listeners: new Chart(box, 'Listeners', count, { floor: 10, note: 'Open sockets and waiting polls' }),
  deliveries: new Chart(box, 'Deliveries', rate, { floor: 10, note: 'Messages times their receiving connections' }),
  publishes: new Chart(box, 'Messages posted', rate, { floor: 10 }),
  memory: new Chart(box, 'Memory', bytes, { floor: 1e6 }),
  cpu: new Chart(box, 'CPU', percent, { floor: 5, note: 'Of one core' }),
  drops: new Chart(box, 'Listeners dropped', rate, { floor: 5, note: 'Closed because they read too slowly or did not answer' }),
};

const FACTS = [
  ['Messages posted', (now) => count(now.posted)],
  ['Deliveries', (now) => count(now.delivered)],
  ['Closed: read too slowly', (now) => count(now.ended_slow)],
  ['Closed: did not answer', (now) => count(now.ended_silent)],
  ['Connections now', (now) => count(now.connections)],
  ['Users connected', (now) => count(now.users_connected)],
  ['Users remembered', (now) => count(now.users)],
  ['Channels', (now) => count(now.channels)],
  ['TCP connections', (now) => count(now.lines)],
];

const facts = FACTS.map(([name, write]) => {
  const value = make('dd', '', '…');
  at('facts').append(make('div', '', make('dt', '', name), value));
  return [value, write];
});

at('settings-reload').addEventListener('click', reload);

let before = null;
let node = null;

/** Draws the charts from the server's samples of the last minutes. */
export function begin(past, now) {
  before = null;
  ({ node } = now);
  for (const chart of Object.values(charts)) chart.clear();
  past.forEach(take);
}

/** Adds one sample to the charts. */
function take(now) {
  const seconds = before ? now.uptime - before.uptime : 0;
  const perSecond = (name) => (seconds > 0 ? (now[name] - before[name]) / seconds : null);
  // The past already contains this sample.
  if (before && seconds < LEAST) return;
  // A long loss of the connection is a gap in the chart, not a straight line.
  const missed = Math.min(Math.round(seconds) - 1, 300);
  if (missed > 2) {
    for (const chart of Object.values(charts)) for (let gap = 0; gap < missed; gap += 1) chart.add(null);
  }
  charts.listeners.add(now.listeners);
  charts.deliveries.add(perSecond('delivered'));
  charts.publishes.add(perSecond('posted'));
  charts.memory.add(now.memory);
  charts.cpu.add(now.cpu === null || !(seconds > 0) ? null : (100 * (now.cpu - before.cpu)) / seconds);
  const slow = perSecond('ended_slow');
  charts.drops.add(slow === null ? null : slow + perSecond('ended_silent'));
  before = now;
}

/** Shows the counters, which the server sends once a second. */
export function show(now, inView) {
  if (node !== now.node) before = null;
  node = now.node;
  take(now);
  const id = now.nodes?.find((other) => other.this)?.id ?? now.node;
  say(at('server-line'), `Version ${now.version} · up ${span(now.uptime)} · node ${id.slice(0, 8)}`);
  at('server-line').title = `Node ${id}: another after each start`;
  say(at('count-channels'), short(now.channels));
  say(at('count-users'), short(now.users_connected));
  if (!inView) return;
  for (const chart of Object.values(charts)) chart.draw();
  for (const [value, write] of facts) say(value, write(now));
}

/** The numbers of users and connections of a channel, in words. */
export function present({ users, connections }) {
  return `${plural(users, 'user', 'users')}, ${plural(connections, 'connection', 'connections')}`;
}
