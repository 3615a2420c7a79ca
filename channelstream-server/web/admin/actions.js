// The actions of the page: each is confirmed in a dialog and reports its outcome.

import { at, make, say } from './element.js';

/** Milliseconds to wait for an answer. */
const TIMEOUT = 15_000;

let fields = 0;
let clear = null;

/** Shows the outcome of an action for a while. */
function report(text) {
  clearTimeout(clear);
  say(at('done'), text);
  clear = setTimeout(() => say(at('done'), ''), 8_000);
}

/** The field errors of a 422 as lines: `field: text`. */
function errorLines(errors, path = '') {
  if (typeof errors === 'string') return [path ? `${path}: ${errors}` : errors];
  if (Array.isArray(errors)) return errors.flatMap((error) => errorLines(error, path));
  return Object.entries(errors).flatMap(([key, below]) => errorLines(below, path ? `${path}.${key}` : key));
}

/** Sends a request. `body` is JSON as text, so that typed and stored JSON is sent unchanged. */
async function post(method, endpoint, body) {
  let answer;
  try {
    answer = await fetch(`admin/api${endpoint}`, {
      method,
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body,
      cache: 'no-store',
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new Error('The server did not answer. The action may have been done or not.');
  }
  const reply = await answer.json().catch(() => ({}));
  if (answer.ok) return reply;
  if (answer.status === 422) throw new Error(errorLines(reply).join(' '));
  throw new Error(`The server refused this (${answer.status}): ${reply.message ?? 'no reason given'}.`);
}

/** Adds a field to the dialog: a control below its label. */
function field(label, control) {
  fields += 1;
  control.id = `dialog-field-${fields}`;
  const name = make('label', '', label);
  name.htmlFor = control.id;
  at('dialog-fields').append(name, control);
  return control;
}

function input(value) {
  const control = make('input');
  control.value = value;
  control.required = true;
  control.maxLength = 512;
  control.autocomplete = 'off';
  control.spellcheck = false;
  return control;
}

function editor(json) {
  const control = make('textarea');
  control.value = json;
  control.rows = Math.min(12, Math.max(4, json.split('\n').length, Math.ceil(json.length / 60)));
  control.spellcheck = false;
  return control;
}

function check(label) {
  const control = make('input');
  control.type = 'checkbox';
  const line = make('label', 'check', control, ` ${label}`);
  at('dialog-fields').append(line);
  return control;
}

/** Returns the text of an editor unchanged. If it is not a JSON object, marks the editor and throws. */
function objectIn(control) {
  let value;
  let reason = 'A message is a JSON object, such as {"text": "hello"}.';
  try {
    value = JSON.parse(control.value);
  } catch (error) {
    reason = `This is not JSON: ${error.message}.`;
  }
  const good = value !== null && typeof value === 'object' && !Array.isArray(value);
  control.setAttribute('aria-invalid', String(!good));
  if (good) return control.value;
  control.focus();
  throw new Error(reason);
}

/** Opens the dialog. `fill` makes its fields; `go` does the action and returns the text to report. */
function ask({ title, text, ok, danger = false, fill = () => ({}), go }) {
  const dialog = at('dialog');
  say(at('dialog-title'), title);
  say(at('dialog-text'), text);
  say(at('dialog-error'), '');
  at('dialog-fields').replaceChildren();
  const button = at('dialog-ok');
  say(button, ok);
  button.classList.toggle('danger', danger);
  button.removeAttribute('aria-busy');
  const made = fill();
  at('dialog-form').onsubmit = async (event) => {
    event.preventDefault();
    if (button.getAttribute('aria-busy')) return;
    button.setAttribute('aria-busy', 'true');
    say(at('dialog-error'), '');
    try {
      report(await go(made));
      dialog.close();
    } catch (error) {
      say(at('dialog-error'), error.message);
    } finally {
      button.removeAttribute('aria-busy');
    }
  };
  dialog.showModal();
  // Enter must not do harm at once.
  if (danger) at('dialog-cancel').focus();
}

at('dialog-cancel').addEventListener('click', () => at('dialog').close());

/** Sends a message to a channel, or privately to a user. `listeners` describes the receivers. */
export function send({ channel, user, listeners }) {
  ask({
    title: channel === undefined ? `A private message to ${user}` : `A message to ${channel}`,
    text: `It goes to ${listeners}.`,
    ok: 'Send',
    fill: () => ({
      from: field('From (a user name)', input('admin')),
      message: field('Message (a JSON object)', editor('{"text": ""}')),
      hidden: channel === undefined ? null : check('Keep it out of the history'),
    }),
    async go({ from, message, hidden }) {
      const address = channel === undefined ? { pm_users: [user] } : { channel, no_history: hidden.checked };
      await post('POST', '/message', withMessage({ user: from.value, ...address }, objectIn(message)));
      return 'The message was sent.';
    },
  });
}

/** A list with one message of these fields; `content` is JSON as text. */
function withMessage(fields, content) {
  return `[${JSON.stringify(fields).slice(0, -1)},"message":${content}}]`;
}

/** Edits a message of a channel's history. Unchanged JSON stays as it is stored. */
export function edit(channel, { uuid, user, message }) {
  const stored = message ? message.text : '{}';
  ask({
    title: `Edit a message of ${user}`,
    text: `All listeners of ${channel} receive the change.`,
    ok: 'Save',
    fill() {
      const content = field('Message (a JSON object)', editor(stored));
      return { content, shown: content.value };
    },
    async go({ content, shown }) {
      const changed = objectIn(content);
      if (changed === shown) return 'Nothing was changed.';
      await post('PATCH', '/message', withMessage({ uuid, channel }, changed));
      return 'The message was edited.';
    },
  });
}

/** Deletes a message of a channel's history. */
export function remove(channel, { uuid, user }) {
  ask({
    title: `Delete a message of ${user}?`,
    text: `It is removed from the history of ${channel}, and all listeners receive the deletion. This cannot be undone.`,
    ok: 'Delete',
    danger: true,
    async go() {
      await post('DELETE', '/message', JSON.stringify([{ uuid, channel }]));
      return 'The message was deleted.';
    },
  });
}

/** Disconnects connections of a user. */
export function disconnect(user, ids) {
  const one = ids.length === 1;
  ask({
    title: one ? `Disconnect a connection of ${user}?` : `Disconnect ${ids.length} connections of ${user}?`,
    text: 'Its listener is closed, and the application has to connect the user again. Applications may do so at once.',
    ok: 'Disconnect',
    danger: true,
    async go() {
      for (const conn_id of ids) await post('POST', '/disconnect', JSON.stringify({ conn_id }));
      return one ? 'The connection was ended.' : `${ids.length} connections were ended.`;
    },
  });
}

/** Changes the settings of a channel. `changes` describes them, and `effect` when they apply. */
export function configure(channel, settings, changes, effect, done) {
  ask({
    title: `Change the settings of ${channel}?`,
    text: `${changes.join(', ')}. ${effect}`,
    ok: 'Change',
    async go() {
      await post('POST', '/channel_config', JSON.stringify({ [channel]: settings }));
      done();
      return 'The settings were changed.';
    },
  });
}

/** Lets the server read its settings again. */
export function reload() {
  ask({
    title: 'Read the settings again?',
    text: 'The server reads its flags, its file and the files that settings name. If anything is wrong with them, nothing changes.',
    ok: 'Reload',
    async go() {
      const { changed, needs_restart: later } = await post('POST', '/reload', '{}');
      const now = changed.length ? `Changed: ${changed.join(', ')}.` : 'No setting that counts now has changed.';
      return later.length ? `${now} After a restart: ${later.join(', ')}.` : now;
    },
  });
}
