// The assistants among the client's examples, in Rust and FastAPI: answers that grow in two tabs.
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { Program } from '../stage/program.mjs';
import { PROGRAM, Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';
import { openWatched } from '../stage/watched.mjs';

const PYTHON = process.env.CHANNELSTREAM_PYTHON ?? 'python3';
const FOLDER = fileURLToPath(new URL('../../../../channelstream-client/examples/assistant/', import.meta.url));
const ASSISTANTS = {
    rust: [join(dirname(PROGRAM), 'examples', 'assistant')],
    fastapi: [PYTHON, join(FOLDER, 'fastapi_assistant.py')],
};
const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const running = [];
after(async () => {
    await browser.close();
    await Promise.all(running.map((one) => one.stop()));
});

const start = async (name, server) => {
    const settings = { CHANNELSTREAM_URL: `http://${server.address}`, CHANNELSTREAM_SECRET: 'secret' };
    const program = await Program.start(() => ASSISTANTS[name], settings);
    running.push(program);
    return program;
};

/** A tab of the page. */
class Tab {
    static async open(program, server) {
        const tab = new Tab();
        const hosts = [program.address, server.address];
        Object.assign(tab, await openWatched(browser, `http://${program.address}/`, { hosts }));
        return tab;
    }

    async ask(text) {
        await this.page.getByLabel('Ask').fill(text);
        await this.page.keyboard.press('Enter');
    }

    /** The newest answer, as text and status. */
    answer() {
        return this.page.evaluate(() => {
            const item = [...document.querySelectorAll('#log li[data-status]')].at(-1);
            return item && { text: item.querySelector('p').textContent, status: item.dataset.status };
        });
    }

    /** Notes each status of an answer from here on: one may last for less than a look takes. */
    noteStatuses() {
        return this.page.evaluate(() => {
            window.statuses = [];
            const note = (changes) => window.statuses.push(...changes.map(({ target }) => target.dataset.status));
            const options = { subtree: true, attributeFilter: ['data-status'] };
            new MutationObserver(note).observe(document.getElementById('log'), options);
        });
    }

    has(what, is, limit = 30_000) {
        let answer;
        return until(async () => {
            answer = await this.answer();
            return answer && is(answer) && answer;
        }, () => `${what}; the answer is ${JSON.stringify(answer)}`, limit);
    }

    stop() {
        return this.page.getByRole('button', { name: 'Stop' }).click();
    }
}

const grows = (than = 0) => ({ text, status }) => status === 'open' && text.split(' ').length > than + 2;
const is = (wanted) => ({ status }) => status === wanted;
const whole = (question) =>
    `You asked: ${question} - well, I am no model, but I can count for you: ${Array.from({ length: 30 }, (_, n) => n + 1).join(' ')} done. `;

for (const name of Object.keys(ASSISTANTS)) {
    test(`answers grow, are stopped and taken over by way of ${name}`, { timeout: 180_000 }, async () => {
        const server = await Server.start();
        running.push(server);
        const first = await start(name, server);
        const [one, two] = [await Tab.open(first, server), await Tab.open(first, server)];

        // Both tabs see it grow, as text whatever is in it; a reload in the middle shows it and goes on.
        const question = '<b>what</b> & why?';
        await one.ask(question);
        await two.has('the second tab sees it grow', grows());
        await one.page.reload();
        const { text } = await one.has('it is there after the reload', grows());
        await one.has('it goes on', grows(text.split(' ').length));
        for (const tab of [one, two]) {
            const { text } = await tab.has('it is done', is('done'));
            assert.equal(text, whole(question));
        }
        assert.equal(await one.page.locator('#log b').filter({ hasText: 'assistant' }).count(), 1);
        assert.equal(await one.page.getByRole('button', { name: 'Stop' }).isDisabled(), true);

        // Stopped in the tab that did not ask, it stays as it is.
        await one.ask('stop me');
        await two.has('the second tab sees it', (answer) => grows()(answer) && answer.text.includes('stop me'));
        await two.stop();
        const stopped = [];
        for (const tab of [one, two]) stopped.push((await tab.has('it is stopped', is('cancelled'))).text);
        assert.equal(stopped[0], stopped[1]);
        assert.ok(stopped[0].length < whole('stop me').length);

        // Its process dies in the middle, and another one goes on: no word is lost or doubled.
        const second = await start(name, server);
        await one.ask('who are you?');
        await two.has('it grows', (answer) => grows()(answer) && answer.text.includes('who are'));
        await two.noteStatuses();
        await first.stop();
        await until(() => two.page.evaluate(() => window.statuses.includes('stalled')), 'nobody appends', 30_000);
        for (const tab of [one, two]) {
            const { text } = await tab.has('another process finishes it', is('done'));
            assert.equal(text, whole('who are you?'));
        }
        const { channels } = await server.call('POST', '/info', { info: { channels: ['assistant'] } });
        assert.deepEqual(channels.assistant.history.map(({ message, status }) => [message.text, status]), [
            [question, undefined], [whole(question), 'done'],
            ['stop me', undefined], [stopped[0], 'cancelled'],
            ['who are you?', undefined], [whole('who are you?'), 'done'],
        ]);
        for (const tab of [one, two]) await tab.leave();
        await second.stop();
        await server.stop();
    });
}
