// The tutorial as a new user walks through it: every control, every tab.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';
import { openWatched } from '../stage/watched.mjs';

const server = await Server.start({ gc_conns_after: 3 });
const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
after(async () => {
    await browser.close();
    await server.stop();
});

/** Opens the page for a new user. */
async function open(options, address = server.address) {
    const { page, leave } = await openWatched(browser, `http://${address}/`, options);
    await page.waitForSelector('[data-ready]');
    return { page, leave };
}

const says = (page, id, text) =>
    page.waitForFunction(([id, text]) => document.getElementById(id).textContent.includes(text), [id, text]);

/** The lines of the feed, the newest first: type, text, receiver. */
const events = (page) => page.locator('#events > li > p').allInnerTexts();

async function receives(page, what) {
    await until(async () => (await events(page)).some((line) => what.test(line)), `an event like ${what}`);
}

/** Notes which controls are used, by their ids or texts. */
const noteControls = (page) =>
    page.evaluate(() => {
        window.used = new Set();
        const note = ({ target }) => {
            const control = target.closest?.('button, input, select, textarea, summary');
            if (control) window.used.add(control.id || control.textContent);
        };
        for (const type of ['click', 'input']) document.addEventListener(type, note, true);
    });

/** The controls that were not used. Tabs and copy buttons have tests of their own. */
const unusedControls = (page) =>
    page.evaluate(() => {
        const controls = document.querySelectorAll(':is(button:not([role=tab], .copy), input, select, textarea, summary)');
        return [...controls].map((one) => one.id || one.textContent).filter((name) => !window.used.has(name));
    });

