// The steps of the tutorial as programs: the same requests in curl, Python, Rust and JavaScript. The
// texts of a language, one after another, are a program that runs.

import { APPLICATIONS, NODE_SIGN, PAGE } from './applications.js';

export const LANGUAGES = { curl: 'curl', python: 'Python', rust: 'Rust', javascript: 'JavaScript' };

/** The requests of each step, made from the values of the forms. `listen` is a long poll. */
export function calls({ user, channel, sender, message, listener, text, mood, ids }) {
  const to = (more) => [{ user: sender, message, ...more }];
  const settings = { notify_presence: true, notify_state: true, store_history: true };
  return {
    connect: [['POST', '/connect', { username: user, conn_id: ids.user, channels: [channel] }]],
    listen: [['listen', ids.user]],
    send: [
      ['POST', '/message', to({ channel, uuid: ids.message })],
      ['POST', '/message', to({ pm_users: [listener] })],
      ['POST', '/message', to({ channel, exclude_users: [listener] })],
    ],
    edit: [
      ['PATCH', '/message', [{ uuid: ids.message, channel, message: { ...message, text } }]],
      ['DELETE', '/message', [{ uuid: ids.message, channel }]],
    ],
    state: [
      ['POST', '/channel_config', { [channel]: settings }],
      ['POST', '/connect', { username: 'friend', conn_id: ids.friend, channels: [channel] }],
      ['POST', '/user_state', { user: 'friend', user_state: { mood }, state_public_keys: ['mood'] }],
    ],
    away: [
      ['POST', '/connect', { username: 'traveller', conn_id: ids.traveller, channels: [channel] }],
      ['POST', '/message', to({ channel })],
      ['listen', ids.traveller],
    ],
    answer: [
      ['POST', '/message', [{ user: 'assistant', channel, uuid: ids.answer, message: { text: 'Dear' }, status: 'open' }]],
      ['PATCH', '/message', [{ uuid: ids.answer, channel, append: { text: ' reader' } }]],
      ['PATCH', '/message', [{ uuid: ids.answer, channel, append: { text: '!' }, status: 'done' }]],
    ],
  };
}

/** Quotes a text as one word for a shell. */
const word = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Writes JSON, over several lines if it is long. `words` replaces `true`, `false` and `null` for Python. */
function literal(value, words = {}, indent = '') {
  const inner = `${indent}    `;
  const list = (open, items, close) => {
    const flat = `${open}${items.join(', ')}${close}`;
    if (flat.length + indent.length < 60) return flat;
    return `${open}\n${items.map((item) => inner + item).join(',\n')}\n${indent}${close}`;
  };
  if (JSON.isRawJSON?.(value)) return value.rawJSON;
  if (Array.isArray(value)) {
    return list('[', value.map((item) => literal(item, words, inner)), ']');
  }
  if (value && typeof value === 'object') {
    const pairs = Object.entries(value);
    return list('{', pairs.map(([key, item]) => `${JSON.stringify(key)}: ${literal(item, words, inner)}`), '}');
  }
  return words[String(value)] && typeof value !== 'string' ? words[String(value)] : JSON.stringify(value);
}

const PYTHON = { true: 'True', false: 'False', null: 'None' };

/** Turns the escapes of JSON into those of Rust, which writes some control characters differently. */
const inRust = (json) =>
  json.replace(/\\(?:u(....)|(.))/g, (escape, code, letter) => {
    const hex = code ?? { b: '8', f: 'c' }[letter];
    return hex ? `\\u{${hex}}` : escape;
  });

const WRITE = {
  curl: ([method, path, body]) => {
    if (method === 'listen') return `curl -sSw '\\n' "$URL/listen?conn_id=${path}"`;
    const verb = method === 'POST' ? '' : ` -X ${method}`;
    const data = word(literal(body));
    return `curl -sSw '\\n'${verb} "$URL${path}" -H "x-channelstream-secret: $(sign)" \\\n  -d ${data}`;
  },
  python: ([method, path, body]) => {
    if (method === 'listen') return `print(listen("${path}"))`;
    return `print(call("${method}", "${path}", ${literal(body, PYTHON)}))`;
  },
  javascript: ([method, path, body]) => {
    if (method === 'listen') return `console.log(await listen('${path}'));`;
    return `console.log(await call('${method}', '${path}', ${literal(body)}));`;
  },
};

