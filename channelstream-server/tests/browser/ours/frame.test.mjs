// The frame of all pages: the same places in the same order, and one left edge.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { signIn } from '../stage/admin.mjs';
import { Server } from '../stage/server.mjs';

const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const server = await Server.start();
after(async () => {
    await browser.close();
    await server.stop();
});

for (const width of [1600, 1280, 390]) {
    test(`all pages are in one frame, at ${width} px`, { timeout: 60_000 }, async () => {
        const context = await browser.newContext({ viewport: { width, height: 800 } });
        const page = await context.newPage();
        const seen = {};
        const look = async (path) => {
            await page.goto(`http://${server.address}${path}`);
            await page.getByRole('heading', { level: 1 }).waitFor();
            seen[path] = await page.evaluate(() => ({
                places: [...document.querySelectorAll('.bar nav a')].map((link) => link.textContent).slice(0, 3).join(),
                // Of the words, whatever box they stand in.
                edges: [...new Set(['.brand', 'h1'].map((name) => Math.round(document.querySelector(name).getBoundingClientRect().left)))],
                style: getComputedStyle(document.querySelector('.bar')).borderBottomWidth,
            }));
        };
        for (const path of ['/', '/admin/sign_in', '/no/such/page', '/openapi.json']) await look(path);
        await page.goto(`http://${server.address}/admin/sign_in`);
        await signIn(page);
        await page.waitForURL('**/admin');
        for (const path of ['/admin', '/api-explorer']) await look(path);
        const first = seen['/'];
        assert.equal(first.places, 'Tutorial,Admin,API explorer');
        assert.equal(first.edges.length, 1, JSON.stringify(first));
        for (const [path, found] of Object.entries(seen)) assert.deepEqual(found, first, path);
        // The way back leads somewhere.
        await page.goto(`http://${server.address}/no/such/page`);
        await page.getByRole('link', { name: 'Go to the tutorial' }).click();
        await page.waitForURL(`http://${server.address}/`);
        await context.close();
    });
}