test('a new user walks through all steps', { timeout: 120_000 }, async () => {
    const { page, leave } = await open();
    await noteControls(page);
    const another = await open();
    await says(page, 'listen-state', 'Listening on /tutorial-1');
    await says(another.page, 'listen-state', 'Listening on /tutorial-1');
    const me = await page.inputValue('#listen-user');

    // 1: the counter grows with each connection, and falls when they expire.
    assert.deepEqual([await page.inputValue('#connect-user'), await page.inputValue('#connect-channel')], ['someuser', '/tutorial-1']);
    const total = async () => Number(await page.textContent('#now-connections'));
    await until(async () => (await total()) === 2, 'both pages are counted');
    for (const count of [3, 4]) {
        await page.getByRole('button', { name: 'Simulate /connect' }).click();
        await says(page, 'now-connections', String(count));
        await says(page, 'connect-wire', `"total_connections": ${count}`);
        await says(page, 'connect-wire', '"conn_id"');
    }
    await says(page, 'now-users', 'someuser');
    await until(async () => (await total()) === 2, 'nobody listened on them');

    await page.fill('#connect-user', 'somebody else');
    await page.fill('#connect-channel', '/tutorial-2');
    await page.getByRole('button', { name: 'Simulate /connect' }).click();
    await says(page, 'now-users', 'somebody else');
    await page.fill('#connect-channel', '/tutorial-1');

    // 2: under another name, on another channel; stops and starts.
    await page.fill('#listen-user', 'myself');
    await page.fill('#listen-channel', '/tutorial-2');
    await page.getByRole('button', { name: 'Listen', exact: true }).click();
    await says(page, 'listen-state', 'Listening on /tutorial-2 as myself');
    await page.fill('#listen-user', me);
    await page.fill('#listen-channel', '/tutorial-1');
    await page.getByRole('button', { name: 'Stop' }).click();
    await says(page, 'listen-state', 'Not listening.');
    await page.getByRole('button', { name: 'Listen', exact: true }).click();
    await says(page, 'listen-state', 'Listening on /tutorial-1');

    // 3: to the channel, to one user, to all but one.
    await page.getByRole('button', { name: 'Send message' }).click();
    await says(page, 'send-arrival', 'Arrived after');
    await receives(page, /^message\s+system: This can serve as notification/);
    await receives(another.page, /^message\s+system: This can serve as notification/);
    assert.match(await page.textContent('#send-wire'), /"level": "warning"/);
    await page.selectOption('#send-to', 'user');
    await page.fill('#send-message', '{"text": "<b>for you</b>"}');
    await page.getByRole('button', { name: 'Send message' }).click();
    await receives(page, /system: <b>for you<\/b>\s+private/);
    await page.selectOption('#send-to', 'others');
    await page.fill('#send-message', '{"text": "not for you"}');
    await page.getByRole('button', { name: 'Send message' }).click();
    await receives(another.page, /not for you/);
    await page.fill('#send-message', 'no JSON');
    await page.getByRole('button', { name: 'Send message' }).click();
    await says(page, 'send-error', 'This is not JSON');
    assert.equal(await page.getAttribute('#send-message', 'aria-invalid'), 'true');
    await page.fill('#send-message', '{"text": "hello"}');
    await page.fill('#send-user', 'operator');
    await page.selectOption('#send-to', 'channel');
    await page.getByRole('button', { name: 'Send message' }).click();
    await receives(page, /operator: hello/);
    await says(page, 'edit-state', 'About the message');

    await page.getByText('as JSON').first().click();
    assert.match(await page.locator('#events pre').first().innerText(), /"text": "hello"/);

    // 4
    await page.fill('#edit-text', 'This was changed');
    await page.getByRole('button', { name: 'Edit' }).click();
    await receives(page, /^message:edit\s+now: This was changed/);
    await page.getByRole('button', { name: 'Delete' }).click();
    await receives(page, /^message:delete/);
    await page.waitForSelector('#edit-button:disabled');
    await page.waitForSelector('#delete-button:disabled');

    // 5
    await page.getByRole('button', { name: 'Switch presence on' }).click();
    await says(page, 'friend-state', 'now reports');
    await page.getByRole('button', { name: 'Bring in a friend' }).click();
    await says(page, 'friend-state', 'is here');
    await receives(page, /^presence\s+friend-\w+ joined/);
    await page.fill('#state-mood', 'curious');
    await page.getByRole('button', { name: 'Set the state' }).click();
    await receives(page, /^user_state_change\s+friend-\w+ is {"mood":"curious"}/);
    await receives(page, /^user_state_change[^]*to friend-/);
    await page.getByRole('button', { name: 'Let them go' }).click();
    await receives(page, /^presence\s+friend-\w+ parted/);

    // 6
    await page.getByRole('button', { name: 'Connect a traveller' }).click();
    await says(page, 'away-state', 'listens');
    await page.getByRole('button', { name: 'Close the lid' }).click();
    await page.getByRole('button', { name: 'Send while away' }).click();
    await says(page, 'away-state', 'Sent, and kept');
    assert.equal((await events(page)).some((line) => /while you were away[^]*to traveller/.test(line)), false);
    await page.getByRole('button', { name: 'Open the lid' }).click();
    await receives(page, /while you were away\s+catchup\s+to traveller/);

    // 7: the words come one by one; the second answer is interrupted.
    const answer = 'one two three four five';
    await page.fill('#answer-text', answer);
    await page.getByRole('button', { name: 'Ask the assistant' }).click();
    await page.waitForFunction(() => /^one two $/.test(document.getElementById('answer-grown').textContent));
    await says(page, 'answer-state', 'The message is done, after 6 changes.');
    assert.equal(await page.textContent('#answer-grown'), answer);
    assert.match(await page.textContent('#answer-wire'), /"status": "open"[^]*"taken": true/);
    // One line in the feed, however many words there are.
    await receives(another.page, /^message:append\s+done/);
    assert.equal((await events(another.page)).filter((line) => /^message:append/.test(line)).length, 1);
    await page.fill('#answer-text', 'word '.repeat(100));
    await page.getByRole('button', { name: 'Ask the assistant' }).click();
    await page.waitForSelector('#answer-cancel:enabled');
    await page.getByRole('button', { name: 'Interrupt' }).click();
    await says(page, 'answer-state', 'The assistant was told that the message is cancelled');
    await receives(another.page, /^message:append\s+cancelled/);
    assert.ok((await page.textContent('#answer-grown')).length < 500);

    await page.locator('#feed-heading').click();
    await page.locator('#events').waitFor({ state: 'hidden' });
    await page.locator('#feed-heading').click();
    await page.locator('#setup-heading').click();
    await page.getByText('A signature is any text and the time').waitFor();
    assert.deepEqual(await unusedControls(page), []);

    const received = (await events(page)).join('\n');
    assert.doesNotMatch(received, /not for you/, `${me} was excluded`);
    await another.leave();
    await leave();
});

