// What our client makes of its application: refusals, answers that come late, URLs that are not set,
// calls that come before the connection; and when an event was sent.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Guest } from '../stage/guest.mjs';
import { setStage } from '../stage/stage.mjs';
import { until } from '../stage/until.mjs';

const stage = await setStage();
const { server } = stage;
const guests = [];
afterEach(async () => {
    for (const ann of guests.splice(0)) await ann.leave({ brokenNetwork: true });
});
const options = { timeout: 60_000 };

/** A guest whose application answers to connect as `answer` says; counts how often it was asked. */
async function guest(answer) {
    const ann = await Guest.open(stage, undefined, { timezoneId: 'America/New_York' });
    guests.push(ann);
    ann.asked = 0;
    await ann.page.route('**/connect', async (route) => {
        ann.asked += 1;
        await (answer?.(route, ann.asked) ?? route.continue());
    });
    return ann;
}

const make = (ann, more) =>
    ann.page.evaluate((settings) => void window.make(settings), ann.settings(server.address, more));

const listeners = async (room) => {
    const info = await server.call('POST', '/info', { info: { channels: [room] } });
    return info.channels[room]?.total_connections ?? 0;
};

for (const status of [401, 403, 404, 422]) {
    test(`an application that answers ${status} is not asked again until connect()`, options, async () => {
        const refuse = { status, contentType: 'application/json', body: '{"error": "not you"}' };
        const ann = await guest((route, asked) => (asked === 1 ? route.fulfill(refuse) : undefined));
        const room = stage.room();
        await make(ann, { channels: [room], increaseBounceIv: 20 });
        await ann.page.evaluate(() => void window.connection.connect());
        const { status: told, data } = await ann.hears('refused');
        assert.deepEqual([told, data], [status, { error: 'not you' }]);
        assert.deepEqual(await ann.names(0), ['connectError', 'error', 'refused']);
        // What brings others back at once brings nothing here, and no timer is left.
        await ann.page.evaluate(async () => {
            dispatchEvent(new Event('online'));
            await new Promise((done) => setTimeout(done, 500));
        });
        assert.equal(ann.asked, 1);
        await ann.page.evaluate(() => void window.connection.connect());
        await ann.hears('listenOpened');
        assert.equal(ann.asked, 2);
    });
}

test('statuses that ask for patience, and failures, are retried', options, async () => {
    const passing = [408, 425, 429, 500, 503];
    const ann = await guest((route, asked) => passing[asked - 1] && route.fulfill({ status: passing[asked - 1], body: '{}' }));
    await make(ann, { channels: [stage.room()], increaseBounceIv: 20 });
    await ann.page.evaluate(() => void window.connection.connect());
    await ann.hears('listenOpened');
    assert.equal(ann.asked, passing.length + 1);
    assert.equal((await ann.names(0)).includes('refused'), false);
    // The browser logs them all.
    ann.faults = ann.faults.filter((text) => !/status of (408|425|429|500|503)/.test(text));
});

for (const [name, end] of [
    ['disconnect()', () => void window.connection.disconnect()],
    ['a signal', () => window.controller.abort()],
]) {
    test(`${name} while connect() is under way disconnects what it brings`, options, async () => {
        let let_go;
        const held = new Promise((resolve) => (let_go = resolve));
        const ann = await guest((route) => held.then(() => route.continue()));
        const room = stage.room();
        await ann.page.evaluate((settings) => {
            window.controller = new AbortController();
            window.make({ ...settings, signal: window.controller.signal }).connect();
        }, ann.settings(server.address, { channels: [room] }));
        await until(() => ann.asked === 1, 'the application is asked');
        await ann.page.evaluate(end);
        await ann.hears('connectionClosed');
        const answered = ann.page.waitForResponse('**/connect');
        let_go();
        const { conn_id } = await (await answered).json();
        await ann.hears('disconnect');
        // The server would keep it for 15 s otherwise.
        await until(async () => (await listeners(room)) === 0, `${conn_id} is disconnected`, 5_000);
        const names = await ann.names(0);
        assert.deepEqual(names.filter((one) => ['connect', 'listenOpened'].includes(one)), []);
    });
}

test('what has no URL rejects, and says which is not set', options, async () => {
    const ann = await guest();
    const thrown = await ann.page.evaluate(async () => {
        const requests = [];
        const fetch = (url, init) => {
            requests.push(url);
            return window.fetch(url, init);
        };
        const connection = new window.client.ChannelStreamConnection({ fetch });
        const calls = [
            () => connection.connect(),
            () => connection.subscribe(['a']),
            () => connection.unsubscribe(['a']),
            () => connection.updateUserState({}),
            () => connection.message({}),
            () => connection.edit({}),
            () => connection.delete({}),
            () => connection.disconnect(),
        ];
        const messages = [];
        for (const call of calls) messages.push(await call().then(() => 'nothing thrown', (error) => error.message));
        // A mutator may give it.
        connection.addMutator('message', (request) => (request.url = '/nowhere'));
        await connection.message({}).catch(() => {});
        return { messages, requests };
    });
    const urls = ['connect', 'subscribe', 'unsubscribe', 'userState', 'message', 'messageEdit', 'messageDelete'];
    assert.deepEqual(thrown.messages, [...urls.map((url) => `${url}Url is not set`), 'nothing thrown']);
    assert.deepEqual(thrown.requests, ['/nowhere']);
});

