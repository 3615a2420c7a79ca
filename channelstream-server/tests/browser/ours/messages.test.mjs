// The view of messages: the page rules, one event after the other, without a network.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messages } from '../stage/client.mjs';

/** What a view needs of a connection. */
class Connection {
    cursor = '00000001-1';
    #handlers = { event: new Set(), connect: new Set() };

    on(name, handler) {
        this.#handlers[name].add(handler);
        return () => this.#handlers[name].delete(handler);
    }

    tell(name, detail) {
        for (const handler of this.#handlers[name]) handler(detail);
    }
}

function viewing(options) {
    const connection = new Connection();
    const view = messages(connection, options);
    const changes = [];
    view.onChange((change) => changes.push(change));
    const take = (event) => connection.tell('event', event);
    return { connection, view, changes, take };
}

let seconds = 0;
const posted = (uuid, message = { text: uuid }, more = {}) => ({
    type: 'message', uuid, user: 'bob', channel: 'a', message,
    timestamp: `2026-01-01T00:00:${String((seconds += 1)).padStart(2, '0')}.000000`, edited: null, catchup: false, ...more,
});
const open = (uuid, message, more) => posted(uuid, message, { status: 'open', rev: 0, ...more });
const append = (uuid, append, from, more) => ({ type: 'message:append', uuid, channel: 'a', append, from, rev: from + 1, ...more });
const answer = (history, channel = 'a') => ({ channels_info: { channels: { [channel]: { history } }, users: [] } });
const texts = (view) => view.list.map(({ message }) => message.text);

test('posts, edits, replaces and deletes', () => {
    const { view, changes, take } = viewing();
    take(posted('one'));
    take(posted('two'));
    take({ type: 'message:edit', uuid: 'one', channel: 'a', edited: '2026-01-01T00:01:00.000000', message: { text: 'uno' } });
    take({ type: 'message:edit', uuid: 'unknown', channel: 'a', edited: '2026-01-01T00:01:00.000000', message: { text: 'no' } });
    take(posted('two', { text: 'due' }));
    assert.deepEqual(texts(view), ['uno', 'due']);
    assert.equal(view.get('one').edited, '2026-01-01T00:01:00.000000');
    assert.equal(view.get('one').type, 'message');
    assert.equal(view.get('one').user, 'bob');
    assert.ok(view.get('one').sentAt instanceof Date);
    take({ type: 'message:delete', uuid: 'one', channel: 'a' });
    take({ type: 'message:delete', uuid: 'one', channel: 'a' });
    take({ type: 'presence', uuid: 'p', channel: 'a', message: { action: 'joined' } });
    assert.deepEqual(texts(view), ['due']);
    assert.deepEqual(
        changes.map(({ message, previous }) => [message?.message.text, previous?.message.text]),
        [['one', undefined], ['two', undefined], ['uno', 'one'], ['due', 'two'], [undefined, 'uno']],
    );
});

test('grows by texts, lists and pointers; what was given before stays as it was', () => {
    const { view, changes, take } = viewing();
    take(open('m', { text: 'Hel', parts: [{ text: 'a' }], 'a/b': { '~': 'x' } }));
    const before = view.get('m');
    const more = { text: 'lo', parts: [{ text: 'b' }], more: 'new', '/parts/0/text': '!', '/parts/2': 'c', '/a~1b/~0': 'y', '/a~1b/new': ['z'] };
    take(append('m', more, 0));
    assert.deepEqual(view.get('m').message, {
        text: 'Hello', parts: [{ text: 'a!' }, { text: 'b' }, 'c'], 'a/b': { '~': 'xy', new: ['z'] }, more: 'new',
    });
    assert.deepEqual(before.message, { text: 'Hel', parts: [{ text: 'a' }], 'a/b': { '~': 'x' } });
    assert.equal(view.get('m').rev, 1);
    assert.deepEqual(changes.at(-1).append, more);
    assert.equal(changes.at(-1).previous, before);
    take(append('m', {}, 1, { status: 'stalled' }));
    assert.equal(view.get('m').status, 'stalled');
    take(append('m', { text: '.' }, 2, { status: 'done' }));
    assert.deepEqual([view.get('m').message.text, view.get('m').status, view.get('m').rev], ['Hello.', 'done', 3]);
    take({ type: 'message:edit', uuid: 'm', channel: 'a', edited: '2026-01-02T00:00:00.000000', message: { text: 'Bye' }, rev: 4, status: 'done' });
    assert.deepEqual([view.get('m').message, view.get('m').rev], [{ text: 'Bye' }, 4]);
});

test('an append that is known already changes nothing', () => {
    const { view, changes, take } = viewing();
    take(open('m', { text: 'one two' }, { rev: 2 }));
    take(append('m', { text: ' two' }, 1));
    take(append('unknown', { text: ' two' }, 1));
    assert.deepEqual([texts(view), changes.length], [['one two'], 1]);
});

const misfits = {
    'from is ahead': append('m', { text: '!' }, 5),
    'from is behind, and what comes is new': append('m', { text: '!' }, 1, { rev: 4 }),
    'a list behind a text': append('m', { text: ['!'] }, 2),
    'a text behind an object': append('m', { deep: '!' }, 2),
    'a pointer into a text': append('m', { '/text/0': '!' }, 2),
    'a pointer through nothing': append('m', { '/none/text': '!' }, 2),
    'a pointer beyond the end of a list': append('m', { '/list/3': '!' }, 2),
    'a pointer to no index': append('m', { '/list/-1': '!' }, 2),
    'a pointer to what is inherited': append('m', { '/toString/name': '!' }, 2),
};
for (const [name, event] of Object.entries(misfits)) {
    test(`an append that does not fit corrupts nothing: ${name}`, () => {
        const { view, changes, take } = viewing();
        const payload = { text: 'one', list: [1], deep: {} };
        take(open('m', payload, { rev: 2 }));
        take({ ...event, append: { first: 'not even this', ...event.append } });
        const { message, rev, incomplete } = view.get('m');
        assert.deepEqual([message, rev, incomplete], [payload, 2, true]);
        assert.deepEqual([...view.gaps], ['a']);
        assert.deepEqual(changes.at(-1), { gap: 'a' });
        // It is told once, and what follows is not put where it does not belong.
        const { length } = changes;
        take(append('m', { text: '!' }, event.rev));
        assert.deepEqual([view.get('m').message, changes.length], [payload, length]);
        // The next whole version repairs it, out of a history too.
        view.load(answer([open('m', { text: 'whole' }, { rev: 9 })]));
        assert.deepEqual([view.get('m').message, view.get('m').incomplete, view.gaps.size], [{ text: 'whole' }, undefined, 0]);
        take(append('m', { text: '!' }, 9));
        assert.equal(view.get('m').message.text, 'whole!');
    });
}

test('an own property named __proto__ is a key like others', () => {
    const { view, take } = viewing();
    take(open('m', {}));
    take(append('m', JSON.parse('{"__proto__": "x"}'), 0));
    assert.deepEqual(Object.keys(view.get('m').message), ['__proto__']);
    assert.equal({}.x, undefined);
});

test('a history of connect: what is new is put in order, what grows goes on from the cursor', () => {
    const { connection, view, changes, take } = viewing();
    const old = posted('old');
    take(posted('one'));
    take(open('m', { text: 'a' }, { rev: 1 }));
    // The answer is ahead of the stream, which goes on from the cursor.
    connection.tell('connect', answer([old, { ...open('m', { text: 'abc' }), rev: 3 }]));
    assert.deepEqual(texts(view), ['old', 'one', 'a']);
    take(append('m', { text: 'bcd' }, 1, { rev: 4, catchup: true }));
    assert.deepEqual([texts(view), view.get('m').rev], [['old', 'one', 'abcd'], 4]);
    const { length } = changes;
    connection.tell('connect', answer([old]));
    assert.equal(changes.length, length, 'nothing changed');
});

test('a history that is ahead, and a server that has lost the cursor: it goes on from the history', () => {
    const { connection, view, take } = viewing();
    take(open('m', { text: 'a' }, { rev: 1 }));
    take(open('n', { text: 'n' }, { rev: 1, channel: 'b' }));
    const ahead = [open('m', { text: 'abc' }, { rev: 3 }), open('n', { text: 'nnn' }, { rev: 3, channel: 'b' })];
    connection.tell('connect', answer(ahead));
    take({ type: 'gap', channel: 'a', reason: 'evicted' });
    assert.deepEqual(texts(view), ['abc', 'n']);
    take({ ...append('n', { text: '!' }, 3), channel: 'b' });
    take(append('m', { text: 'd' }, 3));
    assert.deepEqual(texts(view), ['abcd', 'nnn!']);
    assert.deepEqual([...view.gaps], ['a']);
    // Without a gap, an append that fits the history alone.
    connection.tell('connect', answer([open('m', { text: 'abcdef' }, { rev: 6 })]));
    take(append('m', { text: 'g' }, 6));
    assert.deepEqual(texts(view), ['abcdefg', 'nnn!']);
});

test('without a cursor a new connection tells what was deleted; with one, events do', () => {
    const { connection, view, take } = viewing();
    const [one, two] = [posted('one'), posted('two')];
    take(one);
    take(two);
    take(posted('elsewhere', { text: 'elsewhere' }, { channel: 'b' }));
    take(posted('private', { text: 'private' }, { channel: null }));
    connection.tell('connect', answer([two]));
    assert.deepEqual(texts(view), ['one', 'two', 'elsewhere', 'private']);
    connection.cursor = '';
    connection.tell('connect', answer([two]));
    assert.deepEqual(texts(view), ['two', 'elsewhere', 'private']);
    // An older version does not replace an edited one.
    take({ type: 'message:edit', uuid: 'two', channel: 'a', edited: '2026-01-02T00:00:00.000000', message: { text: 'due' } });
    view.load([two]);
    assert.deepEqual(texts(view), ['due', 'elsewhere', 'private']);
});

test('one channel alone, and gaps of it', () => {
    const { connection, view, take } = viewing({ channel: 'a' });
    take(posted('one'));
    take(posted('other', {}, { channel: 'b' }));
    take({ type: 'gap', channel: 'b', reason: 'evicted' });
    take({ type: 'gap', reason: 'evicted' });
    assert.deepEqual([texts(view), view.gaps.size], [['one'], 0]);
    take({ type: 'gap', channel: 'a', reason: 'evicted' });
    assert.deepEqual([...view.gaps], ['a']);
    connection.tell('connect', answer([]));
    assert.equal(view.gaps.size, 0);
    take({ type: 'gap', channel: null, reason: 'epoch' });
    assert.deepEqual([...view.gaps], [null]);
});

test('the oldest messages beyond the limit are dropped, open ones last', () => {
    const { view, changes, take } = viewing({ limit: 3 });
    take(open('growing', { text: 'growing' }));
    for (const name of ['one', 'two', 'three', 'four']) take(posted(name));
    assert.deepEqual(texts(view), ['growing', 'three', 'four']);
    assert.deepEqual(changes.filter(({ message }) => !message).map(({ previous }) => previous.uuid), ['one', 'two']);
});

test('is iterated, and ends', async () => {
    const { connection, view, take } = viewing();
    const seen = [];
    const loop = (async () => {
        for await (const { message } of view) seen.push(message.message.text);
    })();
    take(posted('one'));
    take(posted('two'));
    view.close();
    await loop;
    take(posted('three'));
    connection.tell('connect', answer([posted('four')]));
    assert.deepEqual([seen, texts(view)], [['one', 'two'], ['one', 'two']]);
});
