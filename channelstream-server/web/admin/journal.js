// The journal and the servers on it, in the overview. What a journal in memory does not have is not shown.

import { at, bytes, count, make, plural, reconcile, say, span } from './element.js';

const STATES = {
  following: 'followed', joining: 'reads what it missed', away: 'Redis is not reached', no_space: 'no space', ended: 'ended',
};
// What is wrong while it lasts, in every view.
const TROUBLES = {
  joining: 'This server reads what it missed of the journal. Until then it accepts nothing.',
  away: 'Redis is not reached. Until it is, this server accepts nothing. Sockets stay, and nobody parts.',
  no_space: 'There is no space for the journal. Until there is, this server accepts nothing. Sockets stay.',
  ended: 'The journal has ended, and this server with it.',
};
const PLACES = { memory: 'in memory, a restart forgets it', file: 'in files', shared: 'shared in the process', redis: 'in Redis' };

const snapshot = ({ snapshot: made }, { uptime }) => {
  if (!made) return 'none yet';
  const age = made.age < uptime ? `${span(made.age)} ago` : 'at the start or before';
  return `${bytes(made.bytes)}, ${age}`;
};

const confirmed = (replicas) => (replicas ? plural(replicas, 'replica', 'replicas') : 'Redis alone');

// Each fact, and its text; null if the journal has no such thing.
const FACTS = [
  ['Kept', ({ kind }) => PLACES[kind] ?? kind],
  ['State', ({ state }) => STATES[state] ?? state],
  ['Directory', ({ directory }) => directory ?? null],
  ['On disk', ({ sync }) => (sync === undefined ? null : { always: 'before each answer', never: 'when the system does it' }[sync] ?? `every ${sync}`)],
  ['Redis', ({ target }) => target ?? null],
  ['Redis is now at', ({ target, address }) => (target === undefined || !address || target.endsWith(`://${address}`) ? null : address)],
  ['Name', ({ name }) => name ?? null],
  ['Confirmed by', ({ replicas }) => (replicas === undefined ? null : confirmed(replicas))],
  ['Position', ({ position }) => position ?? null],
  ['Appended, not yet applied', ({ waiting }) => count(waiting)],
  ['Behind Redis', ({ lag, state }) => (lag === undefined || state === 'away' ? null : `${lag.toFixed(lag < 10 ? 1 : 0)} s`)],
  ['Newest snapshot', (journal, now) => (journal.position === undefined ? null : snapshot(journal, now))],
  ['Since the snapshot', ({ bytes: size }) => (size === undefined ? null : bytes(size))],
];

const facts = FACTS.map(([name, write]) => {
  const value = make('dd');
  const row = make('div', '', make('dt', '', name), value);
  at('journal-facts').append(row);
  return { name, row, value, write };
});

/** Shows what is wrong with the journal, in every view; in the overview, all of it and the servers. */
export function show(now, inView) {
  const { journal, nodes } = now;
  const trouble = TROUBLES[journal.state] ?? '';
  at('journal-trouble').hidden = !trouble;
  say(at('journal-trouble'), trouble);
  if (!inView) return;
  at('journal').hidden = journal.kind === 'memory';
  for (const { name, row, value, write } of facts) {
    const text = write(journal, now);
    row.hidden = text === null;
    say(value, text ?? '');
    if (name === 'State') value.className = trouble ? 'bad' : '';
  }
  at('nodes').hidden = !nodes;
  if (!nodes) return;
  say(at('nodes-count'), count(nodes.length));
  at('nodes-none').hidden = nodes.some((node) => node.this);
  reconcile(at('nodes-rows'), nodes, ({ id }) => id, makeRow);
}

const ago = (seconds) => (seconds < 1 ? 'now' : `${span(seconds)} ago`);

function makeRow({ id, this: isThis, alive, heard, listeners, same }) {
  const name = make('th', '', make('code', '', id));
  name.scope = 'row';
  if (isThis) name.append(' ', make('span', 'badge', 'this one'));
  const state = { true: 'the same', false: 'differs' }[same] ?? (isThis ? '' : 'not compared yet');
  return make('tr', '', name,
    make('td', '', alive === null ? '' : span(alive)),
    make('td', '', isThis || heard === null ? '' : ago(heard)),
    make('td', '', listeners === null ? '' : count(listeners)),
    make('td', same === false ? 'bad' : '', state));
}

/** What a new server means for who looks at the page. */
export function restarted({ kind }) {
  return {
    file: 'The server was restarted. It goes on from its journal.',
    redis: 'Another server answers, or this one was restarted. All go on from the same journal.',
  }[kind] ?? 'The server was restarted. Everything in its memory is gone.';
}
