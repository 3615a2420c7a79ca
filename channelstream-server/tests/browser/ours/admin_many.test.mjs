// The admin page with ten thousand channels: they are found, sorted and scrolled without all of them.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { live, openAdmin, says } from '../stage/admin.mjs';
import { channelOf } from '../stage/crowd.mjs';
import { Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';

const COUNT = 10_000;

const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const server = await Server.start({ gc_conns_after: 3600 });
after(async () => {
    await browser.close();
    await server.stop();
});

test('ten thousand channels', { timeout: 120_000 }, async () => {
    for (let begin = 0; begin < COUNT; begin += 2_000) {
        const names = Array.from({ length: 2_000 }, (_, index) => [channelOf(begin + index), {}]);
        await server.call('POST', '/channel_config', Object.fromEntries(names));
    }
    await server.call('POST', '/connect', { username: 'one more', channels: [channelOf(7654)] });
    const { page, leave } = await openAdmin(browser, server, '/admin#channels');
    await live(page);
    await says(page, 'channel-count', '10,000 channels');
    const rows = page.locator('#channel-list [role="option"]');
    const inView = async () => {
        const texts = await rows.locator('.row-name').allInnerTexts();
        return texts.filter((text) => text !== '…').sort();
    };
    assert.equal((await inView())[0], channelOf(0));
    assert.ok((await rows.count()) < 60, 'only what is in view exists');

    // To the end, and to many places between, as fast as somebody drags.
    const list = page.locator('#channel-list [role="listbox"]');
    const scroll = (share) => list.evaluate((box, share) => { box.scrollTop = share * box.scrollHeight; }, share);
    for (let step = 1; step <= 40; step += 1) await scroll(step / 41);
    await scroll(1);
    await until(async () => (await inView()).at(-1) === channelOf(COUNT - 1), 'the last channel');
    assert.equal(await rows.last().getAttribute('aria-setsize'), String(COUNT));
    await scroll(0.5);
    await until(async () => (await inView()).includes(channelOf(COUNT / 2)), 'the middle');
    assert.ok((await rows.count()) < 60, 'only what is in view exists');
    // No frame takes long: the page stays at hand while it scrolls.
    const slowest = await list.evaluate(async (box) => {
        let slowest = 0;
        let last = performance.now();
        for (let step = 0; step < 60; step += 1) {
            box.scrollTop = (step * 7919 * 48) % box.scrollHeight;
            await new Promise((done) => requestAnimationFrame(done));
            slowest = Math.max(slowest, performance.now() - last);
            last = performance.now();
        }
        return slowest;
    });
    console.log(`slowest frame while scrolling through ${COUNT} channels: ${slowest.toFixed(0)} ms`);

    await page.getByLabel('Search').first().fill('765');
    await says(page, 'channel-count', 'of 10,000 channels');
    await until(async () => (await inView()).includes(channelOf(765)), 'those that were searched');
    assert.ok((await inView()).every((name) => name.includes('765')));
    await page.getByLabel('Search').first().fill('');
    await page.getByLabel('Order').first().selectOption('connections');
    await until(async () => (await rows.first().innerText()).startsWith(channelOf(7654)), 'the busiest first');
    await server.publish({ user: 'x', channel: channelOf(4321), message: {} });
    await page.getByLabel('Order').first().selectOption('active');
    await until(async () => (await rows.first().innerText()).startsWith(channelOf(4321)), 'the latest first');
    // Live: another becomes the latest while one looks.
    await server.publish({ user: 'x', channel: channelOf(1234), message: {} });
    await until(async () => (await rows.first().innerText()).startsWith(channelOf(1234)), 'the next latest');
    await leave();
});
