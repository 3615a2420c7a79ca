// The chat transport with the AI SDK itself and the real server: answers grow, are resumed and stopped, whatever happens.
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { Application, ChannelStreamConnection, ChannelstreamChatTransport, Chat } from '../stage/chat.mjs';
import { Proxy } from '../stage/proxy.mjs';
import { Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';

const server = await Server.start({ wake_connections_after: 1 });
const options = { timeout: 60_000 };
const closing = [];
let applications = [];
let rooms = 0;
const application = async (of = server) => {
    const made = await Application.open(of);
    applications.push(made);
    return made;
};
afterEach(() => {
    closing.splice(0).forEach((close) => close());
    applications.splice(0).forEach((one) => one.close());
});
after(() => server.stop());

const room = () => `${(rooms += 1)}`;

/** A page: a connection of its own, and the SDK's chat. */
function page(of, id, { connection: settings, address = of.server.address, messages, ...more } = {}) {
    const connection = new ChannelStreamConnection({
        username: 'ann',
        channels: [`chat:${id}`],
        connectUrl: `${of.url}/connect`,
        subscribeUrl: `${of.url}/subscribe`,
        eventStreamUrl: `http://${address}/sse`,
        longPollUrl: `http://${address}/listen`,
        cancelUrl: `http://${address}/cancel`,
        transports: ['eventStream'],
        increaseBounceIv: 50,
        ...settings,
    });
    closing.push(() => connection.close());
    const statuses = [];
    const errors = [];
    connection.on('error', (error) => errors.push(error.message));
    const transport = new ChannelstreamChatTransport({
        connection,
        api: `${of.url}/chat?token=hidden`,
        onStatus: (status, { chatId, uuid }) => statuses.push([status, chatId, uuid]),
        ...more,
    });
    return { connection, transport, chat: new Chat(id, transport, messages), statuses, errors };
}

const grown = (chat, text) => until(() => chat.text === text, () => `the text is ${JSON.stringify(chat.text)}, not ${text}; ${chat.error}`);
const is = (chat, status) => until(() => chat.status === status, () => `${chat.status}, not ${status}; ${chat.error}`);
/** The message that a chat asked for, as soon as the application has opened it. */
const opened = (of, id) => until(() => of.newest(id), 'the application opens an answer');
const cancelled = (of, id) => until(async () => (await of.newest(id)).status === 'cancelled', 'the answer is cancelled');

test('an answer grows into one message, and ends', options, async () => {
    const of = await application();
    const id = room();
    const { chat, connection, statuses } = page(of, id);
    await connection.connect();
    const asked = chat.ask('why?');
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'Because ');
    await grown(chat, 'Because ');
    assert.equal(chat.status, 'streaming');
    assert.equal(chat.messages.at(-1).parts[0].state, 'streaming');
    await of.append(uuid, 'of it.');
    await grown(chat, 'Because of it.');
    await of.change(uuid, { status: 'done' });
    await asked;
    assert.equal(chat.status, 'ready');
    assert.deepEqual(chat.messages.map(({ role }) => role), ['user', 'assistant']);
    const { id: own, parts } = chat.messages[1];
    assert.deepEqual([own, parts.map(({ type, text, state }) => [type, text, state])], [uuid, [['text', 'Because of it.', 'done']]]);
    const [{ isAbort, isError }, ...more] = chat.finishes;
    assert.deepEqual([isAbort, isError, more], [false, false, []]);
    assert.deepEqual(statuses, [['open', id, uuid], ['done', id, uuid]]);

    // The next one, of the same page.
    const again = chat.ask('and?');
    const { uuid: next } = await until(async () => {
        const newest = await of.newest(id);
        return newest.uuid !== uuid && newest;
    }, 'the next answer is opened');
    await of.change(next, { append: { text: 'So.' }, status: 'done' });
    await again;
    assert.deepEqual([chat.messages.length, chat.text], [4, 'So.']);
});

