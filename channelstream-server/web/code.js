// A box with a program, a request or another text to copy.

import { at, make } from './element.js';

/** Milliseconds that a button shows the outcome. */
const SHOWN = 2000;

let status = null;

/** Announces a text to screen readers. */
function announce(text) {
  if (!status) {
    status = make('p', 'unseen');
    status.setAttribute('role', 'status');
    at('main').append(status);
  }
  // The same text again is announced too.
  status.textContent = '';
  setTimeout(() => { status.textContent = text; }, 50);
}

/** A text that may be longer than its place, which keyboards scroll too; `what` names it. */
export function scrollable(what, text = '') {
  const pre = make('pre', '', text);
  pre.tabIndex = 0;
  pre.setAttribute('role', 'group');
  pre.setAttribute('aria-label', what);
  return pre;
}

/** A text below its heading and a button that copies it; `what` names the text. */
export function code(heading, what, text) {
  const pre = scrollable(what, text);
  return make('div', 'code-box', make('div', 'code-head', heading, copyButton(what, pre)), pre);
}

/** A button that copies the present text of `pre`. */
export function copyButton(what, pre) {
  const button = make('button', 'copy second', 'Copy');
  button.type = 'button';
  button.setAttribute('aria-label', `Copy the ${what}`);
  let timer = null;
  button.addEventListener('click', async () => {
    const copied = await copy(pre);
    button.textContent = copied ? 'Copied' : 'Selected';
    announce(copied ? `The ${what} is copied.` : `The ${what} is selected; copy it with the keyboard.`);
    clearTimeout(timer);
    timer = setTimeout(() => { button.textContent = 'Copy'; }, SHOWN);
  });
  return button;
}

/**
 * Copies the text of an element. Without the clipboard, which browsers give to https and localhost
 * alone, the text is selected and copied as by hand. Returns `false` if it is selected only.
 */
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand('copy');
  }
}
