// Our client's cursors and event streams, in Node, against a push server that fails on demand.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { ChannelStreamConnection } from '../stage/client.mjs';
import { Fake } from '../stage/fake.mjs';
import { until } from '../stage/until.mjs';

const options = { timeout: 60_000 };
const closing = [];
afterEach(() => {
    for (const close of closing.splice(0)) close();
});

/** A fake server, a connection to it that listens, and what the page was told. */
async function listening(settings, prepare = () => {}) {
    const fake = await Fake.open();
    closing.push(() => fake.close());
    prepare(fake);
    const connection = new ChannelStreamConnection(
        fake.settings({ transports: ['eventStream', 'poll'], channels: ['a'], ...settings }),
    );
    closing.push(() => connection.close());
    const told = [];
    const connects = [];
    connection.on('event', (event) => told.push(event));
    connection.on('connect', (answer) => connects.push(answer.conn_id));
    await connection.connect();
    await until(() => connection.state === 'open', 'it is open');
    const texts = () => told.filter(({ type }) => type === 'message').map(({ message }) => message.text);
    const hears = (text) => until(() => texts().includes(text), () => `${text} in ${texts()}`);
    return { fake, connection, told, connects, texts, hears };
}

for (const transport of ['eventStream', 'poll']) {
    const path = { eventStream: '/sse', poll: '/listen' }[transport];

    test(`takes the cursor of every event, and names it when it returns, by ${transport}`, options, async () => {
        const { fake, connection, told, connects, texts, hears } = await listening({ transports: [transport] });
        await until(() => connection.cursor === '00000001-0', 'it knows where it stands');
        assert.deepEqual(told, [], 'that is no event for the page');
        fake.message('one');
        await hears('one');
        assert.equal(connection.cursor, '00000001-1');
        assert.equal(told[0].seq, '00000001-1');
        // The server does not know the connection any more: the cursor survives the new one.
        fake.instead[path] = (response) => {
            delete fake.instead[path];
            response.writeHead(204).end();
        };
        if (transport === 'poll') fake.instead[path] = (response) => {
            delete fake.instead[path];
            response.writeHead(401).end('[]');
        };
        fake.end(true);
        fake.message('two');
        fake.message('three');
        await hears('three');
        // With polls the refusal came after two.
        await until(() => connects.length === 2, 'a new connection');
        fake.message('four');
        await hears('four');
        assert.deepEqual(texts(), ['one', 'two', 'three', 'four']);
        assert.equal(fake.since(path)[0], '');
        assert.ok(fake.since(path).slice(2).every((since) => since.startsWith('00000001-')), String(fake.since(path)));
    });
}

test('the cursor survives the change from the event stream to polls', options, async () => {
    const { fake, connection, connects, texts, hears } = await listening({});
    fake.message('one');
    await hears('one');
    fake.instead['/sse'] = (response) => response.writeHead(502).end();
    fake.end();
    fake.message('two');
    await hears('two');
    await until(() => connection.state === 'open', 'it is open again');
    fake.message('three');
    await hears('three');
    assert.deepEqual(texts(), ['one', 'two', 'three']);
    assert.equal(connects.length, 1, 'the same connection');
    assert.ok(fake.since('/listen').every((since) => since !== ''), 'polls name the cursor');
});

test('the application keeps the cursor: a page that is loaded again goes on from there', options, async () => {
    const first = await listening({});
    first.fake.message('one');
    await first.hears('one');
    const { cursor } = first.connection;
    first.connection.close();
    first.fake.message('two');
    const again = new ChannelStreamConnection(first.fake.settings({ transports: ['eventStream'], cursor }));
    closing.push(() => again.close());
    const texts = [];
    again.on('message', ({ message }) => texts.push(message.text));
    await again.connect();
    await until(() => texts.length > 0, 'what was missed');
    assert.deepEqual(texts, ['two']);
    // What storage gives where there is nothing.
    const fresh = new ChannelStreamConnection(first.fake.settings({ transports: ['eventStream'], cursor: null }));
    closing.push(() => fresh.close());
    await fresh.connect();
    await until(() => fresh.cursor === '00000001-2', 'from now on');
});

