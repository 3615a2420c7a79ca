// A list of any length that creates only the rows in view. It requests a window of rows and shows
// them. For keyboards and screen readers it is a listbox.

import { make } from './element.js';

const AROUND = 10;
const MOST = 100;
// Browsers cannot place elements beyond this height.
const TALLEST = 8_000_000;

let lists = 0;

export class WindowList {
  search = '';
  order = 'name';
  #box;
  #run = make('div', 'run');
  #rowHeight;
  #write;
  #choose;
  #ask;
  #rows = new Map(); // by index
  #elements = new Map();
  #found = 0;
  #renew = true;
  #window = { offset: 0, limit: 60 };
  #active = 0;
  #chosen = null;
  #drawing = false;
  #id = (lists += 1);

  /**
   * `write(row)` returns name and note of a row. `choose(name)` is called for the chosen row, and
   * `ask()` when another window is needed.
   */
  constructor(place, { label, rowHeight = 48, write, choose, ask }) {
    this.#box = make('div', 'window', this.#run);
    this.#box.tabIndex = 0;
    this.#box.setAttribute('role', 'listbox');
    this.#box.setAttribute('aria-label', label);
    this.#run.setAttribute('role', 'presentation');
    this.#rowHeight = rowHeight;
    this.#write = write;
    this.#choose = choose;
    this.#ask = ask;
    place.append(this.#box);
    this.#box.addEventListener('scroll', () => this.#drawSoon());
    this.#box.addEventListener('keydown', (event) => this.#key(event));
    this.#box.addEventListener('click', (event) => {
      const row = event.target.closest('[role="option"]');
      if (row) this.#take(Number(row.dataset.index));
    });
    new ResizeObserver(() => this.#drawSoon()).observe(this.#box);
  }

  /** The window of rows to subscribe to. */
  get window() {
    return { search: this.search, order: this.order, ...this.#window };
  }

  /** Sets another search or order. */
  find({ search = this.search, order = this.order }) {
    if (search === this.search && order === this.order) return;
    this.search = search;
    this.order = order;
    this.restart();
  }

  /** Starts at the top. The old rows stay until new ones arrive. */
  restart() {
    this.#renew = true;
    this.#active = 0;
    this.#box.scrollTop = 0;
    this.#window = { offset: 0, limit: this.#window.limit };
    this.#ask();
  }

  /** Marks the row of that name. */
  set chosen(name) {
    this.#chosen = name;
    this.#draw();
  }

  /** Shows received rows if they belong to the present search and order. */
  show(part) {
    if (part.search !== this.search || part.order !== this.order) return false;
    if (this.#renew) this.#rows.clear();
    this.#renew = false;
    if (this.#rows.size > 2_000) this.#rows.clear();
    part.rows.forEach((row, index) => this.#rows.set(part.offset + index, row));
    if (part.found < this.#found) {
      for (const index of this.#rows.keys()) if (index >= part.found) this.#rows.delete(index);
    }
    this.#found = part.found;
    this.#active = Math.min(this.#active, Math.max(0, this.#found - 1));
    this.#run.style.height = `${Math.min(this.#found * this.#rowHeight, TALLEST)}px`;
    this.#draw();
    return true;
  }

  /** Rewrites all rows, since their relative times change. */
  tick() {
    this.#draw();
  }

  #drawSoon() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#draw();
    });
  }

  #draw() {
    const height = this.#box.clientHeight;
    if (!height) return; // not in view
    const first = Math.floor(this.#box.scrollTop / this.#rowHeight);
    const last = Math.min(first + Math.ceil(height / this.#rowHeight) + 1, this.#found);
    for (const [index, element] of this.#elements) {
      if (index < first || index >= last) {
        element.remove();
        this.#elements.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) this.#drawRow(index);
    const active = this.#elements.get(this.#active);
    if (active) this.#box.setAttribute('aria-activedescendant', active.id);
    else this.#box.removeAttribute('aria-activedescendant');
    this.#wantWindow(first, last);
  }

  #drawRow(index) {
    let element = this.#elements.get(index);
    if (!element) {
      element = make('div', 'row', make('span', 'row-name'), make('span', 'row-note'));
      element.setAttribute('role', 'option');
      element.id = `list-${this.#id}-${index}`;
      element.dataset.index = index;
      element.style.transform = `translateY(${index * this.#rowHeight}px)`;
      element.style.height = `${this.#rowHeight}px`;
      element.setAttribute('aria-posinset', index + 1);
      this.#elements.set(index, element);
      this.#run.append(element);
    }
    const row = this.#rows.get(index);
    const [name, note] = row ? this.#write(row) : ['…', ''];
    const [nameElement, noteElement] = element.children;
    if (nameElement.textContent !== name) {
      nameElement.textContent = name;
      nameElement.title = name;
    }
    if (noteElement.textContent !== note) noteElement.textContent = note;
    const chosen = String(Boolean(row) && row.name === this.#chosen);
    if (element.getAttribute('aria-selected') !== chosen) element.setAttribute('aria-selected', chosen);
    element.classList.toggle('active', index === this.#active);
    const size = String(this.#found);
    if (element.getAttribute('aria-setsize') !== size) element.setAttribute('aria-setsize', size);
  }

  #wantWindow(first, last) {
    const offset = Math.max(0, Math.floor((first - AROUND) / AROUND) * AROUND);
    const limit = Math.min(MOST, Math.ceil((last + AROUND - offset) / AROUND) * AROUND);
    if (offset === this.#window.offset && limit <= this.#window.limit) return;
    this.#window = { offset, limit: Math.max(limit, 40) };
    this.#ask();
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#box.clientHeight / this.#rowHeight) - 1);
    const moves = {
      ArrowDown: this.#active + 1, ArrowUp: this.#active - 1,
      PageDown: this.#active + page, PageUp: this.#active - page,
      Home: 0, End: this.#found - 1,
    };
    if (event.key in moves) {
      event.preventDefault();
      this.#active = Math.max(0, Math.min(moves[event.key], this.#found - 1));
      const top = this.#active * this.#rowHeight;
      const { scrollTop, clientHeight } = this.#box;
      if (top < scrollTop) this.#box.scrollTop = top;
      else if (top + this.#rowHeight > scrollTop + clientHeight) {
        this.#box.scrollTop = top + this.#rowHeight - clientHeight;
      }
      this.#draw();
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.#take(this.#active);
    }
  }

  #take(index) {
    this.#active = index;
    const row = this.#rows.get(index);
    if (row) this.#choose(row.name);
  }
}

/** The number of found rows, in words. */
export function foundLine({ found, total }, one, many) {
  const count = (value) => value.toLocaleString('en');
  if (total === 0) return `No ${many} yet.`;
  if (found === total) return `${count(total)} ${total === 1 ? one : many}`;
  if (found === 0) return `None of ${count(total)} ${many}.`;
  return `${count(found)} of ${count(total)} ${many}`;
}
