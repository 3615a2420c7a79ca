// An EventSource in a page, behind a real nginx with its defaults.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Nginx } from '../stage/nginx.mjs';
import { Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';

const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
// No heartbeat comes within a test, and could push an event through a buffer.
const server = await Server.start({ heartbeat_interval: 300, sse_retry: 0.1, shutdown_timeout: 2 });
const nginx = await Nginx.before(server);
after(async () => {
    await browser.close();
    await nginx.stop();
    await server.stop();
});

/** Opens an EventSource under a name, which notes what it hears. */
const open = (page, name, connection) =>
    page.evaluate(
        ([name, connection]) => {
            const source = new EventSource(`/sse?conn_id=${connection}`);
            const heard = { source, opened: 0, errors: 0, events: [] };
            source.onopen = () => (heard.opened += 1);
            source.onerror = () => (heard.errors += 1);
            for (const type of ['message', 'message:edit', 'presence']) {
                source.addEventListener(type, ({ type, data, lastEventId }) =>
                    heard.events.push({ type, id: lastEventId, event: JSON.parse(data) }),
                );
            }
            window[name] = heard;
        },
        [name, connection],
    );

const heard = (page, name) =>
    page.evaluate((name) => {
        const { source, opened, errors, events } = window[name];
        return { state: source.readyState, opened, errors, events };
    }, name);

const has = (page, name, what, is) => until(async () => is(await heard(page, name)), what);

test('events arrive at once, and each stream ends as it should', { timeout: 60_000 }, async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`http://${nginx.address}/`);
    const { conn_id } = await server.call('POST', '/connect', { username: 'ann', channels: ['room'] });
    await open(page, 'first', conn_id);
    await has(page, 'first', 'it opens', ({ opened }) => opened === 1);

    for (let number = 1; number <= 5; number += 1) {
        await server.publish({ user: 'bob', channel: 'room', message: { number } });
        await has(page, 'first', 'the message', ({ events }) => events.length === number);
    }
    const [{ event: { uuid } }] = (await heard(page, 'first')).events;
    await server.call('PATCH', '/message', [{ uuid, channel: 'room', message: { number: 'one' } }]);
    await has(page, 'first', 'the edit', ({ events }) => events.length === 6);
    const { events } = await heard(page, 'first');
    assert.deepEqual(events.map(({ type }) => type), [...Array(5).fill('message'), 'message:edit']);
    assert.deepEqual(events.map(({ event }) => event.type), events.map(({ type }) => type));
    assert.ok(events.every(({ id }) => id !== ''));

    // The older one does not take the listener back.
    await open(page, 'second', conn_id);
    await has(page, 'second', 'it opens', ({ opened }) => opened === 1);
    await has(page, 'first', 'it ends', ({ errors }) => errors === 1);
    for (let number = 6; number <= 10; number += 1) {
        await server.publish({ user: 'bob', channel: 'room', message: { number } });
        await has(page, 'second', 'the message', ({ events }) => events.length === number - 5);
    }
    const first = await heard(page, 'first');
    assert.deepEqual([first.opened, first.errors, first.events.length], [1, 1, 6]);
    assert.equal((await heard(page, 'second')).opened, 1);

    // It tries again after the drain, and stops at the first answer that is no stream: the connection
    // has not outlived the restart.
    await server.stop('SIGTERM');
    await server.start();
    await has(page, 'second', 'it stops', ({ state }) => state === 2);
    await context.close();
});