test('what is in the history of a new answer is not told again; what changed since is', options, async () => {
    const { fake, connects, texts, told, hears } = await listening({});
    fake.message('one');
    await hears('one');
    const old = (text, more) => ({ type: 'message', uuid: text, user: 'bob', channel: 'a', message: { text }, timestamp: '2026-01-01T00:00:00.000000', edited: null, catchup: true, ...more });
    const history = [old('drawn'), old('edited'), old('grown', { rev: 3, status: 'open' })];
    fake.more = { channels_info: { channels: { a: { history } }, users: [] } };
    fake.instead['/sse'] = (response) => {
        delete fake.instead['/sse'];
        response.writeHead(204).end();
    };
    fake.end(true);
    await until(() => fake.listeners === 0, 'nobody listens');
    fake.message('drawn', { catchup: true });
    fake.message('edited', { catchup: true, edited: '2026-01-02T00:00:00.000000' });
    fake.message('grown', { catchup: true, rev: 4, status: 'open' });
    fake.message('drawn live');
    await hears('drawn live');
    assert.equal(connects.length, 2);
    assert.deepEqual(texts(), ['one', 'edited', 'grown', 'drawn live']);
    assert.equal(told.at(-1).seq, '00000001-5');
});

test('a server that refuses the cursor: a gap, and from now on', options, async () => {
    for (const transports of [['eventStream', 'poll'], ['poll']]) {
        const { fake, connection, told, hears } = await listening({ transports, cursor: 'another-server' }, (fake) => {
            const refuse = (response, { since }) =>
                since === 'another-server'
                    ? response.writeHead(422, { 'content-type': 'application/json' }).end('{"since":["bad"]}')
                    : false;
            fake.instead = { '/sse': refuse, '/listen': refuse };
        });
        await until(() => connection.cursor === '00000001-0', 'it knows where it stands');
        fake.message('one');
        await hears('one');
        assert.deepEqual(told.map(({ type }) => type), ['gap', 'message']);
        assert.deepEqual(told[0], { type: 'gap', channel: null, reason: 'epoch' });
        assert.equal(connection.state, 'open');
    }
});

test('a gap is an event of its own', options, async () => {
    const { fake, connection, hears } = await listening({});
    const gaps = [];
    connection.on('gap', (gap) => gaps.push(gap));
    fake.send({ type: 'gap', channel: 'a', reason: 'evicted' });
    fake.message('after');
    await hears('after');
    assert.deepEqual(gaps, [{ type: 'gap', channel: 'a', reason: 'evicted', seq: '00000001-1' }]);
});

test('an event stream in pieces, with comments and other ends of lines', options, async () => {
    const { fake, connection, told, texts, hears } = await listening({});
    const errors = [];
    connection.on('error', ({ message }) => errors.push(message));
    const data = JSON.stringify({ type: 'message', uuid: 'u', channel: 'a', message: { text: 'zażółć 🦀' } });
    const bytes = Buffer.from(`: a comment\r\n\r\nid: 00000001-7\r\nevent: message\r\ndata: ${data}\r\n\r\n`);
    for (const byte of bytes) {
        fake.write(Buffer.from([byte]));
        await new Promise(setImmediate);
    }
    await hears('zażółć 🦀');
    assert.equal(connection.cursor, '00000001-7');
    fake.write('data: {"type":\n\n');
    await until(() => errors.length, 'an error');
    assert.deepEqual(errors, ['an event is not JSON']);
    fake.write(`data:${data.replace('zażółć 🦀', 'goes on')}\n\n`);
    await hears('goes on');
    assert.equal(texts().length, 2);
    assert.ok(!('seq' in told[1]));
});

test('text with line ends that are none of an event stream', options, async () => {
    const { fake, hears } = await listening({ transports: ['eventStream'] });
    const odd = 'one\u2028two\u2029three\u0085four';
    fake.message(odd);
    await hears(odd);
    assert.equal(fake.since('/sse').length, 1, 'on the first stream');
});

test('an event without an end is given up, and the client goes on from its cursor', options, async () => {
    const { fake, hears, texts } = await listening({ transports: ['eventStream'] });
    fake.message('one');
    await hears('one');
    fake.write('data: {"text":"');
    for (let mib = 0; mib < 20; mib += 1) fake.write('x'.repeat(2 ** 20));
    await until(() => fake.since('/sse').length === 2, 'it returns');
    fake.message('two');
    await hears('two');
    assert.deepEqual([texts(), fake.since('/sse').at(-1)], [['one', 'two'], '00000001-1']);
});

