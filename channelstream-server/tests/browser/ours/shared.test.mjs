// One connection for all tabs of a browser.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { SharedConnection } from '../stage/client.mjs';
import { Fake } from '../stage/fake.mjs';
import { setStage } from '../stage/stage.mjs';
import { Tabs } from '../stage/tabs.mjs';
import { until } from '../stage/until.mjs';

const stage = await setStage({ launch: { ignoreDefaultArgs: ['--disable-back-forward-cache'] } });
const { application } = stage;
const options = { timeout: 90_000 };
const closing = [];
afterEach(async () => {
    const results = await Promise.allSettled(closing.splice(0).reverse().map(async (close) => close()));
    for (const { reason } of results.filter(({ status }) => status === 'rejected')) throw reason;
});

/** Tabs that share a connection with these settings. */
async function sharing(settings) {
    const tabs = await Tabs.of(stage, settings, true);
    closing.push(() => tabs.leave());
    return tabs;
}

async function fake() {
    const made = await Fake.open();
    closing.push(() => made.close());
    return made;
}

const streams = { transports: ['eventStream'], channels: ['a'] };

test('seven tabs have one connection, and a new tab gets what the others have', options, async () => {
    const push = await fake();
    push.more = { channels_info: { channels: { a: { history: [] } }, users: [] } };
    const browser = await sharing(push.settings(streams));
    const { tabs } = browser;
    for (let number = 0; number < 7; number += 1) {
        await browser.open();
        push.message(`number ${number}`);
        await browser.all((tab) => tab.hears(`number ${number}`));
    }
    assert.equal(push.listeners, 1);
    assert.deepEqual(push.asked.filter((url) => url === '/connect'), ['/connect']);
    assert.ok(await tabs[0].property('leads'));
    assert.equal(await browser.leader(), tabs[0]);
    const all = Array.from({ length: 7 }, (_, number) => `number ${number}`);
    for (const tab of tabs) {
        assert.deepEqual(await tab.get('told'), all);
        assert.deepEqual(await tab.get('connects'), ['1']);
        assert.equal(await tab.property('connectionId'), '1');
        assert.equal(await tab.property('cursor'), '00000001-7');
        assert.deepEqual(await tab.viewed(), all);
    }
});

for (const how of ['close', 'crash']) {
    test(`leaders go one after the other (${how}) in a stream of numbers: every tab has all, once, in order`, options, async () => {
        const push = await fake();
        const browser = await sharing(push.settings(streams));
        const { tabs } = browser;
        for (let number = 0; number < 7; number += 1) await browser.open();
        const sent = [];
        const send = setInterval(() => {
            sent.push(`number ${sent.length}`);
            push.message(sent.at(-1));
        }, 5);
        closing.push(() => clearInterval(send));
        for (let left = 6; left > 3; left -= 1) {
            const last = await browser.leader();
            await last.hears(sent.at(-1) ?? 'number 0');
            await browser.lose(last, how);
            await browser.leader();
            await browser.all((tab) => tab.opens());
            assert.equal(tabs.length, left);
            await until(() => push.listeners === 1, 'one listens');
        }
        clearInterval(send);
        push.message('the end');
        await browser.all((tab) => tab.hears('the end'));
        for (const tab of tabs) assert.deepEqual(await tab.get('told'), [...sent, 'the end']);
        assert.ok(sent.length > 50, 'many were sent meanwhile');
    });
}

test('a tab that wants another channel gets it; a subscribe of one tab is the subscribe of all', options, async () => {
    const push = await fake();
    const browser = await sharing(push.settings({ transports: ['eventStream'] }));
    const { tabs } = browser;
    await browser.open({ channels: ['a'] });
    await browser.open({ channels: ['a', 'b'] });
    const have = (channels) => async () => {
        const all = await browser.all((tab) => tab.property('channels'));
        return all.every((one) => one.join() === channels);
    };
    await until(have('a,b'), 'both have both');
    assert.equal(push.listeners, 1);
    await tabs[1].page.evaluate(() => window.connection.subscribe(['c']).then(() => null));
    assert.deepEqual(push.posted.at(-1), ['/subscribe', { channels: ['c'], conn_id: await tabs[0].property('connectionId') }]);
    await until(have('c,a'), 'both have what the server answered');
});

test('a channel that the application does not give is asked for once', options, async () => {
    const push = await fake();
    push.more = { channels: ['a'] };
    const browser = await sharing(push.settings({ transports: ['eventStream'], channels: ['a', 'secret'] }));
    await browser.open();
    await browser.open();
    await browser.open();
    assert.equal(push.asked.filter((url) => url === '/connect').length, 1);
});

