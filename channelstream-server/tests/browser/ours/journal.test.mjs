// The journal and the servers on it, on the admin page: what each kind of journal has, and what is wrong.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { live, openAdmin, says } from '../stage/admin.mjs';
import { Server, freePort } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';

const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const folder = await mkdtemp(join(tmpdir(), 'channelstream-journal-'));
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
after(async () => {
    await browser.close();
    await rm(folder, { recursive: true });
});

const MARKUP = '<img src=x onerror="window.hacked=1">';

/** A Redis on a free port, with a password that must not be seen. */
async function startRedis() {
    const port = await freePort();
    const flags = ['--bind', '127.0.0.1', '--port', port, '--dir', folder, '--save', '', '--appendonly', 'no', '--requirepass', 'rosebud'];
    const child = spawn('redis-server', flags.map(String), { stdio: 'ignore' });
    process.once('exit', () => child.kill('SIGKILL'));
    await until(
        () => new Promise((done) => {
            const line = connect(port, '127.0.0.1');
            line.on('connect', () => line.destroy(done(true)));
            line.on('error', () => done(false));
        }),
        'Redis listens',
    );
    const stop = async () => {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    };
    return { port, url: `redis://:rosebud@127.0.0.1:${port}`, stop };
}

/** The facts of the journal that are shown, by their names. */
const factsOf = (page) => page.locator('#journal-facts > div:visible').evaluateAll((rows) =>
    Object.fromEntries(rows.map((row) => [...row.children].map((part) => part.textContent))));

/** The rows of servers, each as the texts of its cells. */
const serversOf = (page) => page.locator('#nodes-rows tr').evaluateAll((rows) =>
    rows.map((row) => [...row.children].map((cell) => cell.textContent)));

/** Checks what is shown on a desk and on a phone, light and dark. */
async function looksRight(page) {
    for (const [width, colorScheme] of [[1200, 'light'], [1200, 'dark'], [360, 'light'], [360, 'dark']]) {
        await page.setViewportSize({ width, height: 800 });
        await page.emulateMedia({ colorScheme });
        const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(content <= window, `${content} px in ${window}, ${colorScheme}`);
        await page.evaluate(axe);
        const found = await page.evaluate(() => globalThis.axe.run(document));
        assert.deepEqual(found.violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
    }
    await page.setViewportSize({ width: 1200, height: 800 });
}

test('of a journal in memory nothing is shown', { timeout: 60_000 }, async () => {
    const server = await Server.start();
    try {
        const { page, leave } = await openAdmin(browser, server);
        await live(page);
        await says(page, 'server-line', 'Version');
        for (const id of ['journal', 'nodes', 'journal-trouble']) {
            assert.equal(await page.locator(`#${id}`).isVisible(), false, id);
        }
        await leave();
    } finally {
        await server.stop();
    }
});

test('a journal in files: where it is, how far it is, and that a restart loses nothing', { timeout: 90_000 }, async () => {
    const directory = join(folder, MARKUP.replaceAll('/', ''));
    await mkdir(directory);
    const server = await Server.start({ journal: 'file', journal_dir: directory, cookie_secret: 'one that outlives the process' });
    try {
        const { page, leave } = await openAdmin(browser, server);
        await live(page);
        await page.locator('#journal').waitFor();
        const facts = await factsOf(page);
        assert.equal(facts.Kept, 'in files');
        assert.equal(facts.State, 'followed');
        assert.equal(facts.Directory, directory, 'as text');
        assert.equal(facts['On disk'], 'before each answer');
        assert.match(facts.Position, /^\d+-\d+$/);
        assert.deepEqual(Object.keys(facts).filter((name) => /Redis|Confirmed|Name/.test(name)), []);
        assert.equal(await page.locator('#nodes').isVisible(), false, 'one server has it for itself');
        await server.call('POST', '/connect', { username: 'ann', channels: ['room'] });
        await until(async () => (await factsOf(page)).Position !== facts.Position, 'the position moves');
        await looksRight(page);
        await server.stop('SIGTERM');
        await page.locator('#gone').waitFor();
        await server.start();
        await live(page);
        await says(page, 'restarted-text', 'was restarted. It goes on from its journal.');
        await says(page, 'count-channels', '1');
        assert.match((await factsOf(page))['Newest snapshot'], /at the start or before|ago/);
        assert.equal(await page.evaluate(() => window.hacked), undefined);
        await leave({ brokenNetwork: true });
    } finally {
        await server.stop();
    }
});

test('three servers on Redis: each with what is known of it, and what is wrong while it is', { timeout: 120_000 }, async () => {
    const redis = await startRedis();
    const settings = { journal: 'redis', redis_url: redis.url, redis_name: MARKUP.replaceAll(' ', '_') };
    const servers = await Promise.all([0, 1, 2].map(() => Server.start(settings)));
    try {
        const { page, leave } = await openAdmin(browser, servers[0]);
        await live(page);
        const compared = (rows) => rows.length === 3 && rows.filter((row) => row[4] === 'the same').length === 2;
        await until(async () => compared(await serversOf(page)), 'all states were compared');
        const rows = await serversOf(page);
        const own = rows.filter(([name]) => name.endsWith('this one'));
        assert.equal(own.length, 1);
        assert.deepEqual([own[0][2], own[0][3], own[0][4]], ['', '0', ''], 'of itself it knows the listeners');
        for (const [, alive, heard, listeners] of rows.filter((row) => row !== own[0])) {
            assert.match(alive, /^\d+ (s|min)/);
            assert.match(heard, /^(now|\d+ s ago)$/);
            assert.equal(listeners, '');
        }
        const facts = await factsOf(page);
        assert.equal(facts.Redis, `redis://127.0.0.1:${redis.port}`);
        assert.equal(facts.Name, settings.redis_name, 'as text');
        assert.equal(facts['Confirmed by'], 'Redis alone');
        assert.equal(facts['Redis is now at'], undefined, 'it is where the setting says');
        assert.equal((await page.content()).includes('rosebud'), false);
        await looksRight(page);
        assert.equal(await page.evaluate(() => window.hacked), undefined);

        await servers[2].stop('SIGTERM');
        await until(async () => (await serversOf(page)).length === 2, 'one that has left is gone');
        await page.goto(`http://${servers[0].address}/admin#users`);
        await redis.stop();
        await page.getByText('Redis is not reached. Until it is, this server accepts nothing.').waitFor();
        await page.goto(`http://${servers[0].address}/admin#overview`);
        await until(async () => (await factsOf(page)).State === 'Redis is not reached', 'the state says so too');
        await looksRight(page);
        await leave();
    } finally {
        await Promise.all(servers.map((server) => server.stop()));
        await redis.stop();
    }
});
