// The promises of our client's methods, its state and its typed events.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Guest } from '../stage/guest.mjs';
import { Proxy } from '../stage/proxy.mjs';
import { setStage } from '../stage/stage.mjs';
import { until } from '../stage/until.mjs';

const stage = await setStage();
const { server } = stage;
const closing = [];
afterEach(async () => {
    for (const close of closing.splice(0)) await close();
});
const options = { timeout: 60_000 };

/** A guest on whose page unhandled rejections are counted. */
async function guest() {
    const ann = await Guest.open(stage);
    closing.push(() => ann.leave({ brokenNetwork: true }));
    await ann.page.evaluate(() => {
        window.unhandled = [];
        window.addEventListener('unhandledrejection', (event) => {
            event.preventDefault();
            window.unhandled.push(event.reason.message);
        });
    });
    return ann;
}

const settings = (ann, more) =>
    ann.settings(server.address, {
        unsubscribeUrl: '/unsubscribe',
        userStateUrl: '/user_state',
        messageEditUrl: '/message',
        messageDeleteUrl: '/message',
        ...more,
    });

const publish = (channel, text) => server.publish({ user: 'backend', channel, message: { text } });

test('every call resolves with the answer', options, async () => {
    const ann = await guest();
    const [room, hall] = [stage.room(), stage.room()];
    const answers = await ann.page.evaluate(async ([settings, room, hall]) => {
        const connection = window.make(settings);
        const { conn_id } = await connection.connect();
        const subscribed = await connection.subscribe([hall]);
        const unsubscribed = await connection.unsubscribe([hall]);
        const [sent] = await connection.publish({ user: 'ann', channel: room, message: { text: 'one' } });
        const [edited] = await connection.edit({ uuid: sent.uuid, channel: room, message: { text: 'two' } });
        const deleted = await connection.delete({ uuid: sent.uuid, channel: room });
        const state = await connection.updateUserState({ color: 'red' });
        const nothing = await connection.subscribe([]);
        return {
            named: conn_id === connection.connectionId,
            subscribed: subscribed.subscribed_to,
            unsubscribed: unsubscribed.unsubscribed_from,
            edited: edited.uuid === sent.uuid,
            deleted: Array.isArray(deleted),
            state: state.user_state.color,
            nothing: nothing === undefined,
            disconnected: await connection.disconnect(),
        };
    }, [settings(ann, { channels: [room] }), room, hall]);
    assert.deepEqual(answers, {
        named: true,
        subscribed: [hall],
        unsubscribed: [hall],
        edited: true,
        deleted: true,
        state: 'red',
        nothing: true,
        disconnected: true,
    });
});

