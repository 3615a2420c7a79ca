// One channel: its events, history, members and settings.

import * as actions from './actions.js';
import { ago, at, make, plural, reconcile, say, shownJson, timeOf } from './element.js';
import { present } from './overview.js';
import { foundLine, WindowList } from './window_list.js';

const TABS = ['events', 'history', 'members', 'settings'];
const MOST_EVENTS = 200;

const SETTINGS = [
  ['notify_presence', 'Report users who join and leave'],
  ['broadcast_presence_with_user_lists', 'Report them with the list of present users'],
  ['notify_state', 'Report changes of user state'],
  ['store_history', 'Keep messages in the history'],
  ['history_size', 'Number of messages in the history'],
  ['store_frames', 'Keep events for users who are away'],
  ['history_ttl', 'Seconds until messages and events leave (0: never)'],
];
const NUMBERS = { history_size: 1_000_000, history_ttl: 10 * 365 * 86_400 };

let ask;
let name = null;
let facts = null;
let tab = 'events';
let paused = false;
let newest = 0; // number of the newest event in view
let members;
const controls = new Map();

export function start(asked) {
  ask = asked;
  members = new WindowList(at('member-list'), {
    label: 'Members',
    rowHeight: 40,
    write: ({ name, connections }) => [name, plural(connections, 'connection', 'connections')],
    choose: (user) => { location.hash = `users/${encodeURIComponent(user)}`; },
    ask,
  });
  at('member-search').addEventListener('input', ({ target }) => members.find({ search: target.value.trim() }));
  for (const id of TABS) at(`tab-${id}`).addEventListener('click', () => choose(id));
  at('channel-tabs').addEventListener('keydown', moveTab);
  at('channel-send').addEventListener('click', () => actions.send({ channel: name, listeners: present(facts) }));
  at('events-pause').addEventListener('click', () => {
    paused = !paused;
    at('events-pause').setAttribute('aria-pressed', String(paused));
    say(at('events-pause'), paused ? 'Resume' : 'Pause');
    describeEvents();
    ask();
  });
  makeSettings();
  choose(tab);
}

/** Shows another channel, or none. */
export function open(chosen) {
  if (chosen === name) return;
  name = chosen;
  facts = null;
  newest = 0;
  at('events').replaceChildren();
  at('history').replaceChildren();
  at('member-search').value = '';
  members.find({ search: '' });
  members.restart();
  discard();
  at('channel-none').hidden = name !== null;
  at('channel-gone').hidden = true;
  at('channel-view').hidden = true;
  at('channel').classList.toggle('chosen', name !== null);
}

export function subscription() {
  if (name === null) return null;
  return {
    name,
    members: tab === 'members' ? members.window : null,
    history: tab === 'history',
    events: tab === 'events' && !paused,
  };
}

export function show({ channel, events, history, members: part }) {
  if (channel?.name === name && name !== null) showFacts(channel.facts);
  if (events?.channel === name) showEvents(events);
  if (history?.channel === name) showHistory(history.messages);
  if (part?.channel === name && members.show(part)) {
    say(at('member-count'), foundLine(part, 'member', 'members'));
  }
}

export function tick() {
  if (facts) describe();
  members.tick();
}

function choose(id) {
  tab = id;
  for (const other of TABS) {
    at(`tab-${other}`).setAttribute('aria-selected', String(other === id));
    at(`tab-${other}`).tabIndex = other === id ? 0 : -1;
    at(`panel-${other}`).hidden = other !== id;
  }
  ask();
}