test('what the backend is asked is what DefaultChatTransport asks', options, async () => {
    const of = await application();
    const id = room();
    let got;
    of.beforeAnswer = async ({ request, body }) => {
        got = { url: request.url, headers: request.headers, body };
        return [403, { detail: 'not today' }];
    };
    const { chat } = page(of, id, { headers: () => ({ 'x-own': 'one' }), body: async () => ({ model: 'small' }) });
    await chat.sendMessage({ text: 'why?' }, { headers: { 'x-call': 'two' }, body: { more: 1 } });
    assert.equal(got.url, '/chat?token=hidden');
    assert.deepEqual([got.headers['x-own'], got.headers['x-call'], got.headers['content-type']], ['one', 'two', 'application/json']);
    const { messages, ...rest } = got.body;
    assert.deepEqual(rest, { model: 'small', more: 1, id, trigger: 'submit-message' });
    assert.equal(messages[0].parts[0].text, 'why?');
    await chat.resumeStream();
    assert.equal(got.url, `/chat/${id}/stream?token=hidden`);
    assert.equal(got.headers['x-own'], 'one');
});

for (const joins of [true, false]) {
    test(`a new page resumes an answer in the middle, ${joins ? 'connected to' : 'subscribing to'} its channel`, options, async () => {
        const of = await application();
        const id = room();
        const first = page(of, id);
        await first.connection.connect();
        void first.chat.ask();
        const { uuid } = await opened(of, id);
        await of.append(uuid, 'One ');
        await grown(first.chat, 'One ');
        first.connection.close();

        of.joins = joins;
        const { chat, connection } = page(of, id);
        await connection.connect();
        const resumed = chat.resumeStream();
        await grown(chat, 'One ');
        for (const word of ['two ', 'three ']) await of.append(uuid, word);
        await grown(chat, 'One two three ');
        await of.change(uuid, { append: { text: 'four' }, status: 'done' });
        await resumed;
        assert.deepEqual(chat.messages.map(({ id, role }) => [id, role]), [[uuid, 'assistant']]);
        assert.equal(chat.text, 'One two three four');
        // Once more replays it, and adds nothing.
        await chat.resumeStream();
        assert.deepEqual([chat.messages.length, chat.text, chat.status], [1, 'One two three four', 'ready']);
    });
}

test('an answer that ended while nobody looked is there as a whole; without one there is nothing to resume', options, async () => {
    const of = await application();
    const id = room();
    const { chat, connection } = page(of, id);
    await connection.connect();
    await chat.resumeStream();
    assert.deepEqual([chat.status, chat.messages], ['ready', []]);
    const { uuid } = await of.start(id);
    await of.change(uuid, { append: { text: 'All of it.' }, status: 'done' });
    await chat.resumeStream();
    assert.deepEqual([chat.status, chat.text, chat.messages.length], ['ready', 'All of it.', 1]);
});

test('nothing is lost or doubled while a page comes and the answer grows', options, async () => {
    const of = await application();
    const id = room();
    const first = page(of, id);
    await first.connection.connect();
    const { uuid } = await of.start(id);
    let text = '';
    let isOn = true;
    const writing = (async () => {
        for (let n = 0; isOn; n += 1) {
            assert.equal((await of.append(uuid, `${n} `)).taken, true);
            text += `${n} `;
        }
    })();
    const chats = [];
    // Neither the history nor an order of requests and events is needed: the application is asked for what is missing.
    for (const [joins, tells] of [[true, true], [true, false], [false, true], [false, false]]) {
        Object.assign(of, { joins, tells });
        for (let n = 0; n < 3; n += 1) {
            const { chat, connection } = page(of, id);
            const connected = connection.connect();
            if (n > 0) await connected;
            void chat.resumeStream();
            await until(() => chat.text.length > 0, () => `it is resumed; ${chat.status}: ${chat.error}`);
            const { length } = chat.text;
            await until(() => chat.text.length > length, () => `it goes on; ${chat.status}: ${chat.error}`);
            assert.ok(text.startsWith(chat.text.slice(0, length)));
            chats.push(chat);
        }
    }
    isOn = false;
    await writing;
    await of.change(uuid, { status: 'done' });
    for (const chat of chats) {
        await is(chat, 'ready');
        assert.equal(chat.text, text);
        assert.equal(chat.error, undefined);
    }
});

