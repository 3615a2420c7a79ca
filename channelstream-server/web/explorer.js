// The API explorer: lists the operations of openapi-3.1.json and sends requests, with signatures made
// in the page. Everything that comes from the server goes into the page as text.

import { copyButton, scrollable } from './code.js';
import { at, make } from './element.js';
import { indent } from './json_text.js';
import { describe, fields, resolve } from './schema.js';
import { sign } from './signer.js';

// The groups of operations with their titles. Pages are left out.
const GROUPS = { backend: 'Backend API', client: 'Client API', admin: 'Admin API', probes: 'Probes' };

const JSON_TYPE = 'application/json';
/** Milliseconds for which an answer that does not end is read. */
const STREAMED = 5000;

// Hints for the refusals that are hard to understand, beside the server's own message.
const HINTS = {
  401: 'The signature is refused: it was made with another secret, or the clocks of this machine and of the server differ by more than a minute. For /listen: the connection is not known.',
  403: 'Permission is missing: type the secret above. Your address must be in allow_posting_from too.',
};

// The ids in the forms. Each answer replaces them everywhere by its own.
const known = {
  conn_id: '6f1c1a52-0d2e-4d0b-9a55-2b6d3c1f0a10',
  uuid: '0b8e7b6e-4a53-4c55-9d6c-7f1c1d2e3a40',
};

let api = null;
let fieldCount = 0;

function labelled(text, control, note) {
  fieldCount += 1;
  control.id = `field-${fieldCount}`;
  const label = make('label', '', text);
  label.htmlFor = control.id;
  if (!note) return [label, control];
  const line = make('p', 'quiet', note);
  line.id = `${control.id}-note`;
  control.setAttribute('aria-describedby', line.id);
  return [label, line, control];
}

function fieldList(rows) {
  const list = make('dl', 'fields');
  for (const { path, schema, required } of rows) {
    const type = describe(api, schema) + (required ? ', required' : '');
    list.append(
      make('dt', '', make('code', '', path), ' ', make('span', 'quiet', type)),
      make('dd', '', resolve(api, schema).description ?? ''),
    );
  }
  return list;
}

function fold(title, ...content) {
  return make('details', '', make('summary', '', title), ...content);
}

function answerList(responses) {
  const list = make('dl', 'fields');
  for (const [status, node] of Object.entries(responses)) {
    const answer = resolve(api, node);
    const what = make('dd', '', answer.description);
    const content = answer.content?.[JSON_TYPE];
    const rows = fields(api, content?.schema);
    if (rows.length) what.append(fold(`Fields of ${status}`, fieldList(rows)));
    const example = content?.example;
    if (example) what.append(scrollable(`Example of ${status}`, JSON.stringify(example, null, 2)));
    list.append(make('dt', '', make('code', '', status)), what);
  }
  return list;
}

/** Quotes a text as one word for a shell. */
function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The request for a terminal. The signature is made there, so that no valid one is copied. */
function curlCommand({ method, signed, type }, address, body) {
  const words = [`curl -i -X ${method} ${quote(address.href)}`];
  if (body !== null) words.push(`-H 'Content-Type: ${type}'`);
  if (signed) words.push('-H "x-channelstream-secret: $(channelstream sign)"');
  if (body !== null) words.push(`--data-raw ${quote(body)}`);
  return words.join(' \\\n  ');
}

/** Replaces the last ids by those of an answer in all forms. */
function remember(text) {
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    return;
  }
  const found = { conn_id: answer?.conn_id, uuid: Array.isArray(answer) ? answer[0]?.uuid : undefined };
  for (const [name, id] of Object.entries(found)) {
    if (typeof id !== 'string') continue;
    for (const control of document.querySelectorAll('#operations textarea, #operations input, #socket-id')) {
      control.value = control.value.replaceAll(known[name], id);
    }
    known[name] = id;
  }
}

/** Marks an editor whose text is not JSON. It can be sent all the same, to see the refusal. */
function checkJson(editor, line) {
  let problem = '';
  try {
    if (editor.value.trim()) JSON.parse(editor.value);
  } catch (error) {
    problem = `Not JSON: ${error.message}`;
  }
  line.textContent = problem;
  editor.setAttribute('aria-invalid', String(problem !== ''));
}

/** Reads an answer. Of one that does not end, what comes in the first seconds. */
async function textOf(response) {
  const type = response.headers.get('content-type') ?? '';
  if (!response.body || !/event-stream|ndjson/.test(type)) return response.text();
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const timer = setTimeout(() => reader.cancel(), STREAMED);
  let text = '';
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    text += decoder.decode(piece.value, { stream: true });
  }
  clearTimeout(timer);
  return text;
}

