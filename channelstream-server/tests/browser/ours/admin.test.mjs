// The admin page in a browser: signing in, live updates, actions, and a lost server.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { live, openAdmin, says, signIn } from '../stage/admin.mjs';
import { HttpProxy } from '../stage/http_proxy.mjs';
import { Server, sign } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';

const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const server = await Server.start({ gc_conns_after: 600 });
after(async () => {
    await browser.close();
    await server.stop();
});

const MARKUP = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"\'&amp;';

const connect = (username, channels, more) => server.call('POST', '/connect', { username, channels, ...more });
const info = async (channel) =>
    (await server.call('POST', '/info', { info: { channels: [channel] } })).channels[channel];
const open = (path, options) => openAdmin(browser, server, path, options);

test('signing in: what was wrong, the name kept, back to the wanted page', { timeout: 60_000 }, async () => {
    const { page, leave } = await openAdmin(browser, server, '/api-explorer');
    await page.waitForURL('**/api-explorer');
    await page.getByRole('link', { name: 'Sign out' }).click();
    await page.waitForURL('**/admin/sign_in');
    await signIn(page, 'wrong');
    await page.getByRole('alert').getByText('is not right').waitFor();
    assert.equal(await page.getByLabel('User name').inputValue(), 'admin');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'password');
    assert.equal(await page.getByLabel('Password').getAttribute('autocomplete'), 'current-password');
    await page.getByLabel('Password').fill('admin_secret');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/admin');
    await live(page);
    await leave();
});

test('the overview moves by itself', { timeout: 60_000 }, async () => {
    const { page, leave } = await open('/admin');
    await live(page);
    await says(page, 'server-line', 'Version');
    const value = (name) => page.locator('.chart-card', { hasText: name }).locator('.chart-value').innerText();
    await connect('overview-user', ['overview']);
    await server.publish({ user: 'x', channel: 'overview', message: {} });
    await until(async () => /^[1-9]/.test(await value('Deliveries')) || /^0\.\d/.test(await value('Deliveries')), 'the delivery is seen');
    await until(async () => (await value('Deliveries')) === '0/s', 'the rate falls again');
    assert.match(await value('Memory'), /MB/);
    const path = await page.locator('.chart-line').first().getAttribute('d');
    await until(async () => (await page.locator('.chart-line').first().getAttribute('d')) !== path, 'the line grows');
    assert.match(await page.locator('.chart').nth(1).getAttribute('aria-label'), /deliveries: peak/i);
    await leave();
});