function moveTab(event) {
  const moves = { ArrowRight: 1, ArrowLeft: -1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const next = TABS[(TABS.indexOf(tab) + moves[event.key] + TABS.length) % TABS.length];
  choose(next);
  at(`tab-${next}`).focus();
}

function showFacts(received) {
  const recreated = facts && received && facts.uuid !== received.uuid;
  if (recreated) at('history').replaceChildren();
  facts = received;
  at('channel-gone').hidden = received !== null;
  const appears = at('channel-view').hidden && received !== null;
  at('channel-view').hidden = received === null;
  if (received === null) return;
  say(at('channel-name'), received.name);
  say(at('channel-uuid'), received.uuid);
  say(at('history-count'), String(received.history));
  say(at('members-count'), String(received.users));
  describe();
  describeEvents();
  fillSettings();
  if (appears) members.tick();
}

function describe() {
  say(at('channel-line'), `${present(facts)} · active ${ago(facts.last_active)}`);
}

// Events

function describeEvents() {
  const line = paused ? 'Paused. Stored events of the pause are shown after Resume.'
    : facts && !facts.settings.store_frames ? 'This channel keeps no events (see its settings), so they cannot be shown here.'
      : at('events').children.length ? 'Newest first. New events appear within a second.'
        : 'No events yet. New events appear here within a second.';
  say(at('events-line'), line);
}

function showEvents({ begins, gap, events }) {
  const list = at('events');
  const fresh = events.filter(({ number }) => number > newest);
  if (gap || (begins && newest > 0 && fresh.length === events.length && events.length > 1)) {
    list.prepend(make('li', 'quiet gap', 'Some events are not shown.'));
  }
  for (const event of fresh) {
    newest = event.number;
    list.prepend(makeEvent(event));
  }
  while (list.children.length > MOST_EVENTS) list.lastElementChild.remove();
  describeEvents();
}

function makeEvent({ kind, user, at, line, event }) {
  // The server stores no time of deletions.
  const when = at === null ? make('span', 'quiet', 'no time kept') : timeOf(at);
  const head = make('summary', '',
    when, ' ', make('span', `kind ${kind.replace(':', '-')}`, kind), ' ',
    make('strong', '', user ?? ''), ' ', make('span', 'line', line));
  const body = make('pre');
  const fold = make('details', '', head, body);
  // Most are never opened, so the JSON is written late.
  fold.addEventListener('toggle', () => say(body, shownJson(event)));
  return make('li', '', fold);
}

// History

function showHistory(messages) {
  const all = facts?.history ?? messages.length;
  say(at('history-line'), messages.length < all
    ? `The newest ${messages.length} of ${plural(all, 'message', 'messages')}.`
    : messages.length ? 'Newest first.'
      : facts?.settings.store_history ? 'No messages are stored yet.'
        : 'No messages are stored: this channel keeps no history (see its settings).');
  reconcile(at('history'), messages, ({ uuid }) => uuid, makeMessage);
}

function makeMessage(message) {
  const head = make('p', 'message-head', make('strong', '', message.user), ' ', timeOf(message.timestamp));
  const notes = [];
  if (message.edited) notes.push('edited');
  if (message.total_pm_users) notes.push(`only for ${names(message.pm_users, message.total_pm_users)}`);
  if (message.total_exclude_users) notes.push(`not for ${names(message.exclude_users, message.total_exclude_users)}`);
  head.append(make('span', 'quiet', notes.map((note) => ` · ${note}`).join('')));
  const edit = make('button', 'second small', 'Edit');
  edit.type = 'button';
  edit.disabled = Boolean(message.message && 'begin' in message.message);
  if (edit.disabled) edit.title = 'Too long to be edited here';
  const channel = name;
  edit.addEventListener('click', () => actions.edit(channel, message));
  const remove = make('button', 'second small danger', 'Delete');
  remove.type = 'button';
  remove.addEventListener('click', () => actions.remove(channel, message));
  const line = make('div', 'message-line', head, make('div', 'actions', edit, remove));
  return make('li', '', line, make('pre', '', shownJson(message.message)));
}

function names(some, total) {
  const more = total - some.length;
  return some.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

// Settings

function makeSettings() {
  for (const [key, about] of SETTINGS) {
    const control = make('input');
    control.id = `setting-${key}`;
    control.type = key in NUMBERS ? 'number' : 'checkbox';
    if (control.type === 'number') Object.assign(control, { min: 0, step: 1, required: true });
    const label = make('label', '', about, make('code', 'quiet', key));
    label.htmlFor = control.id;
    at('settings-fields').append(make('div', `setting ${control.type}`, control, label));
    controls.set(key, control);
    control.addEventListener('input', fillSettings);
  }
  at('settings').addEventListener('submit', (event) => {
    event.preventDefault();
    const changed = SETTINGS.map(([key]) => key).filter((key) => read(key) !== current(key));
    const changes = changed.map((key) => `${key}: ${current(key)} → ${read(key)}`);
    // What has no field here, and what was never set, stays as it is.
    const settings = { ...facts.settings, ...Object.fromEntries(changed.map((key) => [key, read(key)])) };
    const effect = changed.includes('history_ttl')
      ? 'What is older than history_ttl leaves at once; other settings apply from the next event on.'
      : 'This applies from the next event on.';
    actions.configure(name, settings, changes, effect, () => {
      facts.settings = settings;
      discard();
    });
  });
  at('settings-reset').addEventListener('click', discard);
}

/** The present setting, which the server leaves out if it was never set. */
function current(key) {
  return facts.settings[key] ?? 0;
}

function read(key) {
  const control = controls.get(key);
  return control.type === 'number' ? Number(control.value) : control.checked;
}

function write(key, value) {
  const control = controls.get(key);
  if (control.type === 'number') {
    control.value = value;
    // What a backend has set stays valid.
    control.max = Math.max(NUMBERS[key], value);
  } else control.checked = value;
}

/** Shows the present settings, except in the fields that the user is changing. */
function fillSettings(event) {
  if (event) event.target.dataset.touched = 'true';
  if (!facts) return;
  let changed = false;
  for (const [key] of SETTINGS) {
    const control = controls.get(key);
    if (!control.dataset.touched) write(key, current(key));
    else if (read(key) === current(key)) delete control.dataset.touched;
    else changed = true;
  }
  at('settings-save').disabled = !changed;
  at('settings-reset').disabled = !changed;
}

function discard() {
  for (const control of controls.values()) delete control.dataset.touched;
  fillSettings();
}