test('the feed of events stays in view, beside the steps or at the bottom', { timeout: 60_000 }, async () => {
    for (const [width, height] of [[1280, 740], [390, 740]]) {
        const { page, leave } = await open({ viewport: { width, height } });
        await says(page, 'listen-state', 'Listening');
        for (const name of ['Simulate /connect', 'Send message', 'Edit', 'Switch presence on', 'Bring in a friend', 'Connect a traveller']) {
            const button = page.getByRole('button', { name, exact: true });
            await button.scrollIntoViewIfNeeded();
            await button.click();
            const feed = await page.locator('.feed').boundingBox();
            const seen = Math.min(feed.y + feed.height, height) - Math.max(feed.y, 0);
            assert.ok(seen >= 60 && seen >= feed.height - 1, `${name} at ${width}: the feed is at ${JSON.stringify(feed)}`);
            const place = await button.boundingBox();
            const covered = feed.x < place.x + place.width && feed.y < place.y + place.height && feed.y + feed.height > place.y;
            assert.equal(covered && feed.x + feed.width > place.x, false, `${name} at ${width} is covered`);
        }
        // What happens in a late step is seen there, in the window.
        await receives(page, /^presence\s+friend-\w+ joined/);
        const newest = await page.locator('#events > li').first().boundingBox();
        assert.ok(newest.y > 0 && newest.y + 20 < height, `${width}: ${JSON.stringify(newest)}`);
        const words = await page.locator('.intro').innerText();
        assert.match(words, width > 1000 ? /feed on the right/ : /feed at the bottom/);
        await leave();
    }
});

test('what is sent and shown keeps its digits', { timeout: 60_000 }, async () => {
    const { page, leave } = await open();
    await says(page, 'listen-state', 'Listening');
    await page.fill('#send-message', '{"id": 9007199254740993, "e": 1E400}');
    await page.getByRole('button', { name: 'Send message' }).click();
    await says(page, 'send-arrival', 'Arrived');
    const text = await page.textContent('#send-wire');
    assert.equal(text.match(/"id": 9007199254740993/g)?.length, 2, text);
    assert.equal(text.match(/"e": 1E400/g)?.length, 2, text);
    assert.match(await page.locator('.code[data-step="send"] pre').innerText(), /9007199254740993/);
    await leave();
});

test('every tab shows its program, by mouse and keyboard', { timeout: 60_000 }, async () => {
    const { page, leave } = await open();
    await page.locator('summary').first().click();
    for (const step of ['setup', 'connect', 'listen', 'send', 'edit', 'state', 'away', 'answer', 'app']) {
        const box = page.locator(`.code[data-step="${step}"]`);
        const names = await box.getByRole('tab').allInnerTexts();
        assert.equal(names.length, { app: 7, answer: 3 }[step] ?? 4, step);
        const seen = new Set();
        for (const name of names) {
            await box.getByRole('tab', { name, exact: true }).click();
            assert.equal(await box.getByRole('tab', { selected: true }).innerText(), name);
            seen.add(await box.getByRole('tabpanel').innerText());
        }
        assert.equal(seen.size, names.length, step);
        await page.keyboard.press('ArrowRight');
        assert.equal(await box.getByRole('tab', { selected: true }).innerText(), names[0]);
        assert.equal(await page.evaluate(() => document.activeElement.textContent), names[0]);
    }
    assert.match(await page.locator('.code[data-step="page"] pre').innerText(), /ChannelStreamConnection/);
    await leave();
});

