// What our client offers beside the callbacks: events, iteration, signals, workers, a classic script.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Guest } from '../stage/guest.mjs';
import { sign } from '../stage/server.mjs';
import { setStage } from '../stage/stage.mjs';
import { until } from '../stage/until.mjs';

const stage = await setStage();
const { server, application } = stage;
const guests = [];
afterEach(async () => {
    application.beforeConnected = async () => {};
    for (const ann of guests.splice(0)) await ann.leave({ brokenNetwork: true });
});
const options = { timeout: 60_000 };

async function guest() {
    const ann = await Guest.open(stage);
    guests.push(ann);
    return ann;
}

const publish = (channel, text) => server.publish({ user: 'backend', channel, message: { text } });

test('events beside the callbacks, in the same order', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.page.evaluate((settings) => {
        const connection = window.make(settings);
        window.called = [];
        for (const name of ['connect', 'channelsChanged', 'beforeListening', 'listenOpened']) {
            connection[`${name}Callback`] = function () {
                window.called.push([name, this === connection, window.log.length]);
            };
        }
        connection.connect();
    }, ann.settings(server.address, { channels: [room] }));
    await ann.hears('listenOpened');
    const order = ['channelsChanged', 'connect', 'beforeListening', 'listenOpened'];
    assert.deepEqual(await ann.names(0), order);
    // Each callback just before its event.
    const called = order.map((name, index) => [name, true, index]);
    assert.deepEqual(await ann.page.evaluate(() => window.called), called);
});

test('for await gives frame by frame, until the connection is closed', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.connect(server.address, { channels: [room] });
    await ann.page.evaluate(() => {
        window.taken = [];
        window.loops = 0;
        const take = async (few) => {
            for await (const frame of window.connection) {
                window.taken.push(frame.message.text);
                if (few) break;
            }
            window.loops += 1;
        };
        void take(false);
        void take(true);
    });
    const texts = ['one', 'two', 'three'];
    for (const text of texts) await publish(room, text);
    const taken = () => ann.page.evaluate(() => window.taken.join());
    await until(async () => (await taken()) === 'one,one,two,three', async () => `frames: ${await taken()}`);
    assert.equal(await ann.page.evaluate(() => window.loops), 1, 'one left, one waits');
    await ann.page.evaluate(() => window.connection.disconnect());
    await until(() => ann.page.evaluate(() => window.loops === 2), 'the loop ends');
});

test('an AbortSignal ends the connection for good', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.page.evaluate((settings) => {
        window.controller = new AbortController();
        const connection = window.make({ ...settings, signal: window.controller.signal });
        connection.connect();
        void (async () => {
            for await (const frame of connection) void frame;
            window.looped = true;
        })();
    }, ann.settings(server.address, { channels: [room] }));
    await ann.hears('listenOpened');
    const id = await ann.property('connectionId');
    await ann.page.evaluate(() => window.controller.abort());
    await ann.hears('connectionClosed');
    await until(() => ann.page.evaluate(() => window.looped), 'the loop ends');
    await until(async () => {
        const body = { conn_id: id, channels: [room] };
        return (await server.request('POST', '/subscribe', body, sign('/subscribe'))).status === 422;
    }, 'the server forgets the connection');
    const thrown = () => window.connection.connect().catch((error) => error.name);
    assert.equal(await ann.page.evaluate(thrown), 'AbortError');
    await ann.page.evaluate(() => window.connection.retryConnection());
    assert.equal(await ann.sockets(), 0);
});

test('in workers, as a module and as a classic script, over both transports', options, async () => {
    const ann = await guest();
    const room = stage.room();
    const at = `http://${server.address}/static/channelstream`;
    const body = `
        onmessage = ({ data }) => {
            const connection = new channelstream.ChannelStreamConnection(data);
            connection.addEventListener('listenOpened', () => postMessage('listens'));
            connection.addEventListener('listenMessage', ({ detail }) => detail.forEach((frame) => postMessage(frame.message.text)));
            connection.connect();
        };
        postMessage('ready');`;
    const headers = { 'content-security-policy': `default-src 'none'; script-src 'self' http://${server.address}; connect-src *` };
    const file = (path, body) => application.files.set(path, { type: 'text/javascript', body, headers });
    file('/module.js', `import * as channelstream from '${at}/index.js';${body}`);
    file('/classic.js', `importScripts('${at}/channelstream.global.js');${body}`);
    const workers = ['module', 'classic'].flatMap((type) => [false, true].map((noWebsocket) => ({ type, noWebsocket })));
    await ann.page.evaluate(([workers, settings]) => {
        window.heard = [];
        workers.forEach(({ type, noWebsocket }, index) => {
            const worker = new Worker(`/${type}.js`, { type });
            worker.onmessage = ({ data }) => {
                if (data === 'ready') worker.postMessage({ ...settings, noWebsocket, username: `${type} ${index}` });
                else window.heard.push(`${index} ${data}`);
            };
        });
    }, [workers, ann.settings(server.address, { channels: [room] })]);
    const heard = (text) => ann.page.evaluate((text) => window.heard.includes(text), text);
    for (const index of workers.keys()) await until(() => heard(`${index} listens`), `worker ${index} listens`);
    await publish(room, 'to workers');
    for (const index of workers.keys()) await until(() => heard(`${index} to workers`), `worker ${index} hears`);
});