async function send(call, output) {
  const address = new URL(`.${call.path}`, document.baseURI);
  for (const [name, control] of call.query) {
    if (control.value) address.searchParams.set(name, control.value);
  }
  const body = call.editor && call.editor.value.trim() ? call.editor.value : null;
  const headers = { Accept: 'application/json' };
  for (const [name, control] of call.headers) {
    if (control.value) headers[name] = control.value;
  }
  if (body !== null) headers['Content-Type'] = call.type;
  const secret = at('secret').value;
  if (call.signed && secret) {
    headers['x-channelstream-secret'] = sign(secret, call.path, Math.floor(Date.now() / 1000));
  }
  output.curl.textContent = curlCommand(call, address, body);
  output.hint.textContent = '';
  output.headers.textContent = '';
  output.body.textContent = '';
  const start = performance.now();
  try {
    const response = await fetch(address, {
      method: call.method, headers, body, cache: 'no-store', redirect: 'manual',
    });
    const text = await textOf(response);
    const took = `${(performance.now() - start).toFixed(1)} ms`;
    if (response.type === 'opaqueredirect') {
      output.status.textContent = `Redirected, ${took}`;
      output.hint.textContent = 'Without permission the server redirects to the sign-in page.';
      return;
    }
    output.status.textContent = `${response.status} ${response.statusText}, ${took}`;
    output.hint.textContent = HINTS[response.status] ?? '';
    output.headers.textContent = Array.from(response.headers, (header) => header.join(': ')).join('\n');
    const json = response.headers.get('content-type')?.startsWith('application/json');
    output.body.textContent = json ? indent(text) : text;
    if (json && response.ok) remember(text);
  } catch (error) {
    output.status.textContent = `No answer: ${error.message}`;
  }
}

/** A text below its heading and a button that copies it. */
function copied(title, what, pre) {
  return [make('div', 'code-head', make('h4', '', title), copyButton(what, pre)), pre];
}

function answerArea() {
  const output = {
    status: make('p', 'status'), hint: make('p', 'quiet'), curl: scrollable('Command'), headers: scrollable('Headers'), body: scrollable('Body'),
  };
  output.status.setAttribute('role', 'status');
  output.whole = make('div', 'answer',
    output.hint, ...copied('Body', 'body', output.body), ...copied('Headers', 'headers', output.headers),
    ...copied('With curl', 'command', output.curl));
  output.whole.hidden = true;
  return output;
}

function operationView(path, method, operation) {
  const call = { path, method: method.toUpperCase(), query: [], headers: [], editor: null, type: JSON_TYPE, signed: operation.security.length > 0 };
  const view = make('details', 'operation', make('summary', '',
    make('span', `method ${method}`, call.method), ' ', make('code', '', path), ' ',
    make('span', 'what', operation.summary)));
  view.append(make('p', '', operation.description));

  const form = make('form');
  for (const parameter of operation.parameters ?? []) {
    const input = make('input');
    input.autocomplete = 'off';
    input.spellcheck = false;
    input.value = parameter.example ?? '';
    const note = `${describe(api, parameter.schema)}${parameter.required ? ', required' : ''}. ${parameter.description}`;
    const isHeader = parameter.in === 'header';
    form.append(...labelled(`${parameter.name} (${isHeader ? 'a header' : 'in the query'})`, input, note));
    (isHeader ? call.headers : call.query).push([parameter.name, input]);
  }
  if (operation.requestBody) {
    const { content } = operation.requestBody;
    call.type = JSON_TYPE in content ? JSON_TYPE : Object.keys(content)[0];
    const isJson = call.type === JSON_TYPE;
    const { schema, example } = content[call.type];
    const outer = resolve(api, schema).type === 'array' ? 'A list. ' : '';
    view.append(fold('Fields of the body',
      make('p', 'quiet', `${outer}${operation.requestBody.description ?? ''}`), fieldList(fields(api, schema))));
    const editor = make('textarea');
    editor.spellcheck = false;
    editor.value = isJson ? JSON.stringify(example, null, 2) : String(example ?? '');
    editor.rows = Math.min(editor.value.split('\n').length + 1, 20);
    const problem = make('p', 'error');
    problem.setAttribute('role', 'status');
    if (isJson) editor.addEventListener('input', () => checkJson(editor, problem));
    form.append(...labelled(isJson ? 'Body (JSON)' : `Body (${call.type})`, editor), problem);
    call.editor = editor;
  }
  const button = make('button', '', 'Execute');
  const output = answerArea();
  form.append(make('div', 'actions', button, output.status));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (button.getAttribute('aria-busy')) return;
    button.setAttribute('aria-busy', 'true');
    output.whole.hidden = false;
    output.status.textContent = 'Waiting for the answer.';
    await send(call, output);
    button.removeAttribute('aria-busy');
  });
  view.append(fold('Answers', answerList(operation.responses)), form, output.whole);
  return view;
}

function show() {
  for (const { name, description } of api.tags) {
    if (!GROUPS[name]) continue;
    const group = make('section', 'group', make('h2', '', GROUPS[name]), make('p', 'quiet', description));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        // The websocket has a section of its own.
        if (operation.tags.includes(name) && !operation.responses[101]) group.append(operationView(path, method, operation));
      }
    }
    at('operations').append(group);
  }
}

function fail(...content) {
  at('problem').replaceChildren(...content);
  at('problem').hidden = false;
}

async function start() {
  let response;
  try {
    response = await fetch('openapi-3.1.json', { cache: 'no-store' });
    if (response.ok) api = await response.json();
  } catch {
    fail('The server does not answer. Load this page again when it is back.');
    return;
  }
  if (api) {
    show();
    return;
  }
  const link = make('a', '', 'sign in');
  link.href = 'admin/sign_in';
  fail(`The description of the API was refused (status ${response.status}). Please `, link, ' again.');
}

start();