test('every text to copy has a button, with and without the clipboard', { timeout: 60_000 }, async () => {
    for (const permissions of [['clipboard-read', 'clipboard-write'], []]) {
        const { page, leave } = await open({ permissions });
        await says(page, 'listen-state', 'Listening');
        // As on a page of plain http, which has no clipboard.
        if (!permissions.length) await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }));
        await page.getByRole('button', { name: 'Send message' }).click();
        await page.locator('#events details').first().waitFor();
        // Those that are there now: visitors who part later add events.
        const count = await page.evaluate(() => {
            document.querySelectorAll('details').forEach((one) => (one.open = true));
            const boxes = [...document.querySelectorAll('.code-box')];
            boxes.forEach((box, number) => (box.dataset.number = number));
            return document.querySelectorAll('#main pre').length === boxes.length ? boxes.length : 0;
        });
        assert.ok(count > 0, 'every program is in a box with a button');
        for (let number = 0; number < count; number += 1) {
            const box = page.locator(`[data-number="${number}"]`);
            const button = box.getByRole('button', { name: /^Copy the (program|page|request|answer|event)$/ });
            await button.focus();
            await page.keyboard.press('Enter');
            await box.getByText('Copied').waitFor();
            await page.getByRole('status').filter({ hasText: 'is copied' }).waitFor({ state: 'attached' });
            if (permissions.length) {
                assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await box.locator('pre').textContent());
            } else {
                assert.equal((await page.evaluate(() => String(getSelection()))).trim(), (await box.locator('pre').innerText()).trim());
            }
        }
        await leave();
    }
});

test('no line of a program is cut', { timeout: 60_000 }, async () => {
    for (const width of [1280, 390]) {
        const { page, leave } = await open({ viewport: { width, height: 800 } });
        await page.locator('summary').first().click();
        for (const tab of await page.getByRole('tab').all()) {
            await tab.click();
            const cut = await page.evaluate(() =>
                [...document.querySelectorAll('.code pre')].filter((pre) => pre.scrollWidth > pre.clientWidth || pre.scrollHeight > pre.clientHeight).length);
            assert.equal(cut, 0, `${await tab.innerText()} at ${width}`);
        }
        await leave();
    }
});

test('it fits a phone, light and dark', { timeout: 60_000 }, async () => {
    for (const colorScheme of ['light', 'dark']) {
        const { page, leave } = await open({ viewport: { width: 360, height: 700 }, colorScheme });
        await says(page, 'listen-state', 'Listening');
        await page.locator('summary').first().click();
        await page.getByRole('button', { name: 'Simulate /connect' }).click();
        await page.getByRole('button', { name: 'Send message' }).click();
        await says(page, 'send-arrival', 'Arrived');
        const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(content <= window, `${content} px in ${window}, ${colorScheme}`);
        await leave();
    }
});

test('where nobody vouches for it, the page says so and shows the programs', { timeout: 60_000 }, async () => {
    const guarded = await Server.start({ secret: 'of its own' });
    try {
        const { page, leave } = await open({}, guarded.address);
        await page.getByText('Sign in as admin').waitFor();
        assert.equal(await page.locator('.step button:not([role], .copy):enabled').count(), 0);
        assert.match(await page.locator('.code[data-step="connect"] pre').innerText(), /curl/);
        await page.getByRole('link', { name: 'Sign in as admin' }).click();
        await page.fill('#username', 'admin');
        await page.fill('#password', 'admin_secret');
        await page.getByRole('button', { name: 'Sign in' }).click();
        await page.waitForURL('**/admin');
        await page.goto(`http://${guarded.address}/`);
        await says(page, 'listen-state', 'Listening');
        await page.getByRole('button', { name: 'Send message' }).click();
        await says(page, 'send-arrival', 'Arrived');
        await leave();
    } finally {
        await guarded.stop();
    }
});