test('as a classic script, with one global name', options, async () => {
    const ann = await guest();
    const before = await ann.page.evaluate(() => Object.keys(window).length);
    await ann.page.addScriptTag({ url: `http://${server.address}/static/channelstream/channelstream.global.js` });
    const found = await ann.page.evaluate(() => ({
        names: Object.keys(window).length,
        exported: Object.keys(window.channelstream).sort(),
        module: Object.keys(window.client).sort(),
        version: window.channelstream.ChannelStreamConnection.version,
    }));
    assert.equal(found.names, before + 1);
    const all = ['ChannelStreamConnection', 'ChannelStreamError', 'ChannelStreamSigner', 'SharedConnection', 'messages', 'parseTimestamp'];
    assert.deepEqual(found.exported, all);
    // Modules of their own.
    const apart = ['SharedConnection', 'messages'];
    assert.deepEqual(found.module, all.filter((name) => !apart.includes(name)));
    assert.match(found.version, /^\d+\.\d+\.\d+/);
});

test('errors reach the page', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.connect(server.address, { channels: [room] });
    // Of the page's own code: the connection goes on.
    await ann.page.evaluate(() => {
        window.connection.listenMessageCallback = () => {
            throw new Error('a mistake of the page');
        };
    });
    await publish(room, 'one');
    await until(() => ann.faults.length > 0, 'the page hears of its mistake');
    await publish(room, 'two');
    await ann.seesText('two');
    assert.ok(ann.faults.splice(0).every((text) => text.includes('a mistake of the page')));

    // Of the application: an answer that is none, then none at all.
    let mark = await ann.mark();
    await ann.page.evaluate(() => {
        window.connection.shouldReconnect = false;
        window.connection.connectUrl = '/elsewhere';
        window.connection.connect();
    });
    assert.equal((await ann.hears('connectError', { after: mark })).status, 200);
    assert.equal((await ann.hears('error', { after: mark })).source, 'connectError');
    mark = await ann.mark();
    await ann.page.evaluate(() => {
        window.connection.connectUrl = '/nothing';
        window.connection.connect();
    });
    assert.equal((await ann.hears('connectError', { after: mark })).status, 502);
    // Of the server.
    await ann.page.evaluate(() => {
        window.connection.connectionId = 'nonsense';
        window.connection.disconnect();
    });
    assert.equal((await ann.hears('disconnectError', { after: mark })).status, 422);
    const { message } = await ann.hears('error', { after: mark, where: ({ source }) => source === 'disconnectError' });
    assert.match(message, /422/);
});

test('mutators may set headers, and see an address that is right', options, async () => {
    const ann = await guest();
    const asked = [];
    ann.page.on('request', (request) => request.method() === 'POST' && asked.push(request));
    await ann.page.evaluate((settings) => {
        const connection = window.make(settings);
        for (const type of ['connect', 'subscribe', 'disconnect']) {
            connection.addMutator(type, ({ headers }) => headers.push({ name: 'Accept', value: `text/${type}` }));
        }
        connection.disconnectUrl += '?from=page';
        connection.connect();
    }, ann.settings(server.address, { channels: [stage.room()] }));
    await ann.hears('listenOpened');
    await ann.page.evaluate(() => window.connection.subscribe([]));
    await ann.page.evaluate(() => window.connection.disconnect());
    await ann.hears('disconnect');
    const accepts = asked.map((request) => request.headers().accept);
    assert.deepEqual(accepts, ['text/connect', 'text/disconnect'], 'no channels: nothing is asked');
    assert.match(asked[1].url(), /\?from=page&conn_id=[-\da-f]{36}$/);
});

test('what pages for the old client find is there', options, async () => {
    const ann = await guest();
    const kinds = ['connect', 'message', 'messageEdit', 'messageDelete', 'subscribe', 'unsubscribe', 'disconnect', 'cancel', 'userState'];
    const members = {
        debug: true,
        channels: ['a', 'b'],
        username: 'Anonymous',
        connectionId: null,
        websocket: null,
        ...Object.fromEntries(
            ['websocket', 'longPoll', 'connect', 'disconnect', 'subscribe', 'unsubscribe', 'userState', 'message', 'messageEdit', 'messageDelete']
                .map((name) => [`${name}Url`, '']),
        ),
        shouldReconnect: true,
        resume: false,
        heartbeats: true,
        increaseBounceIv: 2000,
        _currentBounceIv: 0,
        noWebsocket: false,
        connected: false,
        mutators: Object.fromEntries(kinds.map((kind) => [kind, []])),
    };
    const found = await ann.page.evaluate((members) => {
        const { ChannelStreamConnection } = window.client;
        class Own extends ChannelStreamConnection {
            connectCallback() {}
        }
        const connection = new Own();
        connection.channels = ['a', 'b'];
        const logged = [];
        const { log } = console;
        console.log = (...line) => logged.push(line);
        connection.disconnectCallback(1, 2);
        connection.debug = true;
        connection.disconnectCallback(1, 2);
        console.log = log;
        return {
            members: Object.fromEntries(members.map((name) => [name, connection[name]])),
            toSubscribe: connection.calculateSubscribe(['b', 'c', 'c']),
            toUnsubscribe: connection.calculateUnsubscribe(['b', 'c']),
            nothing: connection.calculateUnsubscribe(),
            logged,
        };
    }, Object.keys(members));
    assert.deepEqual(found.members, members);
    assert.deepEqual(found.toSubscribe, ['c', 'c']);
    assert.deepEqual(found.toUnsubscribe, ['b']);
    assert.deepEqual(found.nothing, []);
    assert.deepEqual(found.logged, [['disconnectCallback', 1, 2]]);
});
