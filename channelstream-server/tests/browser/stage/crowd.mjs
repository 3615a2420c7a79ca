// A crowd of listeners on plain TCP lines, and a backend that posts to them at an even pace.
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const AT_ONCE = 40;

const PING = Buffer.from([0x89, 0x00]);
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);

/** Runs `work` for each number below `count`, so many at once. */
async function each(count, work) {
    let next = 0;
    const worker = async () => {
        while (next < count) await work((next += 1) - 1);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Opens a websocket on a connection and answers pings; what comes is not looked at. */
async function listen(server, id) {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(
        `GET /ws?conn_id=${id} HTTP/1.1\r\nHost: ${server.address}\r\nConnection: Upgrade\r\n` +
            'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    const [answer] = await once(socket, 'data');
    if (!answer.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(`not a websocket: ${answer}`);
    // Pings of the server carry nothing, and no such bytes stand in its texts.
    socket.on('data', (bytes) => bytes.includes(PING) && socket.write(PONG));
    return socket;
}

/** The name of a channel of the crowd. */
export const channelOf = (number) => `channel-${String(number).padStart(5, '0')}`;

/** So many listeners, each a user in a channel of their own. */
export async function gather(server, count) {
    const sockets = [];
    await each(count, async (number) => {
        const body = { username: `user-${number}`, channels: [channelOf(number)] };
        const { conn_id } = await server.call('POST', '/connect', body);
        sockets.push(await listen(server, conn_id));
    });
    return { leave: () => sockets.forEach((socket) => socket.destroy()) };
}

/** Posts `rate` messages a second to channels of the crowd, until told to stop. */
export function post(server, rate, count) {
    const STEP = 20;
    let going = true;
    let posted = 0;
    const run = async () => {
        const begun = performance.now();
        const under_way = new Set();
        while (going) {
            const due = Math.floor(((performance.now() - begun) / 1000) * rate);
            // Ten messages a request, as backends that have many do.
            while (posted + 10 <= due && under_way.size < 20) {
                const messages = Array.from({ length: 10 }, (_, index) => ({
                    user: 'load', channel: channelOf((posted + index) % count), message: { n: posted + index, text: 'x'.repeat(100) },
                }));
                posted += 10;
                const request = server.call('POST', '/message', messages).finally(() => under_way.delete(request));
                under_way.add(request);
            }
            await pause(STEP);
        }
        await Promise.allSettled(under_way);
    };
    const done = run();
    return {
        get posted() {
            return posted;
        },
        async stop() {
            going = false;
            await done;
        },
    };
}
