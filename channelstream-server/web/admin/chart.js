// Small charts: a line over the last minutes, with the present value and the peak.

import { make, say } from './element.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 300;
const HEIGHT = 56;

/** The points of a chart: one a second for five minutes. */
const POINTS = 300;

// The least number of seconds that a chart shows.
const LEAST = 60;

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Returns the least round number that is not below `value`. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value);
}

export class Chart {
  #values = [];
  #write;
  #value = make('dd', 'chart-value', '…');
  #peak = make('span', 'quiet');
  #line = svg('path', { class: 'chart-line' });
  #area = svg('path', { class: 'chart-area' });
  #drawing;
  #title;

  /** `write` formats a value. The top of the chart is at least `floor`. */
  constructor(box, title, write, { floor = 1, note = '' } = {}) {
    this.#title = title;
    this.#write = write;
    this.floor = floor;
    this.#drawing = svg('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${title}: nothing yet` });
    this.#drawing.append(this.#area, this.#line);
    const name = make('dt', '', title);
    if (note) name.title = note;
    const head = make('dl', 'chart-head');
    const pair = make('div');
    pair.append(name, this.#value);
    head.append(pair);
    const card = make('div', 'card chart-card', head, this.#drawing, this.#peak);
    box.append(card);
  }

  clear() {
    this.#values = [];
  }

  /** Adds a value, or null if it is unknown. */
  add(value) {
    this.#values.push(value);
    if (this.#values.length > POINTS) this.#values.shift();
  }

  draw() {
    const known = this.#values.filter((value) => value !== null);
    const last = this.#values.at(-1) ?? null;
    say(this.#value, last === null ? 'unknown' : this.#write(last));
    if (!known.length) return;
    const peak = Math.max(...known);
    const top = roundUp(Math.max(peak * 1.05, this.floor));
    // The first minute fills the chart. Later the scale shrinks until five minutes fit.
    const shown = Math.max(LEAST, this.#values.length);
    const step = WIDTH / (shown - 1);
    const begin = shown - this.#values.length;
    let line = '';
    let area = '';
    let first = null;
    let x = 0;
    const close = () => {
      if (first !== null) area += `L${x.toFixed(1)} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z`;
      first = null;
    };
    this.#values.forEach((value, index) => {
      if (value === null) {
        close();
        return;
      }
      x = (begin + index) * step;
      const y = HEIGHT - 1 - (value / top) * (HEIGHT - 4);
      const piece = `${first === null ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
      first ??= x;
      line += piece;
      area += piece;
    });
    close();
    this.#line.setAttribute('d', line);
    this.#area.setAttribute('d', area);
    const summary = `Peak ${this.#write(peak)} in ${minutes(this.#values.length)}`;
    say(this.#peak, summary);
    this.#drawing.setAttribute('aria-label', `${this.#title}: ${summary.toLowerCase()}`);
  }
}

function minutes(seconds) {
  return seconds < 60 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
