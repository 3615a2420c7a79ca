// Cursors and growing messages with the real server in Chromium: over each transport, over breaks and
// new connections, and shared by tabs.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { HttpProxy } from '../stage/http_proxy.mjs';
import { Proxy } from '../stage/proxy.mjs';
import { setStage } from '../stage/stage.mjs';
import { Tabs } from '../stage/tabs.mjs';
import { until } from '../stage/until.mjs';

// Fast heartbeats, so that silence is soon noticed; as many stored events as are published while nobody listens.
const stage = await setStage({ settings: { heartbeat_interval: 1, wake_connections_after: 1, stored_frames: 10_000 } });
const { server, application } = stage;
const options = { timeout: 90_000 };
const closing = [];
afterEach(async () => {
    const results = await Promise.allSettled(closing.splice(0).reverse().map(async (close) => close()));
    for (const { reason } of results.filter(({ status }) => status === 'rejected')) throw reason;
});

const settings = (address, more) => ({
    username: 'ann',
    increaseBounceIv: 50,
    websocketUrl: `ws://${address}/ws`,
    eventStreamUrl: `http://${address}/sse`,
    longPollUrl: `http://${address}/listen`,
    disconnectUrl: `http://${address}/disconnect`,
    cancelUrl: `http://${address}/cancel`,
    connectUrl: '/connect',
    subscribeUrl: '/subscribe',
    ...more,
});

async function opening(given, isShared = false) {
    const browser = await Tabs.of(stage, given, isShared);
    closing.push(() => browser.leave());
    return browser;
}

const publish = (channel, text) => server.publish({ user: 'backend', channel, message: { text } });
const open = async (channel, more = {}) => {
    const message = { user: 'bot', channel, message: { text: '' }, status: 'open', ...more };
    const [{ uuid }] = await server.publish(message);
    return uuid;
};
const change = async (uuid, channel, item) => (await server.call('PATCH', '/message', [{ uuid, channel, ...item }]))[0];

/** Publishes numbers and appends them to a message until it is stopped; gives all of them. */
function publishing(channel, uuid) {
    const sent = [];
    let isOn = true;
    const done = (async () => {
        while (isOn) {
            const text = `number ${sent.length}`;
            sent.push(text);
            await publish(channel, text);
            const { taken } = await change(uuid, channel, { append: { text: `${text}.` } });
            assert.equal(taken, true);
            await pause(5);
        }
    })();
    return async () => {
        isOn = false;
        await done;
        return sent;
    };
}

/** The application's pages do not draw histories. */
const withoutHistory = () => {
    application.beforeConnected = async (answer) => {
        for (const channel of Object.values(answer.channels_info.channels)) channel.history = [];
    };
};

for (const transport of ['websocket', 'eventStream', 'poll']) {
    for (const resume of [true, false]) {
        const how = resume ? 'resumed' : 'connected anew';
        test(`nothing is lost or doubled, and a message grows, however often the line breaks: ${transport}, ${how}`, options, async () => {
            withoutHistory();
            const line = await Proxy.to(server.port);
            closing.push(() => line.close());
            const room = stage.room();
            const browser = await opening(settings(line.address, { channels: [room], transports: [transport], resume }));
            const tab = await browser.open();
            await until(() => tab.property('cursor'), 'it knows where it stands');
            const uuid = await open(room);
            const stop = publishing(room, uuid);
            for (let time = 0; time < 4; time += 1) {
                const { length } = await tab.get('told');
                await until(async () => (await tab.get('told')).length > length + 5, 'more arrive');
                line.cut();
                await until(async () => (await tab.property('state')) === 'reconnecting', 'it notices');
                line.mend();
                await tab.opens();
            }
            const sent = await stop();
            await change(uuid, room, { status: 'done' });
            await publish(room, 'the end');
            await tab.hears('the end');
            const texts = (await tab.get('told')).filter((text) => text && /^number|^the end|^gap/.test(text));
            assert.deepEqual(texts, [...sent, 'the end']);
            const view = await tab.page.evaluate((uuid) => window.view.get(uuid), uuid);
            assert.equal(view.message.text, sent.map((text) => `${text}.`).join(''));
            assert.deepEqual([view.status, view.rev, view.incomplete], ['done', sent.length + 1, undefined]);
            assert.equal((await tab.get('connects')).length > 1, !resume);
        });
    }
}

