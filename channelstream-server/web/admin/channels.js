// The list of channels, and the chosen channel.

import * as channel from './channel.js';
import { ago, at, plural, say, short } from './element.js';
import { foundLine, WindowList } from './window_list.js';

let list;

/** `ask` is called when the subscription changes. */
export function start(ask) {
  list = new WindowList(at('channel-list'), {
    label: 'Channels',
    write: ({ name, connections, users, last_active }) => [
      name,
      `${plural(users, 'user', 'users')} · ${short(connections)} conn. · ${ago(last_active)}`,
    ],
    choose: (name) => { location.hash = `channels/${encodeURIComponent(name)}`; },
    ask,
  });
  at('channel-search').addEventListener('input', ({ target }) => list.find({ search: target.value.trim() }));
  at('channel-order').addEventListener('change', ({ target }) => list.find({ order: target.value }));
  channel.start(ask);
}

export function open(name) {
  list.chosen = name;
  channel.open(name);
}

export function subscription() {
  return { channels: list.window, channel: channel.subscription() };
}

export function show(parts) {
  if (parts.channels && list.show(parts.channels)) {
    say(at('channel-count'), foundLine(parts.channels, 'channel', 'channels'));
  }
  channel.show(parts);
}

export function tick() {
  list.tick();
  channel.tick();
}