test('stop ends the answer, and its publisher and other pages learn it', options, async () => {
    const of = await application();
    const id = room();
    const [one, other] = [page(of, id), page(of, id)];
    await Promise.all([one.connection.connect(), other.connection.connect()]);
    const asked = one.chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'Once ');
    const resumed = other.chat.resumeStream();
    for (const { chat } of [one, other]) await grown(chat, 'Once ');
    await one.chat.stop();
    assert.equal(one.chat.status, 'ready');
    await asked;
    await cancelled(of, id);
    const { taken, status } = await of.append(uuid, 'upon');
    assert.deepEqual([taken, status], [false, 'cancelled']);
    await resumed;
    assert.deepEqual([other.chat.status, other.chat.text, other.chat.messages.at(-1).parts[0].state], ['ready', 'Once ', 'done']);
    assert.equal(one.chat.finishes[0].isAbort, true);
    assert.equal(other.chat.finishes[0].finishReason, 'interrupted');
    assert.deepEqual(one.errors, []);
});

test('stop ends an answer that was resumed', options, async () => {
    const of = await application();
    const id = room();
    const { chat, connection } = page(of, id);
    await connection.connect();
    const { uuid } = await of.start(id);
    await of.append(uuid, 'Once ');
    void chat.resumeStream();
    await grown(chat, 'Once ');
    await chat.stop();
    await cancelled(of, id);
    assert.equal(chat.status, 'ready');
});

for (const connects of [true, false]) {
    const how = connects ? 'is connected' : 'is not connected yet';
    test(`stop before the backend has answered ends the answer as soon as it is known: the page ${how}`, options, async () => {
        const of = await application();
        const id = room();
        const { chat, connection } = page(of, id);
        if (connects) await connection.connect();
        else await of.server.call('POST', '/channel_config', { [`chat:${id}`]: of.settings });
        let answer;
        const wait = new Promise((resolve) => (answer = resolve));
        of.beforeAnswer = () => wait;
        void chat.ask();
        await until(() => of.asked.includes('POST /chat'), 'the backend is asked');
        await chat.stop();
        assert.equal(chat.status, 'ready');
        answer();
        await opened(of, id);
        await cancelled(of, id);
        assert.equal(chat.error, undefined);
    });
}

test('what is aborted to be resumed anew is not stopped', options, async () => {
    const of = await application();
    const id = room();
    const { chat, connection } = page(of, id);
    await connection.connect();
    const { uuid } = await of.start(id);
    await of.append(uuid, 'One ');
    // As React does in its strict mode: resumed, stopped while it is asked for, and resumed again.
    const resumed = chat.resumeStream();
    await chat.stop();
    await resumed;
    void chat.resumeStream();
    void chat.resumeStream();
    await grown(chat, 'One ');
    // While it runs.
    void chat.resumeStream();
    await of.append(uuid, 'two ');
    await grown(chat, 'One two ');
    const { taken } = await of.change(uuid, { append: { text: 'three' }, status: 'done' });
    assert.equal(taken, true);
    await is(chat, 'ready');
    assert.deepEqual([chat.text, chat.messages.length, chat.error], ['One two three', 1, undefined]);
});

test('with cancelOnAbort: false a stop is of this page alone, and cancel is for all', options, async () => {
    const of = await application();
    const id = room();
    const { chat, connection, transport } = page(of, id, { cancelOnAbort: false });
    await connection.connect();
    assert.equal(await transport.cancel(id), false);
    void chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'One ');
    await grown(chat, 'One ');
    await chat.stop();
    assert.equal((await of.append(uuid, 'two ')).taken, true);
    const resumed = chat.resumeStream();
    await grown(chat, 'One two ');
    assert.equal(await transport.cancel(id), true);
    await resumed;
    assert.equal((await of.newest(id)).status, 'cancelled');
    assert.equal(chat.finishes.at(-1).finishReason, 'interrupted');
});

test('a stop that the push server does not allow is an error of the connection', options, async () => {
    const of = await application();
    of.opening = {};
    const id = room();
    const { chat, connection, errors } = page(of, id);
    await connection.connect();
    void chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'One ');
    await grown(chat, 'One ');
    await chat.stop();
    await until(() => errors.length, 'the connection tells it');
    assert.deepEqual(errors, ['cancel: status 403']);
    assert.equal((await of.append(uuid, 'two ')).taken, true);
});