test('the last tab that disconnects ends the connection; others hand over', options, async () => {
    const push = await fake();
    const browser = await sharing(push.settings(streams));
    const { tabs } = browser;
    await browser.open();
    const second = await browser.open();
    await browser.open();
    for (const tab of [tabs[0], second]) {
        await tab.page.evaluate(() => window.connection.disconnect().then(() => null));
        assert.equal(await tab.property('state'), 'closed');
        browser.forget(tab);
        assert.ok(!push.asked.some((url) => url.startsWith('/disconnect')));
    }
    const last = await browser.leader();
    await last.opens();
    push.message('one');
    await last.hears('one');
    await last.page.evaluate(() => window.connection.disconnect().then(() => null));
    assert.ok(push.asked.some((url) => url.startsWith('/disconnect')));
    // It can come back.
    await last.page.evaluate(() => window.connection.connect().then(() => null));
    await last.opens();
    push.message('two');
    await last.hears('two');
    assert.deepEqual(await last.get('told'), ['one', 'two']);
});

test('a leader whose page is put away hands over, and follows when the page is back', options, async () => {
    const push = await fake();
    const browser = await sharing(push.settings(streams));
    const first = await browser.open();
    const second = await browser.open();
    push.message('one');
    await browser.all((tab) => tab.hears('one'));
    await first.page.evaluate(() => window.addEventListener('pageshow', ({ persisted }) => (window.persisted = persisted)));
    await first.page.goto(`http://${application.address}/elsewhere`);
    browser.forget(first);
    assert.equal(await browser.leader(), second);
    await second.opens();
    push.message('two');
    await second.hears('two');
    await first.page.evaluate(() => history.back()).catch(() => {});
    await until(() => first.page.evaluate(() => 'persisted' in window).catch(() => false), 'the page is back');
    assert.equal(await first.get('persisted'), true, 'it was kept');
    await first.opens();
    push.message('three');
    await Promise.all([first, second].map((tab) => tab.hears('three')));
    assert.equal(await first.property('leads'), false);
    assert.equal(push.listeners, 1);
    assert.deepEqual(await second.get('told'), ['one', 'two', 'three']);
});

test('refused: each tab is told, none waits', options, async () => {
    const push = await fake();
    const browser = await sharing(push.settings(streams));
    await browser.open();
    await browser.open();
    push.instead['/connect'] = (response) => response.writeHead(403).end('{}');
    push.instead['/sse'] = (response) => response.writeHead(204).end();
    push.end();
    await until(async () => (await browser.all((tab) => tab.property('state'))).every((state) => state === 'closed'), 'all are closed');
});

test('the history is longer than what is kept: a new tab makes the leader connect anew', options, async () => {
    const push = await fake();
    const browser = await sharing(push.settings(streams));
    const { tabs } = browser;
    await browser.open();
    for (let number = 0; number < 600; number += 1) {
        push.message(`number ${number}`);
        // Each in a list of its own.
        await tabs[0].page.waitForFunction((count) => window.told.length > count, number, { polling: 5 });
    }
    assert.equal(push.asked.filter((url) => url === '/connect').length, 1);
    await browser.open();
    assert.equal(push.asked.filter((url) => url === '/connect').length, 2);
    assert.equal(push.listeners, 1);
    push.message('the end');
    await browser.all((tab) => tab.hears('the end'));
    assert.equal((await tabs[0].get('told')).length, 601);
});

test('without locks or broadcast channels each has its own connection', options, async () => {
    const push = await fake();
    const connections = [1, 2].map(() => new SharedConnection(push.settings(streams)));
    closing.push(() => connections.forEach((connection) => connection.close()));
    for (const connection of connections) await connection.connect();
    await until(() => push.listeners === 2, 'both listen');
    assert.deepEqual(connections.map(({ leads }) => leads), [false, false]);
    await connections[0].disconnect();
    assert.ok(push.asked.some((url) => url.startsWith('/disconnect')));
});


test('a leader that does not answer is replaced by the tab that is seen, and follows when it wakes', options, async () => {
    const push = await fake();
    const browser = await sharing(push.settings(streams));
    const first = await browser.open();
    const second = await browser.open();
    push.message('one');
    await browser.all((tab) => tab.hears('one'));
    // Suspended by the system, as far as others can see.
    const asleep = first.page.evaluate(() => {
        const end = Date.now() + 12_000;
        while (Date.now() < end);
    });
    push.message('two');
    await until(() => second.property('leads'), 'the other leads', 30_000);
    await second.hears('two');
    push.message('three');
    await second.hears('three');
    await asleep;
    await until(async () => !(await first.property('leads')), 'it leads no more');
    await until(() => push.listeners === 1, 'one listens');
    push.message('four');
    await browser.all((tab) => tab.hears('four'));
    assert.deepEqual(await second.get('told'), ['one', 'two', 'three', 'four']);
    assert.deepEqual((await first.viewed()).sort(), ['four', 'one', 'three', 'two']);
    assert.equal(await first.property('state'), 'open');
});