test('what is about a connection waits for it', options, async () => {
    const ann = await guest();
    const [first, second, third] = [stage.room(), stage.room(), stage.room()];
    await make(ann, { channels: [first], unsubscribeUrl: '/unsubscribe', userStateUrl: '/user_state' });
    await ann.page.evaluate(([first, second]) => {
        window.connection.subscribe([second]);
        window.connection.unsubscribe([first]);
        window.connection.updateUserState({ color: 'red' });
        window.connection.connect();
    }, [first, second]);
    await ann.hears('listenOpened');
    const channels = async () => (await ann.property('channels')).join();
    await until(async () => (await channels()) === second, async () => `listens on ${await channels()}`);
    await until(async () => {
        const info = await server.call('POST', '/info', { info: { channels: [second], return_public_state: true } });
        return info.users.find(({ user }) => user === 'ann')?.state.color === 'red';
    }, 'the state is set');
    // What was closed does not ask later.
    const after = await ann.page.evaluate((third) => {
        const mark = window.log.length;
        window.connection.disconnect();
        window.connection.connect();
        window.connection.subscribe([third]);
        window.connection.closeConnection();
        window.connection.connect();
        return mark;
    }, third);
    await ann.hears('listenOpened', { after });
    assert.equal(await listeners(third), 0);
});

test('the channels are what the last call made them, however late an answer is', options, async () => {
    const ann = await guest();
    const [first, second] = [stage.room(), stage.room()];
    let overtaken;
    const overtakes = new Promise((resolve) => (overtaken = resolve));
    await ann.page.route('**/subscribe', async (route) => {
        const response = await route.fetch();
        // Whoever does not wait for this answer is answered before it.
        await Promise.race([overtakes, new Promise((done) => setTimeout(done, 500))]);
        await route.fulfill({ response });
    });
    await ann.page.route('**/unsubscribe', async (route) => {
        await route.fulfill({ response: await route.fetch() });
        overtaken();
    });
    await make(ann, { channels: [first], unsubscribeUrl: '/unsubscribe' });
    const channels = await ann.page.evaluate(async ([first, second]) => {
        await window.connection.connect();
        await Promise.all([window.connection.subscribe([second]), window.connection.unsubscribe([first])]);
        return window.connection.channels;
    }, [first, second]);
    assert.deepEqual(channels, [second]);
    assert.deepEqual([await listeners(first), await listeners(second)], [0, 1]);
});

test('an event tells when it was sent, in any time zone, and is otherwise as it came', options, async () => {
    const ann = await guest();
    const room = stage.room();
    await ann.connect(server.address, { channels: [room] });
    const before = Date.now();
    await ann.page.evaluate(() => {
        window.connection.addEventListener('listenMessage', ({ detail }) => {
            for (const frame of detail) {
                if (frame.type !== 'message') continue;
                const { sentAt } = frame;
                window.seen = { sentAt: sentAt?.getTime(), isDate: sentAt instanceof Date, keys: Object.keys(frame), json: JSON.stringify(frame) };
            }
        });
    });
    await server.publish({ user: 'backend', channel: room, message: { text: 'now' } });
    await until(() => ann.page.evaluate(() => window.seen), 'the event comes');
    const seen = await ann.page.evaluate(() => window.seen);
    assert.equal(seen.isDate, true);
    assert.ok(seen.sentAt >= before - 1000 && seen.sentAt <= Date.now() + 1000, `${seen.sentAt} beside ${before}`);
    assert.deepEqual(seen.keys, Object.keys(JSON.parse(seen.json)));
    assert.equal(seen.keys.includes('sentAt'), false);

    // In the history of an answer, too, and from times that name a zone.
    await server.publish({ user: 'backend', channel: room, message: {}, timestamp: '2024-05-06T07:08:09.123456+02:00' });
    const told = await ann.page.evaluate(() => {
        const { parseTimestamp } = window.client;
        return [
            '2024-05-06T07:08:09.123456', '2024-05-06T07:08:09', '2024-05-06T07:08:09.5',
            '2024-05-06T07:08:09.123456Z', '2024-05-06T07:08:09.123456+02:00',
        ].map((text) => parseTimestamp(text).toISOString());
    });
    assert.deepEqual(told, [
        '2024-05-06T07:08:09.123Z', '2024-05-06T07:08:09.000Z', '2024-05-06T07:08:09.500Z',
        '2024-05-06T07:08:09.123Z', '2024-05-06T05:08:09.123Z',
    ]);
    const after = await ann.mark();
    await ann.page.evaluate(() => void window.connection.connect());
    await ann.hears('connect', { after });
    const history = await ann.page.evaluate((room) => new Promise((done) => {
        window.connection.addEventListener('connect', ({ detail }) => {
            done(detail.data.channels_info.channels[room].history.map(({ sentAt }) => sentAt.toISOString()));
        });
        window.connection.connect();
    }), room);
    assert.equal(history.at(-1), '2024-05-06T05:08:09.123Z');
});