test('a stop that does not get through is tried again', options, async () => {
    const of = await application();
    const id = room();
    const proxy = await Proxy.to(server.port);
    closing.push(() => proxy.close());
    const { chat, connection, errors } = page(of, id, { address: proxy.address });
    await connection.connect();
    void chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'One ');
    await grown(chat, 'One ');
    proxy.cut();
    await chat.stop();
    await until(() => errors.includes('cancel: status 0'), 'it does not get through');
    proxy.mend();
    await cancelled(of, id);
});

test('answers that fail, are deleted or rewritten are errors', options, async () => {
    const of = await application();
    for (const [item, text, error] of [
        [{ append: { error: 'out of tokens' }, status: 'failed' }, 'One ', 'out of tokens'],
        [{ status: 'failed' }, 'One ', 'the answer failed'],
        [{ message: { text: 'Something else' } }, 'One ', 'the answer was rewritten: load the chat again'],
        [undefined, 'One ', 'the answer was deleted'],
    ]) {
        const id = room();
        const { chat, connection } = page(of, id);
        await connection.connect();
        void chat.ask();
        const { uuid } = await opened(of, id);
        await of.append(uuid, 'One ');
        await grown(chat, 'One ');
        if (item) await of.change(uuid, item);
        else await server.call('DELETE', '/message', [{ uuid, channel: `chat:${id}` }]);
        await is(chat, 'error');
        assert.deepEqual([chat.error.message, chat.text], [error, text]);
    }
});

test('an edit that only adds goes on, and so do channels that send appends as edits', options, async () => {
    const of = await application();
    of.settings = { store_history: true, append_as_edit: true };
    const id = room();
    const { chat, connection } = page(of, id);
    await connection.connect();
    const asked = chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'One ');
    await grown(chat, 'One ');
    await of.change(uuid, { message: { text: 'One two ' } });
    await grown(chat, 'One two ');
    await of.change(uuid, { append: { text: 'three' }, status: 'done' });
    await asked;
    assert.deepEqual([chat.text, chat.error], ['One two three', undefined]);
});

test('an answer without a word for long is stalled, and goes on', options, async () => {
    const of = await application();
    of.opening = { append_timeout: 1 };
    const id = room();
    const { chat, connection, statuses } = page(of, id);
    await connection.connect();
    const asked = chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'One ');
    await until(() => statuses.at(-1)?.[0] === 'stalled', 'it is stalled');
    assert.equal(chat.status, 'streaming');
    await of.change(uuid, { append: { '/text': 'two' }, status: 'done' });
    await asked;
    assert.deepEqual([chat.text, chat.status], ['One two', 'ready']);
});

test('chunks of the SDK itself are passed on: reasoning, tools, sources', options, async () => {
    const of = await application();
    const id = room();
    const first = page(of, id);
    await first.connection.connect();
    void first.chat.ask();
    await opened(of, id).then(({ uuid }) => of.change(uuid, { status: 'done' }));
    const { uuid } = await of.start(id, { message: { chunks: [] } });
    const { chat, connection } = page(of, id);
    await connection.connect();
    const resumed = chat.resumeStream();
    const add = (...chunks) => of.change(uuid, { append: { chunks } });
    await add({ type: 'start', messageId: 'own' }, { type: 'reasoning-start', id: 'r' });
    await add({ type: 'reasoning-delta', id: 'r', delta: 'Hm.' }, { type: 'reasoning-end', id: 'r' });
    await add({ type: 'tool-input-available', toolCallId: 't', toolName: 'look', input: { at: 1 } });
    await add({ type: 'tool-output-available', toolCallId: 't', output: 'seen' });
    await add({ type: 'text-start', id: 'x' }, { type: 'text-delta', id: 'x', delta: 'So.' }, { type: 'text-end', id: 'x' });
    await of.change(uuid, { append: { chunks: [{ type: 'finish', finishReason: 'stop' }] }, status: 'done' });
    await resumed;
    const { id: own, parts } = chat.messages.at(-1);
    assert.deepEqual([own, parts.map(({ type, text, output }) => [type, text ?? output])], [
        'own', [['reasoning', 'Hm.'], ['tool-look', 'seen'], ['text', 'So.']],
    ]);
    assert.equal(chat.finishes.at(-1).finishReason, 'stop');

    const { uuid: strange } = await of.start(id, { message: { chunks: [] } });
    void chat.resumeStream();
    await of.change(strange, { append: { chunks: ['no chunk'] } });
    await is(chat, 'error');
    assert.equal(chat.error.message, 'item 0 of chunks has no type');
});

