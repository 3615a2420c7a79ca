// What the page does at the server: each deed is confirmed in a dialog, and its outcome told.

import { at, make, say } from './element.js';

const PATIENCE = 15_000;

let fields = 0;
let forget = null;

/** Tells what was done, for a while. */
function tell(text) {
  clearTimeout(forget);
  say(at('done'), text);
  forget = setTimeout(() => say(at('done'), ''), 8_000);
}

/** The faults of a 422, flat: `field: text`. */
function faultLines(faults, path = '') {
  if (typeof faults === 'string') return [path ? `${path}: ${faults}` : faults];
  if (Array.isArray(faults)) return faults.flatMap((fault) => faultLines(fault, path));
  return Object.entries(faults).flatMap(([key, below]) => faultLines(below, path ? `${path}.${key}` : key));
}

/** Asks the server; `body` is JSON as text, so that what people typed or the server stored goes as it is. */
async function post(method, endpoint, body) {
  let answer;
  try {
    answer = await fetch(`admin/api${endpoint}`, {
      method,
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body,
      cache: 'no-store',
      redirect: 'manual',
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Error('The server did not answer. It may have been done or not.');
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  if (answer.status === 422) throw new Error(faultLines(told).join(' '));
  throw new Error(`The server refused this (${answer.status}): ${told.message ?? 'no reason given'}.`);
}

/** A field of the dialog: a control below its label. */
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

/** The text of the object in an editor, as it stands there; what is no object is marked and told. */
function objectIn(control) {
  let value;
  let why = 'A message is a JSON object, such as {"text": "hello"}.';
  try {
    value = JSON.parse(control.value);
  } catch (error) {
    why = `This is no JSON: ${error.message}.`;
  }
  const good = value !== null && typeof value === 'object' && !Array.isArray(value);
  control.setAttribute('aria-invalid', String(!good));
  if (good) return control.value;
  control.focus();
  throw new Error(why);
}

/** Opens the dialog. `fill` makes its fields; `go` does it and gives what to tell. */
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
      tell(await go(made));
      dialog.close();
    } catch (error) {
      say(at('dialog-error'), error.message);
    } finally {
      button.removeAttribute('aria-busy');
    }
  };
  dialog.showModal();
  // What may do harm is not what Enter does at once.
  if (danger) at('dialog-cancel').focus();
}

at('dialog-cancel').addEventListener('click', () => at('dialog').close());

/** Sends a message to a channel, or privately to a user; `listeners` says in words who gets it. */
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

/** A list of one message with these fields, whose content is JSON as text. */
function withMessage(fields, content) {
  return `[${JSON.stringify(fields).slice(0, -1)},"message":${content}}]`;
}

/** Edits a message of a channel's history: what nobody touches stays as it is stored. */
export function edit(channel, { uuid, user, message }) {
  const stored = message ? message.text : '{}';
  ask({
    title: `Edit a message of ${user}`,
    text: `Everybody in ${channel} is told of the change.`,
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
    text: `It leaves the history of ${channel}, and everybody there is told. This cannot be undone.`,
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
    text: 'Who listens there is closed, and the application has to connect them anew. Applications may do so at once.',
    ok: 'Disconnect',
    danger: true,
    async go() {
      for (const conn_id of ids) await post('POST', '/disconnect', JSON.stringify({ conn_id }));
      return one ? 'The connection was ended.' : `${ids.length} connections were ended.`;
    },
  });
}

/** Changes the settings of a channel; `changes` tells them in words. */
export function configure(channel, settings, changes, done) {
  ask({
    title: `Change the settings of ${channel}?`,
    text: `${changes.join(', ')}. It counts from the next message or event on.`,
    ok: 'Change',
    async go() {
      await post('POST', '/channel_config', JSON.stringify({ [channel]: settings }));
      done();
      return 'The settings were changed.';
    },
  });
}