test('another listener of the same connection: not taken back, but a new connection', options, async () => {
    const { fake, connects, hears } = await listening({});
    fake.write('retry: 86400000\n\n: superseded\n\n');
    fake.end();
    await until(() => connects.length === 2, 'a new connection');
    fake.message('one');
    await hears('one');
    // A server that drains is asked again for the same one.
    fake.write('retry: 9000\n\n');
    fake.end();
    await until(() => fake.since('/sse').length === 3 && fake.listeners === 1, 'it is back');
    assert.equal(connects.length, 2);
});

test('a proxy that holds the event stream back: polls, from the same place', options, async () => {
    const { fake, connection, connects, texts, hears } = await listening({}, (fake) => {
        fake.instead['/sse'] = (response) => void response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    });
    fake.message('one');
    await hears('one');
    assert.equal(connects.length, 1);
    assert.equal(connection.state, 'open');
    // The proxy is gone: the event stream is tried again, and takes over.
    fake.instead = {};
    const sent = ['one'];
    await until(() => {
        sent.push(`number ${sent.length}`);
        fake.message(sent.at(-1));
        return fake.since('/sse').length > 1;
    }, 'the stream is tried', 30_000);
    fake.message('two');
    await hears('two');
    assert.deepEqual(texts(), [...sent, 'two']);
    await until(() => fake.listeners === 1 && fake.since('/sse').length === 2, 'one listener');
});

test('an event stream that falls silent is given up', options, async () => {
    const { fake, connects, hears } = await listening({});
    fake.write(':\n\n');
    // A server that has something else to say sends no heartbeats: their interval is not longer for that.
    for (let number = 0; number < 60; number += 1) {
        fake.message(`number ${number}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    fake.write(':\n\n');
    const start = performance.now();
    // Silence: a new connection, since the server may believe in the old one.
    await until(() => connects.length === 2, 'a new connection', 30_000);
    assert.ok(performance.now() - start < 6000, 'soon');
    fake.message('one');
    await hears('one');
});

test('an older server, which knows neither cursors nor streams', options, async () => {
    const { fake, connection, texts, hears } = await listening({}, (fake) => {
        fake.instead['/sse'] = (response) => response.writeHead(404).end('{}');
        const events = [];
        let waiting = () => {};
        fake.send = ({ seq: _seq, ...event }) => {
            events.push(event);
            waiting();
        };
        fake.instead['/listen'] = (response) => {
            waiting = () => {
                waiting = () => {};
                response.writeHead(200).end(JSON.stringify(events.splice(0)));
            };
            if (events.length) waiting();
            else setTimeout(() => response.writableEnded || waiting(), 1000).unref();
        };
    });
    for (const text of ['one', 'two', 'three']) {
        fake.message(text);
        await hears(text);
    }
    assert.deepEqual(texts(), ['one', 'two', 'three']);
    assert.equal(connection.cursor, '');
    assert.deepEqual([...new Set(fake.since('/listen'))], ['']);
});

test('without options the wire is that of older clients', options, async () => {
    const fake = await Fake.open();
    closing.push(() => fake.close());
    const connection = new ChannelStreamConnection();
    Object.assign(connection, fake.settings({ noWebsocket: true }));
    closing.push(() => connection.close());
    await connection.connect();
    await until(() => fake.listeners === 1, 'it polls');
    assert.deepEqual(fake.asked, ['/connect', '/listen?conn_id=1']);
    fake.message('one');
    await until(() => fake.asked.length === 3, 'it polls again');
    assert.equal(fake.asked[2], '/listen?conn_id=1');
    assert.equal(connection.cursor, false);
});

test('cancels a message by the connection that listens', options, async () => {
    const { fake, connection } = await listening({ headers: { 'x-own': 'yes' } });
    assert.deepEqual(await connection.cancel('u-1'), { taken: true });
    assert.deepEqual(fake.posted.at(-1), ['/cancel', { conn_id: '1', uuid: 'u-1' }]);
    fake.instead['/cancel'] = (response) => response.writeHead(403).end('{}');
    await assert.rejects(connection.cancel('u-2'), ({ source, status }) => source === 'cancelError' && status === 403);
    connection.cancelUrl = '';
    await assert.rejects(connection.cancel('u-3'), /cancelUrl is not set/);
});