test('a backend that answers anything else is an error that names it, without its query', options, async () => {
    const of = await application();
    const id = room();
    const { chat } = page(of, id);
    for (const [answer, reason] of [
        [[403, { detail: 'not today' }], 'status 403: not today'],
        [[429, { error: { message: 'too many' } }], 'status 429: too many'],
        [[500, '<!doctype html><title>Oops</title>', 'text/html'], 'status 500'],
        [[502, 'x'.repeat(1000), 'text/plain'], `status 502: ${'x'.repeat(300)}`],
        [[200, '<!doctype html><title>Sign in</title>', 'text/html'], 'the answer is no growing message'],
        [[200, { uuid: 'a', channel: 'b' }], 'the answer is no growing message'],
        [[200, { uuid: 'a', channel: 'b', rev: 0, status: 'over' }], 'the answer is no growing message'],
        [[200, 'null'], 'the answer is no growing message'],
    ]) {
        of.beforeAnswer = async () => answer;
        await chat.ask();
        assert.deepEqual([chat.status, chat.error.message], ['error', `POST ${of.url}/chat: ${reason}`]);
        chat.clearError();
        await chat.resumeStream();
        assert.deepEqual([chat.status, chat.error.message], ['error', `GET ${of.url}/chat/${id}/stream: ${reason}`]);
        chat.clearError();
    }
    of.beforeAnswer = async () => [204];
    await chat.ask();
    assert.equal(chat.error.message, 'the application answers with no message');
    of.close();
    await chat.ask();
    // The SDK knows that error, and resumes when the page is looked at again.
    assert.equal(chat.finishes.at(-1).isDisconnect, true);
});

test('a page that nobody connected connects; one that is closed or does not listen is an error', options, async () => {
    const of = await application();
    const id = room();
    const idle = page(of, id);
    const first = page(of, id);
    await first.connection.connect();
    void idle.chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'One ');
    await grown(idle.chat, 'One ');
    idle.connection.close();
    await is(idle.chat, 'error');
    assert.equal(idle.chat.error.message, 'the connection to the push server is closed');
    await idle.chat.resumeStream();
    await is(idle.chat, 'error');

    of.joins = false;
    const deaf = page(of, id, { connection: { subscribeUrl: '' } });
    await deaf.connection.connect();
    await deaf.chat.resumeStream();
    await is(deaf.chat, 'error');
    assert.match(deaf.chat.error.message, /subscribeUrl is not set/);

    const refused = page(of, id);
    refused.connection.connectUrl = `${of.url}/chat`;
    of.beforeAnswer = async ({ request }) => request.method === 'POST' ? [401, {}] : undefined;
    await refused.chat.resumeStream();
    await is(refused.chat, 'error');
});

test('nothing is lost however often the line breaks, with and without the same connection', options, async () => {
    for (const resume of [true, false]) {
        const of = await application();
        const id = room();
        const proxy = await Proxy.to(server.port);
        closing.push(() => proxy.close());
        const { chat, connection } = page(of, id, { address: proxy.address, connection: { resume } });
        await connection.connect();
        const asked = chat.ask();
        const { uuid } = await opened(of, id);
        let text = '';
        for (let n = 0; n < 40; n += 1) {
            await of.append(uuid, `${n} `);
            text += `${n} `;
            if (n % 10 !== 5) continue;
            proxy.cut();
            for (const word of ['gone ', 'again ']) {
                await of.append(uuid, word);
                text += word;
            }
            proxy.mend();
            await grown(chat, text);
        }
        await of.change(uuid, { status: 'done' });
        await asked;
        assert.deepEqual([chat.text, chat.error], [text, undefined]);
    }
});

test('a push server that has lost the answer is an error', options, async () => {
    const own = await Server.alone();
    closing.push(() => own.stop());
    const of = await application(own);
    const id = room();
    const { chat, connection } = page(of, id);
    await connection.connect();
    void chat.ask();
    const { uuid } = await opened(of, id);
    await of.append(uuid, 'One ');
    await grown(chat, 'One ');
    await own.stop();
    await own.start();
    await is(chat, 'error');
    assert.deepEqual([chat.error.message, chat.text], ['the answer is not stored any more', 'One ']);
});
