// How the chat transport follows an answer: one event after the other, without a network.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChannelStreamConnection, ChannelstreamChatTransport } from '../stage/chat.mjs';
import { until } from '../stage/until.mjs';

/** A connection that listens, and hears what the test tells it. */
class Connection extends ChannelStreamConnection {
    state_ = 'open';
    channels = ['a'];
    connectionId = 'c';
    cancelled = [];
    told = new Map();

    get state() {
        return this.state_;
    }

    on(name, handler) {
        const handlers = this.told.get(name) ?? new Set();
        this.told.set(name, handlers.add(handler));
        return () => handlers.delete(handler);
    }

    tell(name, detail) {
        for (const handler of [...(this.told.get(name) ?? [])]) handler(detail);
    }

    get listeners() {
        return [...this.told.values()].reduce((sum, { size }) => sum + size, 0);
    }

    cancel(uuid) {
        this.cancelled.push(uuid);
        return Promise.resolve({ taken: true });
    }
}

const version = (rev, text, more = {}) => ({ uuid: 'm', channel: 'a', rev, status: 'open', message: { text }, ...more });
const append = (from, text, more = {}) => ({ type: 'message:append', uuid: 'm', channel: 'a', append: { text }, from, rev: from + 1, ...more });
const json = (body, status = 200) => new Response(status === 204 ? null : JSON.stringify(body), { status });

/** A stream of a chat whose application answers with `answers`, one after the other: values, or functions that make them. */
async function following(answers, more = {}) {
    const connection = new Connection({});
    const asked = [];
    const queue = [...answers];
    const fetch = async (url, { method }) => {
        asked.push(method);
        const next = queue.shift();
        if (next === undefined) throw new TypeError('network: the test has no more answers');
        const answer = await (typeof next === 'function' ? next() : next);
        return answer instanceof Response ? answer : json(answer);
    };
    const transport = new ChannelstreamChatTransport({ connection, fetch, ...more });
    const begun = transport.sendMessages({ chatId: 'x', messages: [], trigger: 'submit-message', messageId: undefined, abortSignal: more.signal });
    const chunks = [];
    const done = begun.then(async (stream) => {
        for await (const chunk of stream) chunks.push(chunk);
    });
    done.catch(() => {});
    const text = () => chunks.filter(({ type }) => type === 'text-delta').map(({ delta }) => delta).join('');
    const take = (event) => connection.tell('event', event);
    return { connection, transport, asked, chunks, begun, done, text, take };
}

const later = () => {
    let resolve;
    const promise = new Promise((settle) => (resolve = settle));
    return { promise, resolve };
};

test('the answer as chunks, one after the other', async () => {
    const { take, chunks, begun, done, connection } = await following([version(0, '')]);
    await begun;
    take(append(0, 'One '));
    take({ ...append(9, 'of another'), uuid: 'other' });
    take({ type: 'presence', uuid: 'p', channel: 'a', message: { action: 'joined' } });
    take(append(1, ''));
    take(append(2, 'two', { status: 'done' }));
    take(append(3, 'too late'));
    await done;
    assert.deepEqual(chunks, [
        { type: 'start', messageId: 'm' },
        { type: 'text-start', id: 'm' },
        { type: 'text-delta', id: 'm', delta: 'One ' },
        { type: 'text-delta', id: 'm', delta: 'two' },
        { type: 'text-end', id: 'm' },
        { type: 'finish' },
    ]);
    assert.equal(connection.listeners, 0);
});

test('an answer that grows before it is known, and one that ends at once', async () => {
    const wait = later();
    const { take, text, begun, done, chunks } = await following([() => wait.promise]);
    take({ ...version(0, ''), type: 'message' });
    take(append(0, 'One '));
    take(append(1, 'two', { status: 'done' }));
    wait.resolve(version(0, ''));
    await begun;
    await done;
    assert.equal(text(), 'One two');
    assert.equal(chunks.at(-1).type, 'finish');
    const whole = await following([version(5, 'All', { status: 'done' })]);
    await whole.done;
    assert.deepEqual([whole.text(), whole.connection.listeners], ['All', 0]);
    const empty = await following([version(1, '', { message: undefined, status: 'done' })]);
    await empty.done;
    assert.deepEqual(empty.chunks, [{ type: 'start', messageId: 'm' }, { type: 'finish' }]);
});