test('the history of a new answer is ahead of the stream: the message grows on from the cursor', options, async () => {
    const line = await Proxy.to(server.port);
    closing.push(() => line.close());
    const room = stage.room();
    const browser = await opening(settings(line.address, { channels: [room], resume: false }));
    const tab = await browser.open();
    const uuid = await open(room);
    const stop = publishing(room, uuid);
    // What grows meanwhile is in the answer, and not yet in the view.
    application.beforeConnected = () => new Promise((resolve) => setTimeout(resolve, 50));
    for (let time = 0; time < 5; time += 1) {
        const { length } = await tab.get('connects');
        line.cut();
        line.mend();
        await until(async () => (await tab.get('connects')).length > length, 'a new connection');
        await tab.opens();
    }
    const sent = await stop();
    await change(uuid, room, { status: 'done' });
    await until(() => tab.page.evaluate((uuid) => window.view.get(uuid)?.status === 'done', uuid), 'it is done');
    const view = await tab.page.evaluate((uuid) => window.view.get(uuid), uuid);
    assert.equal(view.message.text, sent.map((text) => `${text}.`).join(''));
    assert.equal(view.incomplete, undefined);
    const viewed = (await tab.viewed()).filter((text) => text.startsWith('number') && !text.includes('.'));
    assert.deepEqual(viewed.sort(), [...sent].sort(), 'each message once');
});

test('lists and pointers grow as at the server', options, async () => {
    const room = stage.room();
    const browser = await opening(settings(server.address, { channels: [room] }));
    const tab = await browser.open();
    const uuid = await open(room, { message: { parts: [{ type: 'text', text: 'a' }] } });
    for (const append of [{ '/parts/0/text': 'b' }, { parts: [{ type: 'tool', text: '' }] }, { '/parts/1/text': 'c', '/parts/1/id': 'x' }, { '/parts/2': 'end' }]) {
        assert.equal((await change(uuid, room, { append })).taken, true);
    }
    await change(uuid, room, { status: 'failed' });
    await until(() => tab.page.evaluate((uuid) => window.view.get(uuid)?.status === 'failed', uuid), 'it has failed');
    const { message } = await tab.page.evaluate((uuid) => window.view.get(uuid), uuid);
    assert.deepEqual(message, { parts: [{ type: 'text', text: 'ab' }, { type: 'tool', text: 'c', id: 'x' }, 'end'] });
    const { channels } = await server.call('POST', '/info', { info: { channels: [room], include_history: true } });
    assert.deepEqual(channels[room].history.at(-1).message, message);
});

test('the user interrupts a message, if its sender allows it', options, async () => {
    const room = stage.room();
    const browser = await opening(settings(server.address, { channels: [room] }));
    const tab = await browser.open();
    const [mine, other] = [await open(room, { cancel_by: ['ann'] }), await open(room, { cancel_by: ['bob'] })];
    const cancel = (uuid) => tab.page.evaluate((uuid) => window.connection.cancel(uuid).catch(({ status }) => status), uuid);
    const answer = await cancel(mine);
    assert.deepEqual([answer.uuid, answer.status], [mine, 'cancelled']);
    assert.equal(await cancel(other), 403);
    await until(() => tab.page.evaluate((uuid) => window.view.get(uuid)?.status === 'cancelled', mine), 'the page sees it');
    assert.equal((await change(mine, room, { append: { text: 'more' } })).taken, false);
});

