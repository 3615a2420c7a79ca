// The websocket of the explorer: opens /ws and lists the text frames it receives, newest first.

import { at, make } from './element.js';

const MOST_FRAMES = 100;

let socket = null;
let heartbeats = 0;

function say(text) {
  at('socket-state').textContent = text;
}

function show(text) {
  const head = make('p', 'message-head quiet', new Date().toLocaleTimeString());
  const list = at('socket-events');
  list.prepend(make('li', '', head, make('pre', '', text)));
  if (list.children.length > MOST_FRAMES) list.lastElementChild.remove();
}

function open() {
  const address = new URL('ws', document.baseURI);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  address.searchParams.set('conn_id', at('socket-id').value.trim());
  heartbeats = 0;
  at('socket-events').replaceChildren();
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
    const count = `${heartbeats} ${heartbeats === 1 ? 'heartbeat' : 'heartbeats'}`;
    say(opened
      ? `Closed with code ${code}${reason ? ` (${reason})` : ''}, after ${count}.`
      : 'The server refused the websocket, or does not answer.');
    at('socket-open').disabled = false;
    at('socket-close').disabled = true;
  });
}

at('socket-form').addEventListener('submit', (event) => {
  event.preventDefault();
  open();
});
at('socket-close').addEventListener('click', () => socket.close(1000));