test('a call that fails rejects with a typed error; a page that uses callbacks alone is not disturbed', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.connect(server.address, settings(ann, { channels: [room] }));
    const rejected = await ann.page.evaluate(async () => {
        const { connection, client } = window;
        connection.messageUrl = '/nowhere';
        connection.subscribeUrl = 'http://127.0.0.1:9/';
        const caught = await Promise.all([connection.publish({}), connection.subscribe(['a'])].map((promise) => promise.catch((error) => error)));
        return caught.map((error) => ({
            typed: error instanceof client.ChannelStreamError,
            source: error.source,
            status: error.status,
            request: error.request.status,
            text: typeof error.data,
        }));
    });
    assert.deepEqual(rejected, [
        { typed: true, source: 'messageError', status: 502, request: 502, text: 'string' },
        { typed: true, source: 'subscribeError', status: 0, request: 0, text: 'string' },
    ]);

    // The same again, and whatever else can fail, without a look at the promises.
    const mark = await ann.mark();
    const told = await ann.page.evaluate(async () => {
        const { connection } = window;
        const told = [];
        for (const name of ['message', 'messageEdit', 'messageDelete', 'subscribe', 'unsubscribe', 'setUserState', 'connect']) {
            connection[`${name}ErrorCallback`] = (request, data) => told.push([name, request.status, typeof data]);
        }
        for (const name of ['messageEdit', 'messageDelete', 'subscribe', 'unsubscribe', 'userState']) connection[`${name}Url`] = '/nowhere';
        connection.message({ text: 'one' });
        connection.edit({ text: 'one' });
        connection.delete({ text: 'one' });
        connection.subscribe(['a']);
        connection.unsubscribe(['a']);
        connection.updateUserState({});
        while (told.length < 6) await new Promise((done) => setTimeout(done, 20));
        connection.connectUrl = '/nowhere';
        connection.shouldReconnect = false;
        connection.connect();
        connection.subscribe(['waits']);
        while (told.length < 7) await new Promise((done) => setTimeout(done, 20));
        connection.closeConnection();
        connection.connect();
        connection.closeConnection();
        await new Promise((done) => setTimeout(done, 200));
        return told;
    });
    const names = ['connect', 'message', 'messageDelete', 'messageEdit', 'setUserState', 'subscribe', 'unsubscribe'];
    assert.deepEqual(told.sort(), names.map((name) => [name, 502, 'string']));
    assert.equal((await ann.names(mark)).filter((name) => name === 'error').length, 7);
    assert.deepEqual(await ann.page.evaluate(() => window.unhandled), []);

    // A mistake of the page is no failed request, and is not hidden.
    await ann.page.evaluate(async () => {
        window.connection.messageUrl = '';
        window.connection.message({});
        await new Promise((done) => setTimeout(done, 200));
    });
    assert.deepEqual(await ann.page.evaluate(() => window.unhandled), ['messageUrl is not set']);
});

test('connect() waits through failures, and rejects where it is given up', options, async () => {
    const ann = await guest();
    // By channel: the request of a connection that was closed may come late.
    const answers = new Map();
    await ann.page.route('**/connect', (route) => {
        const [channel] = route.request().postDataJSON().channels;
        const status = answers.get(channel)?.shift();
        return status ? route.fulfill({ status, contentType: 'application/json', body: '{"error": "no"}' }) : route.continue();
    });
    const connect = (statuses, act = () => {}) => {
        const room = stage.room();
        answers.set(room, statuses);
        return ann.page.evaluate(
            ([settings, act]) => {
                window.connection?.close();
                const connecting = window.make(settings).connect();
                new Function(act)();
                return connecting.then(
                    ({ username }) => username,
                    ({ status, message, data }) => ({ status, message, data, state: window.connection.state }),
                );
            },
            [settings(ann, { channels: [room], increaseBounceIv: 20 }), `(${act})()`],
        );
    };
    assert.equal(await connect([503, 503]), 'ann');
    const refusal = { status: 403, message: 'connect: status 403', data: { error: 'no' }, state: 'closed' };
    assert.deepEqual(await connect([403]), refusal);
    const closed = { status: 0, message: 'the connection was closed', data: undefined, state: 'closed' };
    assert.deepEqual(await connect([], () => window.connection.close()), closed);
    const lost = { status: 503, message: 'connect: status 503', data: { error: 'no' }, state: 'closed' };
    assert.deepEqual(await connect([503], () => (window.connection.shouldReconnect = false)), lost);
    // A second call takes over from the first one; both learn what comes of it.
    assert.equal(await connect([], () => void window.connection.connect()), 'ann');
    // A call that waits for the connection learns that none comes.
    const waiting = await ann.page.evaluate((settings) => {
        window.connection.close();
        const connection = window.make(settings);
        const waiting = connection.subscribe(['a']).catch(({ message }) => message);
        connection.close();
        return waiting;
    }, settings(ann));
    assert.equal(waiting, 'the connection was closed');
    ann.faults = ann.faults.filter((text) => !/status of 503/.test(text));
});