test('the other text key, pointers, and a payload that comes with the first append', async () => {
    const { take, text, begun, done } = await following([version(0, '', { message: undefined })], { textKey: 'words' });
    await begun;
    take({ ...append(0), append: { words: 'One ', text: 'no' } });
    take({ ...append(1), append: { '/words': 'two ' } });
    take({ ...append(2, 'no'), status: 'stalled' });
    take({ ...append(3), append: { words: 'three' }, status: 'done' });
    await done;
    assert.equal(text(), 'One two three');
});

test('what is missing is asked for, and what comes meanwhile follows', async () => {
    const wait = later();
    const { take, text, begun, done, asked } = await following([version(0, ''), () => wait.promise]);
    await begun;
    take(append(0, 'One '));
    take(append(2, 'three '));
    take(append(3, 'four '));
    assert.equal(text(), '');
    await until(() => asked.length === 2, 'the application is asked');
    take(append(4, 'five', { status: 'done' }));
    wait.resolve(version(3, 'One two three '));
    await done;
    assert.equal(text(), 'One two three four five');
    assert.deepEqual(asked, ['POST', 'GET']);
});

test('gaps of this channel or of all are asked about, others not', async () => {
    for (const [gap, isAsked] of [
        [{ channel: 'a', reason: 'evicted' }, true],
        [{ channel: null, reason: 'window' }, true],
        [{ channel: 'b', reason: 'epoch' }, true],
        [{ channel: 'b', reason: 'evicted' }, false],
        [{ reason: 'evicted' }, false],
    ]) {
        const { take, text, begun, done, asked } = await following([version(0, ''), version(2, 'One two ')]);
        await begun;
        take({ type: 'gap', ...gap });
        await until(() => text() === (isAsked ? 'One two ' : ''), 'what was missing is there');
        take(isAsked ? append(2, 'three', { status: 'done' }) : append(0, 'three', { status: 'done' }));
        await done;
        assert.deepEqual([text(), asked.length], [isAsked ? 'One two three' : 'three', isAsked ? 2 : 1]);
    }
});

test('a new connection goes on from its history, or asks', async () => {
    const { connection, take, text, begun, done, asked } = await following([version(0, ''), version(6, 'One two three four ')]);
    await begun;
    const answer = (history) => ({ channels: ['a'], channels_info: { channels: { a: { history } } } });
    take(append(0, 'One '));
    connection.tell('connect', answer([version(3, 'One two three ')]));
    // The server goes on from the cursor: this is in the history already, as one append or several.
    take({ ...append(1, 'two three '), rev: 3, catchup: true });
    await until(() => text() === 'One two three ', 'the history is taken');
    connection.tell('connect', answer([]));
    await until(() => text() === 'One two three four ', 'the application is asked');
    take({ ...append(3, 'four '), rev: 6, catchup: true });
    take(append(6, 'five', { status: 'done' }));
    await done;
    assert.deepEqual([text(), asked.length], ['One two three four five', 2]);
});

test('events that go on from the history of a new connection need no question', async () => {
    // From the history itself, or from the cursor, which is behind it.
    for (const event of [append(3, 'four', { status: 'done' }), { ...append(0, 'One two three four', { status: 'done' }), rev: 4 }]) {
        const { connection, take, text, begun, done, asked } = await following([version(0, '')]);
        await begun;
        const history = [version(3, 'One two three ')];
        connection.tell('connect', { channels: ['a'], channels_info: { channels: { a: { history } } } });
        take(event);
        await done;
        assert.deepEqual([text(), asked.length], ['One two three four', 1]);
    }
});

test('an application that fails is asked again; one that refuses, has nothing or another answer is not', async () => {
    const again = await following([version(0, ''), json({}, 503), version(1, 'One', { status: 'done' })]);
    await again.begun;
    again.take(append(5, 'six'));
    await again.done;
    assert.deepEqual([again.text(), again.asked.length], ['One', 3]);
    for (const [answer, error] of [
        [json({ detail: 'not you' }, 403), 'GET /api/chat/x/stream: status 403: not you'],
        [json(null, 204), 'the answer is not stored any more'],
        [version(0, 'another', { uuid: 'n' }), 'the answer is not stored any more'],
    ]) {
        const { take, chunks, begun, done, asked, connection } = await following([version(0, ''), answer]);
        await begun;
        take(append(5, 'six'));
        await done;
        assert.deepEqual([chunks.at(-1), asked.length], [{ type: 'error', errorText: error }, 2]);
        assert.equal(connection.listeners, 0);
    }
});

test('an application whose answers never fit is asked a few times and no more', async () => {
    const { take, chunks, begun, done, asked } = await following([version(0, ''), ...Array(20).fill(version(1, 'One '))]);
    await begun;
    const isOver = () => chunks.at(-1)?.type === 'error';
    await until(() => {
        take(append(7, 'eight'));
        return isOver();
    }, 'it ends');
    await done;
    assert.deepEqual(chunks.at(-1), { type: 'error', errorText: 'the answer cannot be followed' });
    assert.ok(asked.length <= 7, `${asked.length} requests`);
});

