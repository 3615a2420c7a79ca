// Networks that fail our client: silence, proxies that break websockets, being offline.
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { Guest } from '../stage/guest.mjs';
import { HttpProxy } from '../stage/http_proxy.mjs';
import { Proxy } from '../stage/proxy.mjs';
import { setStage } from '../stage/stage.mjs';
import { until } from '../stage/until.mjs';

// Fast heartbeats, so that silence is soon noticed.
const stage = await setStage({ settings: { heartbeat_interval: 1, wake_connections_after: 1 } });
const { server } = stage;
const closing = [];
afterEach(async () => {
    for (const close of closing.splice(0)) await close();
});
const options = { timeout: 90_000 };

async function guest() {
    const ann = await Guest.open(stage);
    closing.push(() => ann.leave({ brokenNetwork: true }));
    return ann;
}

async function proxy(mode = 'pass') {
    const made = await HttpProxy.to(server);
    made.mode = mode;
    closing.push(() => made.close());
    return made;
}

const publish = (channel, text) => server.publish({ user: 'backend', channel, message: { text } });

/** The server's heartbeats were heard, so that the page knows how often they come. */
const knowsTheBeat = async (ann) => {
    const { length } = await ann.notes();
    for (let beat = 0, after = length; beat < 2; beat += 1) {
        await ann.hears('listenMessage', { after, where: (frames) => frames.length === 0 });
        after = await ann.mark();
    }
};

