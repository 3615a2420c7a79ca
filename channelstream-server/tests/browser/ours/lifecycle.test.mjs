// A page that is put away, suspended, or outlives its server.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Guest } from '../stage/guest.mjs';
import { setStage } from '../stage/stage.mjs';
import { until } from '../stage/until.mjs';

const stage = await setStage({
    settings: { heartbeat_interval: 1, wake_connections_after: 1 },
    // The driver switches the back/forward cache off.
    launch: { ignoreDefaultArgs: ['--disable-back-forward-cache'] },
});
const { server, application } = stage;
const guests = [];
afterEach(async () => {
    for (const ann of guests.splice(0)) await ann.leave({ brokenNetwork: true });
});
const options = { timeout: 90_000 };

async function guest() {
    const ann = await Guest.open(stage);
    guests.push(ann);
    return ann;
}

const publish = (channel, text) => server.publish({ user: 'backend', channel, message: { text } });

for (const noWebsocket of [false, true]) {
    const transport = noWebsocket ? 'poll' : 'websocket';

    test(`away and back by the back/forward cache, over ${transport}`, options, async () => {
        const ann = await guest();
        const room = stage.room();
        await ann.connect(server.address, { channels: [room], noWebsocket, increaseBounceIv: 600_000 });
        await publish(room, 'before');
        await ann.seesText('before');
        await ann.page.evaluate(() => {
            window.shown = [];
            window.addEventListener('pageshow', ({ persisted }) => window.shown.push(persisted));
        });
        const mark = await ann.mark();
        await ann.page.goto(`http://${application.address}/elsewhere`);
        await publish(room, 'missed');
        // The driver waits for a load that a page out of the cache does not have.
        await ann.page.evaluate(() => history.back()).catch(() => {});
        await until(() => ann.page.evaluate(() => window.shown?.length === 1).catch(() => false), 'the page is back');
        assert.deepEqual(await ann.page.evaluate(() => window.shown), [true], 'it was kept');
        await until(() => ann.property('connected'), 'it listens again');
        await publish(room, 'afterwards');
        await ann.seesText('afterwards');
        // Caught up, or in the history of a new connection: never both.
        const connects = (await ann.notes(mark)).filter(({ name }) => name === 'connect');
        const history = connects.flatMap(({ told }) => told.data.channels_info.channels[room].history);
        const told = [...history.map(({ message }) => message.text).slice(1), ...(await ann.texts()).slice(1)];
        assert.deepEqual(told, ['missed', 'afterwards']);
    });
}

test('a suspended tab goes on where it was, and loses nothing', options, async () => {
    const ann = await guest();
    const room = stage.room();
    const id = await ann.connect(server.address, { channels: [room] });
    const beat = ({ name, told }) => name === 'listenMessage' && told.length === 0;
    await until(async () => (await ann.notes()).filter(beat).length > 2, 'heartbeats come');
    const mark = await ann.mark();
    await ann.page.evaluate(() => {
        window.longestPause = 0;
        let last = performance.now();
        setInterval(() => {
            window.longestPause = Math.max(window.longestPause, performance.now() - last);
            last = performance.now();
        }, 100);
    });
    // The driver's own freezing does not touch pages that are seen: its processes are stopped.
    const devtools = await stage.browser.newBrowserCDPSession();
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo');
    const pages = processInfo.filter(({ type }) => type === 'renderer');
    const signal = (name) => pages.forEach(({ id }) => process.kill(id, name));
    const texts = Array.from({ length: 20 }, (_, number) => `number ${number}`);
    const suspendedAt = Date.now();
    signal('SIGSTOP');
    try {
        for (const text of texts) await publish(room, text);
        // Longer than a silent line is trusted.
        await until(() => Date.now() > suspendedAt + 7000, 'time passes');
    } finally {
        signal('SIGCONT');
    }
    await ann.seesText(texts.at(-1));
    await publish(room, 'afterwards');
    await ann.seesText('afterwards');
    assert.ok((await ann.page.evaluate(() => window.longestPause)) > 6000, 'it was suspended');
    assert.deepEqual(await ann.texts(), [...texts, 'afterwards']);
    assert.equal(await ann.property('connectionId'), id);
    assert.ok(!(await ann.names(mark)).includes('listenClose'));
});

for (const signal of ['SIGKILL', 'SIGTERM']) {
    test(`the server ends by ${signal} and starts again`, options, async () => {
        const ann = await guest();
        const room = stage.room();
        const id = await ann.connect(server.address, { channels: [room] });
        const mark = await ann.mark();
        await server.stop(signal);
        await ann.hears('listenClose', { after: mark });
        await until(async () => (await ann.property('_currentBounceIv')) >= 100, 'the delay grows');
        await server.start();
        const { data } = await ann.hears('connect', { after: mark, limit: 30_000 });
        assert.notEqual(data.conn_id, id);
        assert.deepEqual(data.channels, [room]);
        await until(() => ann.property('connected'), 'it listens again');
        await publish(room, 'afterwards');
        await ann.seesText('afterwards');
        assert.equal(await ann.property('_currentBounceIv'), 0);
        assert.deepEqual(await ann.texts(), ['afterwards']);
    });
}

test('delays grow by steps, up to a minute, and are never quite the same', options, async () => {
    const ann = await guest();
    const delays = await ann.page.evaluate(() => {
        const connection = new window.client.ChannelStreamConnection();
        connection.increaseBounceIv = 7000;
        const delays = [];
        const { setTimeout } = window;
        window.setTimeout = (_, delay) => delays.push(delay);
        for (let attempt = 0; attempt < 12; attempt += 1) {
            connection.retryConnection();
            connection.closeConnection();
        }
        window.setTimeout = setTimeout;
        return delays;
    });
    assert.equal(delays.length, 12);
    for (const [attempt, delay] of delays.entries()) {
        const most = Math.min((attempt + 1) * 7000, 60_000);
        assert.ok(delay >= most / 2 && delay <= most, `${attempt}: ${delay}`);
    }
    // The last ones are all of the longest kind.
    assert.ok(new Set(delays.slice(-4)).size > 1, delays.join());
});
