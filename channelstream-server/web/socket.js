// The explorer's websocket: opens /ws and lists the frames that come, newest first.

const MOST_FRAMES = 100;

const at = (id) => document.getElementById(id);

let socket = null;
let heartbeats = 0;

function say(text) {
  at('socket-state').textContent = text;
}

function show(text) {
  const head = document.createElement('p');
  head.className = 'message-head quiet';
  head.textContent = new Date().toLocaleTimeString();
  const body = document.createElement('pre');
  body.textContent = text;
  const item = document.createElement('li');
  item.append(head, body);
  const list = at('socket-frames');
  list.prepend(item);
  if (list.children.length > MOST_FRAMES) list.lastElementChild.remove();
}

function open() {
  const address = new URL('ws', document.baseURI);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  address.searchParams.set('conn_id', at('socket-id').value.trim());
  heartbeats = 0;
  at('socket-frames').replaceChildren();
  at('socket-open').disabled = true;
  at('socket-close').disabled = false;
  say('Opening.');
  socket = new WebSocket(address);
  let opened = false;
  socket.addEventListener('open', () => {
    opened = true;
    say('Open.');
  });
  socket.addEventListener('message', ({ data }) => {
    if (data === '[]') heartbeats += 1;
    else show(data);
  });
  socket.addEventListener('close', ({ code, reason }) => {
    const beats = `${heartbeats} ${heartbeats === 1 ? 'heartbeat' : 'heartbeats'}`;
    say(opened
      ? `Closed with code ${code}${reason ? ` (${reason})` : ''}, after ${beats}.`
      : 'The server refused to open it, or cannot be reached.');
    at('socket-open').disabled = false;
    at('socket-close').disabled = true;
  });
}

at('socket-form').addEventListener('submit', (event) => {
  event.preventDefault();
  open();
});
at('socket-close').addEventListener('click', () => socket.close(1000));