test('a server that starts anew: a gap, and the page goes on', options, async () => {
    const room = stage.room();
    const browser = await opening(settings(server.address, { channels: [room] }));
    const tab = await browser.open();
    await publish(room, 'before');
    await tab.hears('before');
    const cursor = await tab.property('cursor');
    await server.stop();
    await server.start();
    await until(async () => (await tab.get('connects')).length === 2, 'a new connection');
    await tab.opens();
    await publish(room, 'after');
    await tab.hears('after');
    const told = await tab.get('told');
    assert.ok(told.includes('gap'), String(told));
    assert.notEqual((await tab.property('cursor')).split('-')[0], cursor.split('-')[0], 'another epoch');
});

test('websockets do not get through: an event stream; the next page begins with it', options, async () => {
    const bad = await HttpProxy.to(server);
    bad.mode = 'refuse';
    closing.push(() => bad.close());
    const room = stage.room();
    const browser = await opening(settings(bad.address, { channels: [room] }));
    await browser.context.addInitScript(() => {
        window.opened = 0;
        window.WebSocket = class extends window.WebSocket {
            constructor(...given) {
                super(...given);
                window.opened += 1;
            }
        };
    });
    const asked = [];
    browser.context.on('request', (request) => asked.push(new URL(request.url()).pathname));
    const tab = await browser.open();
    await publish(room, 'by stream');
    await tab.hears('by stream');
    assert.equal(await tab.get('opened'), 1);
    assert.deepEqual(asked.filter((path) => /sse|listen/.test(path)), ['/sse']);
    const next = await browser.open();
    assert.equal(await next.get('opened'), 0, 'it was remembered');
    await publish(room, 'to both');
    await browser.all((one) => one.hears('to both'));
    // Back to the websocket, without a loss.
    bad.mode = 'pass';
    const stop = publishing(room, await open(room));
    await until(() => tab.page.evaluate(() => window.opened > 2), 'it is tried', 30_000);
    await until(async () => stage.server && (await tab.property('websocket')) !== null, 'a websocket', 30_000);
    const sent = await stop();
    await publish(room, 'the end');
    await tab.hears('the end');
    const texts = (await tab.get('told')).filter((text) => /^number|^by|^to|^the/.test(text));
    assert.deepEqual(texts, ['by stream', 'to both', ...sent, 'the end']);
    assert.equal((await tab.get('connects')).length, 1);
});

test('seven tabs, one connection: the leader is closed in a stream of numbers', options, async () => {
    withoutHistory();
    const room = stage.room();
    const browser = await opening(settings(server.address, { channels: [room] }), true);
    for (let number = 0; number < 7; number += 1) await browser.open();
    const connections = async () => {
        const { channels } = await server.call('POST', '/info', { info: { channels: [room] } });
        return channels[room].total_connections;
    };
    assert.equal(await connections(), 1);
    const uuid = await open(room);
    const stop = publishing(room, uuid);
    for (const how of ['close', 'crash', 'close']) {
        const last = await browser.leader();
        const { length } = await last.get('told');
        await until(async () => (await last.get('told')).length > length + 5, 'more arrive');
        await browser.lose(last, how);
        await browser.leader();
        await browser.all((tab) => tab.opens());
    }
    const sent = await stop();
    await change(uuid, room, { status: 'done' });
    await publish(room, 'the end');
    await browser.all((tab) => tab.hears('the end'));
    for (const tab of browser.tabs) {
        const texts = (await tab.get('told')).filter((text) => /^number|^the end|^gap/.test(text));
        assert.deepEqual(texts, [...sent, 'the end']);
        const view = await tab.page.evaluate((uuid) => window.view.get(uuid), uuid);
        assert.deepEqual([view.message.text, view.status], [sent.map((text) => `${text}.`).join(''), 'done']);
    }
    await until(async () => (await connections()) === 1, 'the old ones are gone', 30_000);
});
