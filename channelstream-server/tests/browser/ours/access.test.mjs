// Every page, light and dark, on a desk and on a phone: axe-core finds nothing, nothing is wider than the
// window, nothing goes wrong, and nobody else is asked.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { live, signIn } from '../stage/admin.mjs';
import { Program } from '../stage/program.mjs';
import { PROGRAM, Server } from '../stage/server.mjs';
import { setStage } from '../stage/stage.mjs';
import { openWatched } from '../stage/watched.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const { server, browser } = await setStage();
const CHANNELSTREAM_URL = `http://${server.address}`;
const chat = await Program.start(() => [join(dirname(PROGRAM), 'examples', 'chat')], { CHANNELSTREAM_URL });
const guarded = await Server.start({ secret: 'of its own' });
after(() => Promise.all([chat.stop(), guarded.stop()]));

// Something to see, and markup in all names.
const MARKUP = '<img src=x onerror=alert(1)>';
await server.call('POST', '/connect', {
    username: `ann ${MARKUP}`,
    channels: [`news ${MARKUP}`, 'a-channel-with-a-name-that-is-too-long-for-a-phone'],
    user_state: { mood: MARKUP },
    state_public_keys: ['mood'],
    channel_configs: { [`news ${MARKUP}`]: { store_history: true, notify_presence: true } },
});
await server.publish({ user: 'editor', channel: `news ${MARKUP}`, message: { text: MARKUP } });

/** Unfolds everything. */
const unfold = (page) => page.evaluate(() => document.querySelectorAll('details').forEach((one) => (one.open = true)));

const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

/** A view of the admin page, in which something has to be seen. */
const admin = (view, seen) => ({
    path: '/admin/sign_in',
    async prepare(page) {
        await signIn(page);
        await page.waitForURL('**/admin');
        await live(page);
        await page.evaluate((view) => (location.hash = view), view);
        await seen(page);
        await unfold(page);
    },
});

const NEWS = `#channels/${encodeURIComponent(`news ${MARKUP}`)}`;

const ADMIN = {
    "the admin page's overview": admin('#overview', (page) => page.locator('.chart-value').first().waitFor()),
    "the admin page's channels": admin('#channels', (page) => page.getByRole('option', { name: 'a-channel-with' }).waitFor()),
    'a channel on the admin page': admin(NEWS, async (page) => {
        await page.getByRole('tab', { name: 'Settings' }).click();
        await page.getByLabel('Keep messages in the history').waitFor();
    }),
    'the history on the admin page': admin(NEWS, async (page) => {
        await page.getByRole('tab', { name: 'History' }).click();
        await page.locator('#history li').first().waitFor();
    }),
    'an action on the admin page': admin(NEWS, async (page) => {
        await page.getByRole('button', { name: 'Send a message' }).click();
        await page.getByRole('dialog').getByLabel('From').waitFor();
    }),
    'a user on the admin page': admin(`#users/${encodeURIComponent(`ann ${MARKUP}`)}`, (page) => page.locator('#user').getByText('mood').first().waitFor()),
    'slow listeners on the admin page': admin('#slow', (page) => page.locator('#view-slow').waitFor()),
};

/** Each page: its address, how it comes to show much, and which errors its browser has to log. */
const PAGES = {
    'the tutorial': {
        path: '/',
        async prepare(page) {
            await page.getByText('Listening on').waitFor();
            await press(page, 'Simulate /connect');
            await press(page, 'Send message');
            await page.getByText('Arrived after').waitFor();
            await press(page, 'Switch presence on');
            await press(page, 'Connect a traveller');
            await press(page, 'Close the lid');
            await page.fill('#send-message', 'no JSON');
            await press(page, 'Send message');
            await unfold(page);
        },
    },
    'the tutorial that is only read': {
        address: guarded.address,
        path: '/',
        prepare: (page) => page.getByText('The buttons are switched off').waitFor(),
    },
    'what is not there': { path: '/no/such/page', prepare: (page) => page.getByRole('heading', { name: 'Not Found' }).waitFor(), errors: /status of 404/ },
    'what is refused': { path: '/openapi.json', prepare: (page) => page.getByRole('heading', { name: 'Forbidden' }).waitFor(), errors: /status of 403/ },
    'the sign-in page': { path: '/admin/sign_in', prepare: (page) => page.getByLabel('User name').waitFor() },
    'the sign-in page after a refusal': {
        path: '/admin/sign_in',
        async prepare(page) {
            await page.fill('#username', MARKUP);
            await page.fill('#password', 'wrong');
            await press(page, 'Sign in');
            await page.getByRole('alert').waitFor();
        },
        errors: /status of 40[013]/,
    },
    ...ADMIN,
    'the API explorer': {
        path: '/admin/sign_in',
        async prepare(page) {
            await signIn(page);
            await page.waitForURL('**/admin');
            await page.goto(`http://${server.address}/api-explorer`);
            await page.getByText('/channel_config').first().waitFor();
            await unfold(page);
        },
    },
    'the chat': {
        address: chat.address,
        path: '/',
        async prepare(page) {
            await page.getByLabel('Your name').fill('ann');
            await press(page, 'Enter');
            await page.getByText('connected').waitFor();
            await page.getByLabel('Message', { exact: true }).fill(`${MARKUP} ${'long'.repeat(50)}`);
            await press(page, 'Send');
            await page.locator('#log li').last().getByRole('button', { name: 'Edit' }).click();
            await page.locator('#people button').first().click();
            await page.getByLabel('Message', { exact: true }).fill('to myself');
            await press(page, 'Send');
            await page.locator('#log li').first().waitFor();
            await press(page, '# lobby');
        },
    },
    'the sign-in of the chat': { address: chat.address, path: '/', prepare: (page) => page.getByLabel('Your name').waitFor() },
};

/** What axe-core finds: in all rules, or in some. */
async function violations(page, rules) {
    const options = { resultTypes: ['violations'], ...(rules && { runOnly: rules }) };
    const found = await page.evaluate((options) => window.axe.run(document, options), options);
    return found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 200)).join(' ')}`);
}

for (const [name, { address = server.address, path, prepare, errors }] of Object.entries(PAGES)) {
    for (const width of [1280, 360]) {
        test(`${name} is for everybody, at ${width} px`, { timeout: 90_000 }, async () => {
            const view = { viewport: { width, height: 740 }, colorScheme: 'light', hosts: [address, server.address] };
            const { page, leave } = await openWatched(browser, `http://${address}${path}`, view);
            await prepare(page);
            await page.evaluate(axe);
            assert.deepEqual(await violations(page), []);
            // Of the colors alone there are two sets.
            await page.emulateMedia({ colorScheme: 'dark' });
            assert.deepEqual(await violations(page, ['color-contrast']), [], 'dark');
            const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
            assert.ok(content <= window, `${content} px in ${window}`);
            assert.equal(await page.locator('img').count(), 0, 'markup was taken for such');
            await leave(errors);
        });
    }
}
