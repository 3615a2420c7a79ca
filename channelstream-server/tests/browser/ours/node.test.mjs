// Our client outside of browsers: in Node, by long poll and by websocket.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { Application } from '../stage/application.mjs';
import { Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';

const code = await readFile(process.env.CHANNELSTREAM_CLIENT, 'base64');
const { ChannelStreamConnection, ChannelStreamError } = await import(`data:text/javascript;base64,${code}`);

const server = await Server.start();
const application = await Application.open(server);
after(async () => {
    application.close();
    await server.stop();
});
const options = { timeout: 60_000 };

const make = (more) =>
    new ChannelStreamConnection({
        username: 'node',
        increaseBounceIv: 50,
        connectUrl: `http://${application.address}/connect`,
        subscribeUrl: `http://${application.address}/subscribe`,
        messageUrl: `http://${application.address}/message`,
        websocketUrl: `ws://${server.address}/ws`,
        longPollUrl: `http://${server.address}/listen`,
        disconnectUrl: `http://${server.address}/disconnect`,
        ...more,
    });

const transports = [['long poll', { noWebsocket: true }]];
// Node has it since version 22.
if (globalThis.WebSocket) transports.push(['websocket', {}]);

for (const [name, settings] of transports) {
    test(`connects, publishes, receives and returns by ${name}`, options, async () => {
        const room = `room of ${name}`;
        const connection = make({ channels: [room], ...settings });
        const states = [];
        const texts = [];
        connection.on('state', ({ state }) => states.push(state));
        connection.on('message', ({ message, sentAt }) => texts.push(`${message.text} ${sentAt instanceof Date}`));
        const receives = (text) => until(() => texts.includes(`${text} true`), () => `${text} in ${texts}`);
        const { conn_id } = await connection.connect();
        await until(() => connection.state === 'open', 'it is open');
        const [{ uuid }] = await connection.publish({ user: 'node', channel: room, message: { text: 'one' } });
        assert.match(uuid, /^[-\da-f]{36}$/);
        await receives('one');

        await server.stop();
        await until(() => connection.state === 'reconnecting', 'it notices');
        await server.start();
        await until(() => connection.state === 'open', 'it is open again');
        assert.notEqual(connection.connectionId, conn_id);
        await server.publish({ user: 'backend', channel: room, message: { text: 'two' } });
        await receives('two');

        const loop = (async () => {
            for await (const event of connection) void event;
        })();
        assert.equal(await connection.disconnect(), true);
        await loop;
        assert.deepEqual(states, ['connecting', 'open', 'reconnecting', 'open', 'closed']);
    });
}

test('a failed call rejects, and does not end the process where nobody looks at it', options, async () => {
    const unhandled = [];
    const note = (reason) => unhandled.push(reason);
    process.on('unhandledRejection', note);
    const connection = make({ messageUrl: 'http://127.0.0.1:9/' });
    const errors = [];
    connection.on('error', (error) => errors.push(error));
    void connection.publish({});
    await until(() => errors.length === 1, 'the error is reported');
    await assert.rejects(connection.publish({}), (error) => error instanceof ChannelStreamError && error.status === 0 && error.cause instanceof Error);
    connection.close();
    process.off('unhandledRejection', note);
    assert.deepEqual(unhandled, []);
});