test('settings are read again, and the page says what came of it', { timeout: 60_000 }, async () => {
    const { page, leave } = await open('/admin');
    await live(page);
    await page.getByRole('button', { name: 'Reload settings' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Reload' }).click();
    await page.locator('#done', { hasText: 'No setting that counts now has changed.' }).waitFor();
    assert.equal(await dialog.isVisible(), false);
    await leave();
});

test('webhooks: the receiver, and each attempt with its answer', { timeout: 60_000 }, async () => {
    // It takes the second attempt only.
    const statuses = [503, 204];
    const receiver = createServer((request, response) => {
        request.resume();
        response.writeHead(statuses.shift() ?? 204).end();
    });
    receiver.listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    const own = await Server.alone({
        webhook_url: `http://127.0.0.1:${receiver.address().port}/hooks?key=confidential`,
        webhook_secret: `whsec_${Buffer.alloc(24, 1).toString('base64')}`,
        webhook_events: 'channel.occupied',
    });
    try {
        const { page, leave } = await openAdmin(browser, own, '/admin#webhooks');
        await live(page);
        await says(page, 'webhooks-line', 'takes the webhooks. 0 webhooks wait.');
        await own.call('POST', '/connect', { username: 'ann', channels: [MARKUP] });
        const rows = page.locator('#webhooks-rows tr');
        await rows.nth(1).waitFor();
        await says(page, 'webhooks-line', 'takes the webhooks. 0 webhooks wait.');
        const texts = await rows.allInnerTexts();
        assert.ok(texts.every((text) => text.includes('channel.occupied') && text.includes(MARKUP)), texts.join());
        assert.deepEqual(await page.locator('#webhooks-rows td.bad').allInnerTexts(), ['503']);
        assert.ok(!(await page.content()).includes('confidential'));
        assert.equal(await page.evaluate(() => window.hacked), undefined);
        await leave();
    } finally {
        await own.stop();
        receiver.close();
    }
});

test('a channel: live, history, members, settings', { timeout: 90_000 }, async () => {
    await connect('alice', ['room one'], { channel_configs: { 'room one': { notify_presence: true } } });
    const { page, leave } = await open('/admin#channels');
    await live(page);
    await page.getByLabel('Search').first().fill('ROOM O');
    await page.getByRole('option', { name: /room one/ }).click();
    assert.equal(new URL(page.url()).hash, '#channels/room%20one');
    await says(page, 'channel-line', '1 user, 1 connection');

    await server.publish({ user: 'bob', channel: 'room one', message: { text: 'is seen live' } });
    await page.locator('#events li', { hasText: 'is seen live' }).waitFor();
    await connect('carol', ['room one']);
    await page.locator('#events li', { hasText: 'joined' }).waitFor();
    await says(page, 'channel-line', '2 users');
    await page.locator('#events summary', { hasText: 'is seen live' }).click();
    await page.locator('#events pre', { hasText: '"type": "message"' }).waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await server.publish({ user: 'bob', channel: 'room one', message: { text: 'in the pause' } });
    await says(page, 'events-line', 'Paused');
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.locator('#events li', { hasText: 'in the pause' }).waitFor();
    assert.equal(await page.locator('#events li', { hasText: 'is seen live' }).count(), 1, 'nothing twice');

    await page.getByRole('tab', { name: 'Settings' }).click();
    await page.getByLabel('Keep messages in the history').check();
    await page.getByLabel('Number of messages in the history').fill('5');
    await page.getByLabel('Seconds until messages and events leave').fill('3600');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('dialog').getByText('history_size: 10 → 5').waitFor();
    await page.getByRole('dialog').getByText('history_ttl: 0 → 3600. What is older than history_ttl leaves at once').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Change' }).click();
    await says(page, 'done', 'settings were changed');
    const { settings } = await info('room one');
    assert.deepEqual([settings.store_history, settings.history_size, settings.notify_presence], [true, 5, true]);
    assert.equal(settings.history_ttl, 3600);
    await page.waitForSelector('#settings-save:disabled');
    // What others change is seen, too.
    await server.call('POST', '/channel_config', { 'room one': { ...settings, history_size: 7 } });
    await until(async () => (await page.getByLabel('Number of messages in the history').inputValue()) === '7', 'the new size');

    await page.getByRole('tab', { name: 'History' }).click();
    await says(page, 'history-line', 'No messages are stored yet');
    await page.getByRole('button', { name: 'Send a message' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('It goes to 2 users, 2 connections.').waitFor();
    await dialog.getByLabel('From').fill('operator');
    await dialog.getByLabel('Message (a JSON object)').fill('["no object"]');
    await dialog.getByRole('button', { name: 'Send' }).click();
    await dialog.getByRole('alert').getByText('is a JSON object').waitFor();
    await dialog.getByLabel('Message (a JSON object)').fill('{"text": "from the page"}');
    await dialog.getByRole('button', { name: 'Send' }).click();
    await page.locator('#history li', { hasText: 'from the page' }).waitFor();

    await page.getByRole('button', { name: 'Edit' }).click();
    await dialog.getByLabel('Message (a JSON object)').fill('{"text": "corrected"}');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.locator('#history li', { hasText: 'corrected' }).waitFor();
    await page.locator('#history li', { hasText: 'edited' }).waitFor();

    await page.getByRole('button', { name: 'Delete' }).click();
    await dialog.getByText('cannot be undone').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel', 'not done by Enter');
    await page.keyboard.press('Enter');
    assert.equal((await info('room one')).history.length, 1, 'cancelled');
    await page.getByRole('button', { name: 'Delete' }).click();
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.locator('#history li').waitFor({ state: 'detached' });
    assert.equal((await info('room one')).history.length, 0);

    await page.getByRole('tab', { name: /Members/ }).click();
    await page.locator('#member-list').getByRole('option', { name: /carol/ }).click();
    await says(page, 'user-name', 'carol');
    await leave();
});

test('an edit leaves what nobody touched digit for digit', { timeout: 60_000 }, async () => {
    const channel = 'digits';
    const message = '{"id": 9007199254740993, "big": 123456789012345678901234567890, "e": 1E400, "zero": -0, "z": 1.0, "z": 0.10, "a": "\\u00e9", "text": "tpyo"}';
    const post = (method, body) => fetch(`http://${server.address}/message`, {
        method, headers: { 'content-type': 'application/json', 'x-channelstream-secret': sign('/message') }, body,
    });
    await connect('reader', [channel], { channel_configs: { [channel]: { store_history: true } } });
    assert.equal((await post('POST', `[{"user": "bob", "channel": "${channel}", "message": ${message}}]`)).status, 200);
    const stored = async () => {
        const body = JSON.stringify({ info: { channels: [channel] } });
        const answer = await server.request('POST', '/info', JSON.parse(body), sign('/info'));
        return answer.text();
    };
    assert.ok((await stored()).includes(message));
    const { page, leave } = await open(`/admin#channels/${channel}`);
    await live(page);
    await page.locator('#events li', { hasText: '9007199254740993' }).waitFor();
    await page.locator('#events summary').first().click();
    await page.locator('#events pre', { hasText: '"e": 1E400' }).waitFor();
    await page.getByRole('tab', { name: 'History' }).click();
    await page.locator('#history pre', { hasText: '123456789012345678901234567890' }).waitFor();
    await page.getByRole('button', { name: 'Edit' }).click();
    const dialog = page.getByRole('dialog');
    const editor = dialog.getByLabel('Message (a JSON object)');
    assert.equal(await editor.inputValue(), message, 'as it is stored');
    // Nobody is told of an edit that changes nothing.
    await dialog.getByRole('button', { name: 'Save' }).click();
    await says(page, 'done', 'Nothing was changed');
    assert.equal((await stored()).includes('"edited":null'), true);
    await page.getByRole('button', { name: 'Edit' }).click();
    await editor.fill(message.replace('tpyo', 'typo'));
    await dialog.getByRole('button', { name: 'Save' }).click();
    await says(page, 'done', 'was edited');
    assert.ok((await stored()).includes(message.replace('tpyo', 'typo')), await stored());
    // So does what is sent.
    await page.getByRole('button', { name: 'Send a message' }).click();
    await editor.fill('{"typed": 9007199254740995.0}');
    await dialog.getByRole('button', { name: 'Send' }).click();
    await says(page, 'done', 'was sent');
    assert.ok((await stored()).includes('{"typed": 9007199254740995.0}'), await stored());
    await leave();
});

test('charts begin with what was before the page', { timeout: 60_000 }, async () => {
    const older = await Server.start();
    try {
        await until(async () => {
            const { uptime } = await older.call('POST', '/admin/admin.json', {});
            return Number.parseFloat(String(uptime).split(':').at(-1)) >= 4;
        }, 'the server runs for some seconds');
        const { page, leave } = await openAdmin(browser, older, '/admin');
        await live(page);
        const points = async () => (await page.locator('.chart-line').first().getAttribute('d'))?.split('L').length ?? 0;
        await page.locator('.chart-line[d]').first().waitFor({ state: 'attached' });
        assert.ok((await points()) >= 4, `${await points()} points at once`);
        // A page that is loaded again loses nothing, and draws nothing twice.
        const before = await points();
        await page.reload();
        await live(page);
        await page.locator('.chart-line[d]').first().waitFor({ state: 'attached' });
        assert.ok((await points()) >= before, `${await points()} after ${before}`);
        await leave();
    } finally {
        await older.stop();
    }
});

test('events say when they happened, not when they are looked at', { timeout: 60_000 }, async () => {
    await connect('reader', ['clock']);
    await server.publish({ user: 'bob', channel: 'clock', message: { text: 'long ago' }, timestamp: '2024-05-06T07:08:09.250000' });
    const { page, leave } = await open('/admin#channels/clock', { timezoneId: 'America/New_York', locale: 'en-GB' });
    await live(page);
    const time = page.locator('#events li', { hasText: 'long ago' }).locator('time');
    await time.waitFor();
    assert.match(await time.innerText(), /^06\/05\/2024, 03:08:09$/);
    assert.match(await time.getAttribute('title'), /^2024-05-06T07:08:09/);
    await leave();
});

test('a user: state, connections, a private message, disconnecting', { timeout: 60_000 }, async () => {
    const ids = [];
    for (const channel of ['first', 'second']) {
        const state = { user_state: { mood: 'fine', code: 'secret' }, state_public_keys: ['mood'] };
        ids.push((await connect('dave', [channel], state)).conn_id);
    }
    const { page, leave } = await open('/admin#users/dave');
    await says(page, 'user-line', '2 connections');
    await says(page, 'user-state', '"mood":"fine"');
    await says(page, 'user-keys', 'Public keys: mood');
    await page.locator('#user-connections li', { hasText: ids[1] }).getByRole('link', { name: 'second' }).waitFor();
    await page.getByRole('button', { name: 'Send a private message' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Message (a JSON object)').fill('{"text": "psst"}');
    await dialog.getByRole('button', { name: 'Send' }).click();
    await says(page, 'done', 'was sent');
    await says(page, 'user-line', '1 private event stored');
    await page.getByRole('button', { name: `Disconnect ${ids[0]}` }).click();
    await dialog.getByRole('button', { name: 'Disconnect' }).click();
    await says(page, 'user-line', '1 connection ');
    assert.equal((await info('first')).total_connections, 0);
    assert.equal((await info('second')).total_connections, 1);
    const another = (await connect('dave', [])).conn_id;
    await page.locator('#user-connections li', { hasText: another }).waitFor();
    await page.getByRole('button', { name: 'Disconnect all' }).click();
    await dialog.getByRole('button', { name: 'Disconnect' }).click();
    await says(page, 'user-more', 'Not connected.');
    await page.goto(`http://${server.address}/admin#users/nobody%20at%20all`);
    await page.getByText('This user is not known').waitFor();
    await leave();
});

test('markup in names, states and messages stays text', { timeout: 60_000 }, async () => {
    const settings = { store_history: true, notify_presence: true, notify_state: true };
    const channel = `${MARKUP} channel`;
    const user = `${MARKUP} user`;
    await connect(user, [channel], {
        user_state: { [MARKUP]: MARKUP },
        state_public_keys: [MARKUP],
        channel_configs: { [channel]: settings },
    });
    await server.publish({ user, channel, message: { [MARKUP]: MARKUP }, pm_users: [user] });
    const { page, leave } = await open('/admin#channels');
    await live(page);
    await page.getByLabel('Search').first().fill('onerror');
    await page.locator('#channel-list').getByRole('option').filter({ hasText: 'onerror' }).click();
    await says(page, 'channel-name', channel);
    await page.locator('#events li', { hasText: MARKUP }).first().waitFor();
    await page.locator('#events summary').first().click();
    for (const tab of ['History', 'Members', 'Settings']) await page.getByRole('tab', { name: tab }).click();
    await page.getByRole('tab', { name: 'History' }).click();
    await page.locator('#history li', { hasText: `only for ${user}` }).waitFor();
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Send a message' }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('tab', { name: /Members/ }).click();
    await page.locator('#member-list').getByRole('option').click();
    await says(page, 'user-name', user);
    await says(page, 'user-state', 'onerror');
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    assert.equal(await page.locator('main img, main script').count(), 0);
    await leave();
});

test('a phone, light and dark: nothing is wider than it', { timeout: 90_000 }, async () => {
    await connect('a-user-with-a-very-long-name-that-goes-on-and-on-and-on', ['a/channel/with/a/very/long/name/that/goes/on']);
    for (const colorScheme of ['light', 'dark']) {
        const { page, leave } = await open('/admin', { viewport: { width: 360, height: 700 }, colorScheme });
        await live(page);
        for (const [hash, ready] of [
            ['overview', '#charts'], ['channels', '#channel-list [role=option]'],
            ['channels/a%2Fchannel%2Fwith%2Fa%2Fvery%2Flong%2Fname%2Fthat%2Fgoes%2Fon', '#channel-view'],
            ['users', '#user-list [role=option]'],
            ['users/a-user-with-a-very-long-name-that-goes-on-and-on-and-on', '#user-view'], ['slow', '#slow-line'],
        ]) {
            await page.evaluate((hash) => { location.hash = hash; }, hash);
            await page.locator(ready).first().waitFor();
            const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
            assert.ok(content <= window, `${hash}: ${content} px in ${window}, ${colorScheme}`);
        }
        await page.getByRole('link', { name: 'Channels' }).first().click();
        await page.locator('#channel-list').getByRole('option').first().click();
        await page.getByRole('link', { name: 'All channels' }).click();
        await page.locator('#channel-list').getByRole('option').first().waitFor();
        await leave();
    }
});

test('by keyboard alone', { timeout: 60_000 }, async () => {
    for (const name of ['key-a', 'key-b', 'key-c']) await connect('kim', [name]);
    const { page, leave } = await open('/admin#channels');
    await live(page);
    await page.getByLabel('Search').first().focus();
    await page.keyboard.type('key-');
    await says(page, 'channel-count', '3 of');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'listbox');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowUp');
    const active = () => page.evaluate(() => {
        const id = document.activeElement.getAttribute('aria-activedescendant');
        return document.getElementById(id)?.textContent;
    });
    assert.match(await active(), /^key-b/);
    await page.keyboard.press('Enter');
    await says(page, 'channel-name', 'key-b');
    await page.getByRole('tab', { name: 'Live' }).focus();
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.getByRole('tab', { selected: true }).innerText().then((text) => text.split('\n')[0].trim()), 'History 0');
    await leave();
});

test('the page reports the end of a session, and continues after a sign-in elsewhere', { timeout: 60_000 }, async () => {
    const { page, context, leave } = await open('/admin#users');
    await live(page);
    const other = await context.newPage();
    await other.goto(`http://${server.address}/admin/sign_out`);
    await other.close();
    await page.bringToFront();
    await page.evaluate(() => dispatchEvent(new Event('focus')));
    await page.locator('#signed-out').waitFor();
    await says(page, 'pulse-text', 'signed out');
    const again = await context.newPage();
    await again.goto(`http://${server.address}/admin/sign_in`);
    await signIn(again);
    await live(again);
    await again.close();
    await live(page);
    await page.locator('#signed-out').waitFor({ state: 'hidden' });
    assert.equal(new URL(page.url()).hash, '#users');
    // The notice's own link leads back to the same view.
    await context.clearCookies();
    await page.evaluate(() => dispatchEvent(new Event('focus')));
    await page.locator('#signed-out').getByRole('link').click();
    await signIn(page);
    await live(page);
    assert.equal(new URL(page.url()).hash, '#users');
    await leave();
});

test('a server that goes and comes back', { timeout: 90_000 }, async () => {
    const lasting = await Server.start({ cookie_secret: 'one that outlives the process' });
    try {
        const { page, leave } = await openAdmin(browser, lasting, '/admin#channels/room');
        await live(page);
        await page.getByText('This channel does not exist').waitFor();
        await lasting.stop('SIGTERM');
        await page.locator('#gone').waitFor();
        await says(page, 'pulse-text', 'not connected');
        await lasting.start();
        await live(page);
        await page.locator('#gone').waitFor({ state: 'hidden' });
        await says(page, 'restarted-text', 'was restarted');
        await lasting.call('POST', '/connect', { username: 'ann', channels: ['room'] });
        await says(page, 'channel-line', '1 user');
        await leave({ brokenNetwork: true });
    } finally {
        await lasting.stop();
    }
});

test('a proxy that does not pass on host and port is named', { timeout: 60_000 }, async () => {
    const proxy = await HttpProxy.to(server);
    // As over plain http from elsewhere: browsers tell no more than the origin then.
    proxy.changed = ({ 'sec-fetch-site': _, ...headers }) => ({ ...headers, host: 'inner.test' });
    // The cookie is the host's, whatever the port.
    const { page, context } = await open('/admin');
    await live(page);
    await page.goto(`http://${proxy.address}/admin`);
    await page.locator('#refused').waitFor();
    await says(page, 'refused-why', `the page is of http://${proxy.address}, but the request is for inner.test`);
    assert.equal(await page.locator('#blocked').isVisible(), false);
    await context.close();
    proxy.close();
});
