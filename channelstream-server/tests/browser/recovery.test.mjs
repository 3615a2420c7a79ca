// Servers that go away and networks that fail: what pages can rely on.
import assert from 'node:assert/strict';
import { after, afterEach, describe, test } from 'node:test';
import { Proxy } from './stage/proxy.mjs';
import { setStage } from './stage/stage.mjs';

const stage = await setStage();
stage.brokenNetwork = true;
const { server } = stage;
const proxy = await Proxy.to(server.port);
after(() => proxy.close());
afterEach(() => {
    proxy.resume();
    proxy.mend();
});

const publish = (channel, text) => server.publish({ user: 'backend', channel, message: { text } });

/**
 * A page that listens through the proxy. The client leaves it to the page to go on after a
 * failed poll, so this page does, with the client's own delay.
 */
async function listener(transport) {
    const room = stage.room();
    const ann = await stage.visitor('ann', { transport, channels: [room], address: proxy.address });
    await ann.page.evaluate((polling) => {
        const { connection } = window;
        const told = connection.listenErrorCallback;
        connection.listenErrorCallback = (...given) => {
            told.apply(connection, given);
            if (polling) connection.retryConnection();
        };
    }, transport === 'poll');
    const { conn_id } = await ann.connect();
    await publish(room, 'before');
    await ann.seesText('before');
    return { ann, room, id: conn_id };
}

/** The page connected anew by itself, with the same channels, and hears again. */
async function recovers({ ann, room, id }, after) {
    const { data } = await ann.hears('connect', { after, limit: 30_000 });
    assert.notEqual(data.conn_id, id);
    assert.deepEqual(data.channels, [room]);
    await publish(room, 'afterwards');
    await ann.seesText('afterwards');
    assert.equal(ann.texts.filter((text) => text === 'afterwards').length, 1);
    return data;
}

for (const transport of ['websocket', 'poll']) {
    describe(`over ${transport}`, { timeout: 120_000 }, () => {
        const lost = transport === 'poll' ? 'listenError' : 'listenClose';

        test('the server crashes and comes back', async () => {
            const page = await listener(transport);
            const mark = page.ann.notes.length;
            await server.stop('SIGKILL');
            await page.ann.hears(lost, { after: mark });
            await page.ann.hears('connectError', { after: mark });
            assert.equal(await page.ann.property('connected'), false);
            await server.start();
            await recovers(page, mark);
        });

        test('the server is restarted in good order', async () => {
            const page = await listener(transport);
            const mark = page.ann.notes.length;
            await server.stop('SIGTERM');
            await page.ann.hears(lost, { after: mark });
            await server.start();
            await recovers(page, mark);
        });

        test('the connection is ended from elsewhere', async () => {
            const page = await listener(transport);
            const mark = page.ann.notes.length;
            const ended = await fetch(`http://${server.address}/disconnect?conn_id=${page.id}`);
            assert.equal(await ended.json(), true);
            await recovers(page, mark);
        });

        test('the network is cut: what was missed is in the history', async () => {
            const page = await listener(transport);
            const mark = page.ann.notes.length;
            proxy.cut();
            await page.ann.hears(lost, { after: mark });
            await publish(page.room, 'missed');
            proxy.mend();
            const { channels_info } = await recovers(page, mark);
            const { history } = channels_info.channels[page.room];
            assert.deepEqual(
                history.slice(0, 2).map(({ message }) => message.text),
                ['before', 'missed'],
            );
        });

        test('the network stalls: nothing is lost, doubled or out of order', async () => {
            const page = await listener(transport);
            const mark = page.ann.notes.length;
            proxy.stall();
            const texts = Array.from({ length: 20 }, (_, number) => `number ${number}`);
            for (const text of texts) await publish(page.room, text);
            assert.deepEqual(page.ann.texts, ['before']);
            proxy.resume();
            await page.ann.seesText(texts.at(-1));
            assert.deepEqual(page.ann.texts, ['before', ...texts]);
            const callbacks = page.ann.notes.slice(mark).map(({ name }) => name);
            assert.ok(!callbacks.includes(lost) && !callbacks.includes('connect'), callbacks.join());
        });
    });
}

test('a page that opens while the server is away connects once it is there', { timeout: 60_000 }, async () => {
    const room = stage.room();
    const ann = await stage.visitor('ann', { transport: 'websocket', channels: [room] });
    await server.stop('SIGTERM');
    await ann.call('connect');
    const { status } = await ann.hears('connectError');
    assert.equal(status, 502);
    await server.start();
    await ann.hears('listenOpened', { limit: 30_000 });
    await publish(room, 'at last');
    await ann.seesText('at last');
});
