// Pages on which nothing happens: they hear heartbeats and are not taken for gone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setStage } from './stage/stage.mjs';
import { until } from './stage/until.mjs';

const stage = await setStage();

// A connection is collected after 15 s without a sign of life; beats are 5 s apart.
const BEATS = 4;

test('heartbeats come and keep silent pages connected', { timeout: 120_000 }, async () => {
    const room = stage.room();
    const pages = await Promise.all(
        ['websocket', 'poll'].map((transport) => stage.visitor(transport, { transport, channels: [room] })),
    );
    for (const page of pages) await page.connect();
    const ids = await Promise.all(pages.map((page) => page.property('connectionId')));

    const empty = ({ name, told }) => name === 'listenMessage' && told.length === 0;
    for (const page of pages) {
        const beats = () => page.notes.filter(empty).length >= BEATS;
        await until(beats, `${page.username} hears ${BEATS} heartbeats`, 40_000);
    }
    await stage.server.publish({ user: 'backend', channel: room, message: { text: 'still there?' } });
    for (const [index, page] of pages.entries()) {
        await page.seesText('still there?');
        assert.equal(await page.property('connectionId'), ids[index]);
        assert.equal(page.notes.filter(({ name }) => name === 'connect').length, 1);
        assert.ok(!page.events.some((event) => event.message?.action === 'parted'));
    }
});

test('the heartbeats of the page are welcome', { timeout: 60_000 }, async () => {
    const room = stage.room();
    const ann = await stage.visitor('ann', { transport: 'websocket', channels: [room] });
    const sent = [];
    ann.page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => sent.push(payload)));
    await ann.connect();
    await until(() => sent.length > 0, 'the page sends a heartbeat', 20_000);
    assert.deepEqual(JSON.parse(sent[0]), { type: 'heartbeat' });
    await stage.server.publish({ user: 'backend', channel: room, message: { text: 'heard' } });
    await ann.seesText('heard');
    assert.equal(ann.notes.filter(({ name }) => name === 'listenClose').length, 0);
});