for (const noWebsocket of [false, true]) {
    test(`one state, and an event when it changes: ${noWebsocket ? 'poll' : 'websocket'}`, options, async () => {
        const ann = await guest();
        const network = await Proxy.to(server.port);
        closing.push(() => network.close());
        await ann.page.evaluate((settings) => {
            const connection = window.make(settings);
            window.states = [connection.state];
            window.wrong = [];
            connection.on('state', ({ state, previous }) => {
                if (previous !== window.states.at(-1) || state !== connection.state) window.wrong.push(state);
                if (connection.connected !== (state === 'open')) window.wrong.push(`connected in ${state}`);
                window.states.push(state);
            });
            connection.connect();
        }, ann.settings(network.address, { channels: [stage.room()], noWebsocket }));
        const reaches = (state) =>
            until(async () => (await ann.property('state')) === state, async () => `${state}; was ${await ann.page.evaluate(() => window.states)}`);
        await reaches('open');
        network.cut();
        await reaches('reconnecting');
        network.mend();
        await reaches('open');
        await ann.page.evaluate(() => window.connection.connect());
        await reaches('open');
        await ann.page.evaluate(() => window.connection.disconnect());
        await reaches('closed');
        assert.deepEqual(await ann.page.evaluate(() => window.states), [
            'idle', 'connecting', 'open', 'reconnecting', 'open', 'connecting', 'open', 'closed',
        ]);
        assert.deepEqual(await ann.page.evaluate(() => window.wrong), []);
    });
}

test('on() calls handlers by the type of what comes, until they are removed', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.page.evaluate((settings) => {
        const connection = window.make(settings);
        window.seen = [];
        const note = (name, what) => connection.on(name, (detail) => window.seen.push(`${name} ${what(detail)}`));
        note('connect', ({ username }) => username);
        note('channels', (channels) => channels.length);
        const remove = note('message', ({ message }) => message.text);
        note('event', ({ type }) => type);
        note('message:delete', ({ uuid }) => typeof uuid);
        note('presence', ({ user }) => user);
        connection.on('event', ({ message }) => {
            if (message?.text === 'two') remove();
        });
        connection.connect();
    }, settings(ann, { channels: [room] }));
    await ann.hears('listenOpened');
    const seen = () => ann.page.evaluate(() => window.seen.filter((note) => !/presence/.test(note)));
    const [{ uuid }] = await publish(room, 'one');
    await server.call('DELETE', '/message', [{ uuid, channel: room }]);
    await publish(room, 'two');
    await publish(room, 'three');
    await until(async () => (await seen()).length >= 8, async () => (await seen()).join());
    assert.deepEqual(await seen(), [
        'channels 1', 'connect ann',
        'event message', 'message one',
        'event message:delete', 'message:delete string',
        'event message',
        'event message',
    ]);
});

test('fetch, WebSocket, headers and credentials are options', options, async () => {
    const ann = await guest();
    const room = stage.room();
    const seen = await ann.page.evaluate(async (settings) => {
        const seen = { requests: [], sockets: 0 };
        class Counted extends WebSocket {
            constructor(url) {
                super(url);
                seen.sockets += 1;
            }
        }
        const fetch = (url, init) => {
            const { method, headers, credentials } = init;
            const { pathname } = new URL(url, location.href);
            seen.requests.push(`${method} ${pathname} ${credentials} ${headers.get('x-token')} ${headers.get('content-type')}`);
            return window.fetch(url, init);
        };
        const connection = window.make({ ...settings, fetch, WebSocket: Counted, credentials: 'include', headers: { 'x-token': 'abc' } });
        const open = new Promise((done) => connection.on('state', ({ state }) => state === 'open' && done()));
        await connection.connect();
        await open;
        connection.noWebsocket = true;
        await connection.connect();
        await new Promise((done) => connection.addEventListener('listenOpened', done, { once: true }));
        await connection.disconnect();
        return seen;
    }, settings(ann, { channels: [room] }));
    assert.deepEqual(seen, {
        sockets: 1,
        requests: [
            'POST /connect include abc application/json',
            'POST /connect include abc application/json',
            'GET /listen same-origin null null',
            // The push server needs neither.
            'POST /disconnect same-origin null application/json',
        ],
    });
});