test('a connection that is closed ends the answer, unless it is connected again before the application answers', async () => {
    const wait = later();
    const { connection, take, text, begun, done, chunks } = await following([() => wait.promise]);
    const become = (state) => {
        connection.state_ = state;
        connection.tell('state', { state });
    };
    become('closed');
    become('connecting');
    wait.resolve(version(0, ''));
    await begun;
    become('open');
    take(append(0, 'One'));
    become('closed');
    await done;
    assert.equal(text(), 'One');
    assert.deepEqual(chunks.at(-1), { type: 'error', errorText: 'the connection to the push server is closed' });
});

test('more events than are kept are asked for', async () => {
    const wait = later();
    const { take, text, begun, done, asked } = await following([() => wait.promise, version(6000, 'x'.repeat(6000), { status: 'done' })]);
    for (let rev = 0; rev < 6000; rev += 1) take(append(rev, 'x'));
    wait.resolve(version(0, ''));
    await begun;
    await done;
    assert.deepEqual([text().length, asked.length], [6000, 2]);
});

test('a reader who leaves, an abort, and a mistake of the page', async () => {
    const left = await following([version(0, '')]);
    const stream = await left.transport.reconnectToStream({ chatId: 'y' }).catch((error) => error);
    assert.match(stream.message, /no more answers/);
    const other = await following([version(0, ''), version(1, 'One')]);
    const reconnected = await other.transport.reconnectToStream({ chatId: 'y' });
    await reconnected.cancel();
    assert.deepEqual(other.connection.cancelled, []);

    const { signal, abort } = (() => {
        const controller = new AbortController();
        return { signal: controller.signal, abort: () => controller.abort() };
    })();
    const aborted = await following([version(3, 'One')], { signal });
    await aborted.begun;
    abort();
    await aborted.done;
    assert.deepEqual(aborted.chunks.slice(-2), [{ type: 'text-end', id: 'm' }, { type: 'abort' }]);
    assert.deepEqual([aborted.connection.cancelled, aborted.connection.listeners], [['m'], 0]);
    await assert.rejects(following([version(0, '')], { signal }).then(({ begun }) => begun), { name: 'AbortError' });
    for (const chatId of ['.', '..']) await assert.rejects(left.transport.reconnectToStream({ chatId }), /cannot have the id/);
});

test('an abort that comes after the end cancels nothing', async () => {
    const controller = new AbortController();
    const { take, begun, done, connection } = await following([version(0, '')], { signal: controller.signal });
    await begun;
    take(append(0, 'One', { status: 'done' }));
    await done;
    controller.abort();
    // Behind all promises that an abort settles.
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(connection.cancelled, []);
});

/** Numbers that look random, the same for each seed (mulberry32). */
function random(seed) {
    return () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
}

test('whatever is lost, doubled and told anew, the text comes once and in order', async () => {
    for (let seed = 1; seed <= 300; seed += 1) {
        const next = random(seed);
        const below = (limit) => Math.floor(next() * limit);
        let rev = 0;
        const texts = [''];
        const now = (at = rev) => version(at, texts[at], at === 30 ? { status: 'done' } : {});
        const { connection, take, text, begun, done } = await following([now(), ...Array(200).fill(async () => now())]);
        await begun;
        while (rev < 30) {
            const from = rev;
            rev += 1;
            texts.push(`${texts[from]}${seed}.${rev} `);
            const grown = (at) => append(at, texts[at + 1].slice(texts[at].length), at === 29 ? { status: 'done' } : {});
            const dice = below(12);
            if (dice > 4) take(grown(from));
            // Lost until the server goes on from a cursor, or tells that it cannot.
            else if (dice === 0 || rev === 30) take({ type: 'gap', channel: 'a', reason: 'evicted' });
            else if (dice === 1) take({ ...now(), type: 'message', catchup: true });
            else if (dice === 2) connection.tell('connect', { channels: ['a'], channels_info: { channels: { a: { history: [now()] } } } });
            else if (dice === 3) connection.tell('connect', { channels: ['a'], channels_info: { channels: { a: { history: [] } } } });
            if (dice === 5) take(grown(below(rev)));
            if (dice === 6) await new Promise((resolve) => setImmediate(resolve));
        }
        await done;
        assert.equal(text(), texts[30], `seed ${seed}`);
    }
});
