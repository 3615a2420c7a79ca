// The adapter by which `channelstream conformance` tests the browser client, in Node.
//
// It reads orders from standard input, and writes what the client reports to standard output, as
// docs/client-spec.md says. Node 20 has a WebSocket behind the flag --experimental-websocket.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

const code = await readFile(process.env.CHANNELSTREAM_CLIENT, 'base64');
const { ChannelStreamConnection } = await import(`data:text/javascript;base64,${code}`);

/** The kit's names of the transports. */
const TRANSPORTS = { websocket: 'websocket', sse: 'eventStream', poll: 'poll' };

/** The kit's names of the events. */
const NAMES = {
    message: 'message',
    'message:edit': 'edited',
    'message:delete': 'deleted',
    'message:append': 'appended',
    presence: 'presence',
    gap: 'gap',
};

let connection;

const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

/** Where the pages' application is asked for a connection: the first is in the order. */
function application({ conn_id, connect_url }) {
    let first = conn_id;
    return (url, init) => {
        if (url !== 'application:connect') return fetch(url, init);
        const [named, json] = [first, { 'content-type': 'application/json' }];
        first = undefined;
        if (named) return Promise.resolve(new Response(JSON.stringify({ conn_id: named }), { headers: json }));
        if (!connect_url) return Promise.resolve(new Response('', { status: 403 }));
        return fetch(connect_url, init);
    };
}

function report(event) {
    const { type, uuid, channel = null, catchup = false, user, message } = event;
    const common = { event: NAMES[type] ?? 'unknown', uuid, channel, catchup, cursor: connection.cursor };
    if (type === 'presence') return tell({ ...common, user, action: message.action });
    const { append, from, rev, status, reason } = event;
    tell({ ...common, user, message, append, from, rev, status, reason });
}

function listen(order) {
    const { url, cursor, transports, first_pause, connect_url } = order;
    connection = new ChannelStreamConnection({
        username: 'ann',
        channels: ['news'],
        cursor: cursor ?? '',
        transports: transports.map((name) => TRANSPORTS[name]),
        increaseBounceIv: first_pause * 1000,
        connectUrl: 'application:connect',
        websocketUrl: `${url.replace('http', 'ws')}/ws`,
        eventStreamUrl: `${url}/sse`,
        longPollUrl: `${url}/listen`,
        fetch: application(order),
    });
    connection.on('event', report);
    connection.on('error', ({ message }) => tell({ event: 'error', error: message }));
    connection.on('state', ({ state }) => {
        if (state === 'open') tell({ event: 'open' });
        if (state === 'reconnecting') tell({ event: 'interrupted' });
        // The client is refused by the application, which is how a page learns that it is over.
        if (state === 'closed') tell({ event: 'ended', reason: connect_url ? 'refused' : 'unknown_connection' });
    });
    connection.connect().catch(() => {});
}

for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.do === 'listen') listen(order);
    else if (order.do === 'stop') break;
    else throw new Error(`an unknown order: ${line}`);
}
connection?.close();
// What was told is written before the process ends.
process.stdout.write('', () => process.exit());
