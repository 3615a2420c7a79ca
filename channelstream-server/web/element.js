// Helpers of all pages: they make elements and format numbers, times and JSON. Everything goes into a
// page as text.

import { indent } from './json_text.js';

const NUMBER = new Intl.NumberFormat('en');
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

// The longest JSON that stays on one line.
const ONE_LINE = 72;

// The milliseconds that the server's clock is ahead of this machine's.
let ahead = 0;

export const at = (id) => document.getElementById(id);

/** Makes an element with texts or children. */
export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** Sets a text if it differs, which spares the browser a new layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const count = (value) => NUMBER.format(value);
export const short = (value) => (Math.abs(value) < 10_000 ? NUMBER.format(Math.round(value)) : SHORT.format(value));

export function plural(value, one, many) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function bytes(value) {
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) {
    if (value >= size) return `${(value / size).toFixed(value < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${Math.round(value)} bytes`;
}

/** A span of time in the two largest units that it has. */
export function span(seconds) {
  const units = [['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]];
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, length] of units) {
    const whole = Math.floor(rest / length);
    rest -= whole * length;
    if (whole || (unit === 's' && !parts.length)) parts.push(`${whole} ${unit}`);
    else if (parts.length) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

/** Parses a time of the server, which is in UTC even without a zone. */
export function parseTime(text) {
  const zoned = /(Z|[+-]\d\d:?(\d\d)?)$/.test(text.slice(10));
  return new Date(zoned ? text : `${text}Z`);
}

/** Sets the server's present time. */
export function setClock(text) {
  ahead = parseTime(text) - Date.now();
}

/** The age of a server's time in its largest unit. */
export function ago(text) {
  const seconds = Math.round((Date.now() + ahead - parseTime(text)) / 1000);
  if (Number.isNaN(seconds)) return text;
  if (seconds < 2) return 'now';
  for (const [unit, length] of [['d', 86_400], ['h', 3600], ['min', 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit} ago`;
  }
  return `${seconds} s ago`;
}

/** A time, with the date unless it is today. The tooltip shows it in full. */
export function timeOf(text) {
  const element = make('time', 'quiet');
  const time = parseTime(text);
  element.dateTime = text;
  element.title = text;
  const isToday = time.toDateString() === new Date().toDateString();
  const shown = isToday ? time.toLocaleTimeString() : time.toLocaleString();
  element.textContent = Number.isNaN(time.getTime()) ? text : shown;
  return element;
}

/** JSON as the server sent it: whole, or the beginning and the length. */
export function shownJson(shown) {
  if (!shown) return 'no content';
  if ('begin' in shown) return `${shown.begin} … (${bytes(shown.bytes)} in all)`;
  return shown.text.length <= ONE_LINE ? shown.text : indent(shown.text);
}

/**
 * Makes the children of `list` show `items` in their order. An element is kept while its item is
 * unchanged, with its focus and its open folds.
 */
export function reconcile(list, items, keyOf, create) {
  const kept = new Map(Array.from(list.children, (child) => [child.dataset.key, child]));
  const focused = document.activeElement;
  let place = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const text = JSON.stringify(item);
    let element = kept.get(key);
    if (element && element.dataset.item !== text) {
      const renewed = create(item);
      if (element === place) place = renewed;
      element.replaceWith(renewed);
      element = renewed;
    }
    element ??= create(item);
    element.dataset.key = key;
    element.dataset.item = text;
    kept.delete(key);
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
  }
  for (const child of kept.values()) child.remove();
  if (focused !== document.activeElement && list.contains(focused)) focused.focus();
}