const SETUP = {
  curl: (origin) => String.raw`URL=${origin}
SECRET=secret
b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
sign() {
  now=$(date +%s)
  bytes=$(printf '\\%03o' $((now>>24&255)) $((now>>16&255)) $((now>>8&255)) $((now&255)))
  text="tutorial.$(printf "$bytes" | b64)"
  key=$(printf 'itsdangerous.Signersigner%s' "$SECRET" | openssl dgst -sha1 -r | cut -c1-40)
  printf '%s.' "$text"
  printf '%s' "$text" | openssl dgst -sha1 -mac HMAC -macopt "hexkey:$key" -binary | b64
}`,
  python: (origin) => `# pip install itsdangerous
import json
import urllib.request

from itsdangerous import TimestampSigner

URL = "${origin}"
signer = TimestampSigner("secret")


def call(method, path, body):
    headers = {"x-channelstream-secret": signer.sign(path).decode()}
    data = json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def listen(conn_id):
    with urllib.request.urlopen(f"{URL}/listen?conn_id={conn_id}") as answer:
        return json.load(answer)
`,
  rust: (origin) => `// channelstream-client = { version = "0.1", features = ["listen"] }
// tokio = { version = "1", features = ["macros", "rt"] }
use channelstream_client::{
    Address, ChannelSettings, Client, Configure, Connect, Delete, Edit, NewMessage, Scalar,
    SetUserState, json,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new("${origin}", "secret")?;
    // The steps go here, and at the end:
    // Ok(()) }`,
  javascript: (origin) => `// For the backend: node, deno or bun, as a module.
import { createHash, createHmac } from 'node:crypto';

const URL = '${origin}';
${NODE_SIGN}

async function call(method, path, body) {
    const headers = { 'x-channelstream-secret': sign(path) };
    const answer = await fetch(URL + path, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(\`\${answer.status} \${await answer.text()}\`);
    return answer.json();
}

async function listen(connId) {
    return (await fetch(\`\${URL}/listen?conn_id=\${connId}\`)).json();
}`,
};

/** The steps with the crate channelstream-client, which has a type for each request. */
function rust({ user, channel, sender, message, listener, text, mood }) {
  const name = (value) => inRust(JSON.stringify(value));
  const json = (value) => `json!(${inRust(literal(value))})`;
  const to = `${name(sender)}, ${name(channel)}, ${json(message)}`;
  return {
    connect: `let connected = client.connect(Connect::new(${name(user)}).channels([${name(channel)}])).await?;
println!("a browser may listen as {}", connected.conn_id);`,
    listen: `let mut listener = client.listen(connected.conn_id).build()?;
tokio::spawn(async move {
    while let Some(event) = listener.next().await {
        println!("{event:?}");
    }
});`,
    send: `let sent = client.publish(NewMessage::to_channel(${to})?).await?;
client.publish(NewMessage::to_users(${name(sender)}, [${name(listener)}], ${json(message)})?).await?;
let others = Address { exclude_users: vec![${name(listener)}.into()], ..Address::channel(${name(channel)}) };
client.publish(NewMessage::new(${name(sender)}, others).payload(${json(message)})?).await?;`,
    edit: `let address = || Address::channel(${name(channel)});
let edit = Edit::new(sent[0].uuid, address()).payload(${json({ ...message, text })})?;
client.edit(edit).await?;
client.delete(Delete::new(sent[0].uuid, address())).await?;`,
    state: `let settings = ChannelSettings {
    notify_presence: true,
    notify_state: true,
    store_history: true,
    ..ChannelSettings::default()
};
client.configure(Configure::new([(${name(channel)}, settings)])).await?;
client.connect(Connect::new("friend").channels([${name(channel)}])).await?;
let state = [("mood".to_owned(), Scalar::from(${name(mood)}))].into();
let public = SetUserState {
    state_public_keys: Some(vec!["mood".to_owned()]),
    ..SetUserState::new("friend", state)
};
client.set_user_state(public).await?;`,
    away: `let traveller = client.connect(Connect::new("traveller").channels([${name(channel)}])).await?;
client.publish(NewMessage::to_channel(${to})?).await?;
let mut lid = client.listen(traveller.conn_id).build()?;
while let Some(event) = lid.next().await {
    println!("{event:?}");
    if matches!(event, channelstream_client::StreamEvent::Event(_)) {
        break;
    }
}`,
  };
}

/** Returns the texts of each step by language. `origin` is the address of the server. */
export function snippets(origin, values) {
  const steps = { setup: {}, app: {}, page: { html: PAGE(origin) } };
  for (const [language, write] of Object.entries(SETUP)) steps.setup[language] = write(origin);
  for (const [name, write] of Object.entries(APPLICATIONS)) steps.app[name] = write(origin);
  const ofRust = rust(values);
  for (const [step, list] of Object.entries(calls(values))) {
    const programs = { ...ofRust[step] && { rust: ofRust[step] } };
    for (const [language, write] of Object.entries(WRITE)) programs[language] = list.map(write).join('\n');
    // In the order of the tabs.
    const inOrder = Object.keys(LANGUAGES).filter((language) => language in programs);
    steps[step] = Object.fromEntries(inOrder.map((language) => [language, programs[language]]));
  }
  return steps;
}