test('a proxy refuses websockets: long polling, and back when it has learned', options, async () => {
    const ann = await guest();
    const bad = await proxy('refuse');
    const room = stage.room();
    await ann.connect(bad.address, { channels: [room] });
    assert.equal(await ann.sockets(), 0);
    await publish(room, 'by poll');
    await ann.seesText('by poll');
    assert.equal(await ann.property('noWebsocket'), false, 'the setting is the page\'s');

    bad.mode = 'pass';
    const mark = await ann.mark();
    // Published all the time while it changes over.
    const texts = [];
    const publishing = { on: true };
    const publisher = (async () => {
        while (publishing.on) {
            texts.push(`number ${texts.length}`);
            await publish(room, texts.at(-1));
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    })();
    try {
        const open = () => ann.page.evaluate(() => window.connection.websocket?.readyState === 1);
        await until(open, 'the websocket opens', 30_000);
        await ann.hears('listenOpened', { after: mark });
    } finally {
        publishing.on = false;
        await publisher;
    }
    await publish(room, 'by websocket');
    await ann.seesText('by websocket');
    assert.deepEqual(await ann.texts(), ['by poll', ...texts, 'by websocket']);
    const names = await ann.names(mark);
    assert.ok(!names.includes('connect') && !names.includes('listenError'), names.join());
});

test('proxies that break websockets in other ways', options, async () => {
    await Promise.all(
        ['cut', 'hang', 'swallow'].map(async (mode) => {
            const ann = await guest();
            const bad = await proxy(mode);
            const room = stage.room();
            await ann.connect(bad.address, { channels: [room], username: mode });
            // Where it was cut at once, "opened" was told of it too.
            await until(async () => (await ann.sockets()) === 0, `${mode}: no websocket is left`, 40_000);
            await until(() => ann.property('connected'), `${mode}: connected`, 40_000);
            await publish(room, 'by poll');
            await ann.seesText('by poll', 40_000);
            assert.deepEqual(await ann.texts(), ['by poll'], mode);
        }),
    );
});

test('a websocket that falls silent is given up; one that opens mute leads to polling', options, async () => {
    const ann = await guest();
    const bad = await proxy();
    const room = stage.room();
    const id = await ann.connect(bad.address, { channels: [room] });
    await knowsTheBeat(ann);

    let mark = await ann.mark();
    bad.freeze();
    await publish(room, 'missed');
    const { code } = await ann.hears('listenClose', { after: mark });
    assert.equal(code, 1006);
    await ann.hears('error', { after: mark });
    // What went into the silent line is in the history of a new connection.
    const { data } = await ann.hears('connect', { after: mark });
    assert.notEqual(data.conn_id, id);
    const { history } = data.channels_info.channels[room];
    assert.deepEqual(history.map(({ message }) => message.text), ['missed']);
    await ann.hears('listenOpened', { after: mark });
    await publish(room, 'afterwards');
    await ann.seesText('afterwards');

    mark = await ann.mark();
    bad.mode = 'mute';
    bad.breakNear();
    const polls = () => ann.page.evaluate(() => window.connection.connected && window.sockets() === 0);
    await until(polls, 'polls in place of the mute websocket', 40_000);
    await publish(room, 'by poll');
    await ann.seesText('by poll');
    assert.deepEqual(await ann.texts(), ['afterwards', 'by poll']);
});

test('a broken websocket is resumed: the same connection, and no second connect', options, async () => {
    const ann = await guest();
    const network = await proxy();
    const room = stage.room();
    const id = await ann.connect(network.address, { channels: [room] });
    await publish(room, 'before');
    await ann.seesText('before');
    for (const text of ['once', 'twice']) {
        const mark = await ann.mark();
        network.breakNear();
        await ann.hears('listenClose', { after: mark });
        await ann.hears('listenOpened', { after: mark });
        await publish(room, text);
        await ann.seesText(text);
        const names = await ann.names(mark);
        assert.ok(!names.includes('connect'), names.join());
    }
    assert.equal(await ann.property('connectionId'), id);
    assert.deepEqual(await ann.texts(), ['before', 'once', 'twice']);
});

test('a broken poll is resumed: what was missed is caught up, once and in order', options, async () => {
    const ann = await guest();
    const network = await Proxy.to(server.port);
    closing.push(() => network.close());
    const room = stage.room();
    const id = await ann.connect(network.address, { channels: [room], noWebsocket: true });
    const mark = await ann.mark();
    network.cut();
    await ann.hears('listenError', { after: mark });
    const texts = Array.from({ length: 20 }, (_, number) => `number ${number}`);
    for (const text of texts) await publish(room, text);
    network.mend();
    await ann.seesText(texts.at(-1));
    await publish(room, 'afterwards');
    await ann.seesText('afterwards');
    assert.deepEqual(await ann.texts(), [...texts, 'afterwards']);
    assert.equal(await ann.property('connectionId'), id);
    assert.ok(!(await ann.names(mark)).includes('connect'));
});

for (const noWebsocket of [false, true]) {
    for (const resume of [false, true]) {
        const how = `${noWebsocket ? 'poll' : 'websocket'}, ${resume ? 'resumed' : 'connected anew'}`;
        test(`a page shows each message once and in order, however often the line breaks: ${how}`, options, async () => {
            const ann = await guest();
            const network = await Proxy.to(server.port);
            closing.push(() => network.close());
            const room = stage.room();
            await ann.page.evaluate(([settings, room]) => {
                const connection = window.make(settings);
                connection.addEventListener('connect', ({ detail }) => {
                    const { history } = detail.data.channels_info.channels[room];
                    window.shown = history.map(({ message }) => message.text);
                });
                connection.addEventListener('listenMessage', ({ detail }) => {
                    for (const { type, message } of detail) if (type === 'message') window.shown.push(message.text);
                });
                connection.connect();
            }, [ann.settings(network.address, { channels: [room], noWebsocket, resume }), room]);
            await ann.hears('listenOpened');
            const shown = () => ann.page.evaluate(() => window.shown);
            const onWebsocket = () => ann.page.evaluate(() => window.connection.websocket?.readyState === 1);
            const texts = [];
            const say = async () => {
                texts.push(`number ${texts.length}`);
                await publish(room, texts.at(-1));
            };
            // No more than the history holds.
            for (let cut = 0; cut < 4; cut += 1) {
                await say();
                await until(async () => (await shown()).includes(texts.at(-1)), 'it is shown');
                const mark = await ann.mark();
                // A websocket that found the network gone, and a poll that found it back: then the page polls
                // until the next probe.
                const polls = noWebsocket || !(await onWebsocket());
                network.cut();
                await ann.hears(polls ? 'listenError' : 'listenClose', { after: mark });
                await say();
                const mended = await ann.mark();
                network.mend();
                await until(async () => (await shown()).includes(texts.at(-1)), `the missed one is shown (cut ${cut})`);
                // It may be shown out of the history, before the socket is open that is cut next.
                if (!noWebsocket) await ann.hears('listenOpened', { after: mended });
                assert.deepEqual(await shown(), texts);
            }
        });
    }
}

for (const noWebsocket of [false, true]) {
    const transport = noWebsocket ? 'poll' : 'websocket';
    test(`offline and online again, over ${transport}: back at once`, options, async () => {
        const ann = await guest();
        const room = stage.room();
        // Without the browser's word the page would wait for minutes.
        const settings = { channels: [room], noWebsocket, increaseBounceIv: 600_000 };
        const network = await proxy();
        await ann.connect(network.address, settings);
        await knowsTheBeat(ann);
        const mark = await ann.mark();
        await ann.context.setOffline(true);
        // The browser's switch leaves websockets alone.
        network.freeze();
        await until(async () => !(await ann.property('connected')), 'the page knows that it is offline');
        await publish(room, 'missed');
        await ann.context.setOffline(false);
        const { data } = await ann.hears('connect', { after: mark });
        const { history } = data.channels_info.channels[room];
        assert.deepEqual(history.map(({ message }) => message.text), ['missed']);
        await until(() => ann.property('connected'), 'connected again');
        await publish(room, 'afterwards');
        await ann.seesText('afterwards');
        assert.deepEqual(await ann.texts(), ['afterwards']);
    });
}

test('never two websockets, whatever the page calls', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.connect(server.address, { channels: [room] });
    let mark = await ann.mark();
    await ann.page.evaluate(() => {
        const { connection } = window;
        connection.connect();
        connection.connect();
        connection.retryConnection();
        connection.retryConnection();
        window.dispatchEvent(new Event('online'));
        connection.openWebsocket();
        connection.openWebsocket();
    });
    await ann.hears('connect', { after: mark });
    await until(async () => (await ann.sockets()) === 1 && ann.property('connected'), 'one websocket');
    await publish(room, 'to all of them');
    await ann.seesText('to all of them');
    await publish(room, 'the end');
    await ann.seesText('the end');
    assert.deepEqual(await ann.texts(), ['to all of them', 'the end']);

    // An ended connection stays so: nothing on the way opens another.
    mark = await ann.mark();
    await ann.page.evaluate(() => {
        const { connection } = window;
        connection.connect();
        connection.disconnect();
    });
    await ann.hears('disconnect', { after: mark });
    assert.equal(await ann.sockets(), 0);
    assert.equal(await ann.property('connected'), false);
});
