// What scripts of other origins use without the client's connection: JSONP, readable answers, signatures.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setStage } from './stage/stage.mjs';
import { sign } from './stage/server.mjs';

const stage = await setStage();
const { server } = stage;

test('a poll as a script calls the function it names', { timeout: 60_000 }, async () => {
    const room = stage.room();
    const { conn_id } = await server.call('POST', '/connect', { username: 'ann', channels: [room] });
    await server.publish({ user: 'backend', channel: room, message: { text: 'by script' } });
    const ann = await stage.visitor('ann', { channels: [room] });
    const heard = await ann.page.evaluate((url) => {
        return new Promise((resolve, reject) => {
            window.app = { heard: resolve };
            const script = document.createElement('script');
            script.onerror = () => reject(new Error(`not a script: ${url}`));
            script.src = url;
            document.head.append(script);
        });
    }, `http://${server.address}/listen?conn_id=${conn_id}&callback=app.heard`);
    const messages = heard.filter(({ type }) => type === 'message');
    assert.deepEqual(messages.map(({ message }) => message.text), ['by script']);
});

test('a page of another origin can read what was wrong', { timeout: 60_000 }, async () => {
    const ann = await stage.visitor('ann', { channels: [] });
    const ask = (path) => ann.page.evaluate(async (url) => (await fetch(url)).status, `http://${server.address}${path}`);
    assert.equal(await ask('/listen?conn_id=8e2f7c3a-0000-4000-8000-000000000000'), 401);
    assert.equal(await ask('/listen?conn_id=nonsense'), 422);
    assert.equal(await ask('/disconnect?conn_id=nonsense'), 422);
    // The browser logs each of them as an error of its own.
    assert.equal(ann.faults.splice(0).length, 3);
});

test('signatures made in a page are taken', { timeout: 60_000 }, async () => {
    const ann = await stage.visitor('ann', { channels: [] });
    // Their base64 is not always clean, which shows in about one of nine: so many moments.
    const start = Date.now();
    const signatures = new Set();
    for (let second = 0; second < 100; second += 1) {
        await ann.page.clock.setFixedTime(start + second * 1000);
        signatures.add(await ann.page.evaluate(() => window.makeSignature('secret')));
    }
    assert.equal(signatures.size, 100);
    for (const signature of signatures) {
        const answer = await server.request('POST', '/info', { info: { channels: [] } }, signature);
        assert.equal(answer.status, 200, signature);
    }
    const forged = await server.request('POST', '/info', { info: { channels: [] } }, sign('/info', 'guess'));
    assert.equal(forged.status, 401);
});
