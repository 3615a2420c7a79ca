// The API explorer in a browser: every call described, tried with the secret, ids carried on.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { openAdmin } from '../stage/admin.mjs';
import { Server } from '../stage/server.mjs';

const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const server = await Server.start();
after(async () => {
    await browser.close();
    await server.stop();
});

test('every call is described, and answers to a signature made in the page', { timeout: 90_000 }, async () => {
    const { page, leave } = await openAdmin(browser, server, '/api-explorer');
    await page.locator('#operations .operation').first().waitFor();
    const document = await server.call('GET', '/openapi-3.1.json');
    const wanted = Object.entries(document.paths).flatMap(([path, methods]) =>
        Object.entries(methods)
            .filter(([, { tags, responses }]) => tags[0] !== 'pages' && !responses[101])
            .map(([method]) => `${method.toUpperCase()} ${path}`),
    );
    const titles = await page.locator('#operations .operation > summary').allInnerTexts();
    const shown = titles.map((title) => title.split(/\s+/).slice(0, 2).join(' '));
    assert.deepEqual(shown.sort(), wanted.sort());

    await page.getByLabel("The server's setting secret").fill('secret');
    const run = async (title) => {
        const operation = page.locator('#operations .operation', { has: page.locator('.what', { hasText: title }) }).first();
        await operation.locator('> summary').click();
        await operation.getByRole('button', { name: 'Execute' }).click();
        await operation.getByText(/^200 OK,/).waitFor();
        return operation;
    };
    const connect = await run('Create a connection');
    await connect.locator('summary', { hasText: 'Fields of the body' }).click();
    await connect.getByText('string, 1 to 512 characters, required').waitFor();
    await connect.locator('summary', { hasText: 'Answers' }).click();
    await connect.locator('summary', { hasText: 'Fields of 200' }).click();
    await connect.getByText('channels_info.channels.*.settings.history_size').waitFor();
    // The id of that answer stands in the calls that want one.
    await run('Join more channels');
    await run('Change a user');
    await run('Send messages');
    await run('Edit messages');
    await run('Look at channels');
    const listen = await run('Wait for events by long poll');
    await listen.locator('summary', { hasText: 'Answers' }).click();
    await listen.locator('summary', { hasText: 'Fields of 200' }).click();
    await listen.getByText('[] presence.message.action').waitFor();
    // A stream does not end: what comes in the first seconds is shown.
    const stream = await run('event stream');
    await stream.getByText('retry: 3000').waitFor();
    await run('The old description');
    await page.getByLabel("The server's setting secret").fill('another');
    await connect.getByRole('button', { name: 'Execute' }).click();
    await connect.getByText(/^401 Unauthorized/).waitFor();
    // A refusal is logged by the browser itself.
    await leave({ refusals: true });
});

test('a phone: nothing is wider than it', { timeout: 60_000 }, async () => {
    const { page, leave } = await openAdmin(browser, server, '/api-explorer', { viewport: { width: 360, height: 700 } });
    await page.locator('#operations .operation').first().waitFor();
    for (const summary of await page.locator('#operations .operation > summary').all()) await summary.click();
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `${content} px in ${window}`);
    await leave();
});
