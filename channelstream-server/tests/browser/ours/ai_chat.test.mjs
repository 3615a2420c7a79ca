// The example with the AI SDK, Vite, React and FastAPI: an answer grows, is resumed after a reload, and stopped.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { Program } from '../stage/program.mjs';
import { Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';
import { openWatched } from '../stage/watched.mjs';

const PYTHON = process.env.CHANNELSTREAM_PYTHON ?? 'python3';
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const EXAMPLE = join(ROOT, 'channelstream-js/examples/ai-chat');
const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const running = [];
after(async () => {
    await browser.close();
    await Promise.all(running.map((one) => one.stop()));
});

/** The commands of the README: what installs runs before all tests, the others run here on free ports. */
const COMMANDS = [
    'cargo run --release -p channelstream-server',
    '(cd channelstream-js && npm ci && npm run build)',
    'python3 -m pip install -r channelstream-js/examples/ai-chat/requirements.txt',
    'python3 channelstream-js/examples/ai-chat/app.py',
    '(cd channelstream-js/examples/ai-chat && npm ci && npm run dev)',
];

async function start() {
    const readme = await readFile(join(EXAMPLE, 'README.md'), 'utf8');
    assert.deepEqual(readme.match(/```sh\n(.*?)\n```/s)[1].split('\n'), COMMANDS);
    const { scripts } = JSON.parse(await readFile(join(EXAMPLE, 'package.json'), 'utf8'));
    assert.equal(scripts.dev, 'vite');
    execFileSync(process.execPath, ['build.mjs', '--modules'], { cwd: join(ROOT, 'channelstream-js') });

    const server = await Server.start();
    running.push(server);
    const settings = { CHANNELSTREAM_URL: `http://${server.address}`, CHANNELSTREAM_SECRET: 'secret' };
    const [, file] = COMMANDS[3].split(' ');
    const backend = await Program.start(() => [PYTHON, file], settings, ROOT);
    running.push(backend);
    const vite = join(EXAMPLE, 'node_modules/vite/bin/vite.js');
    const pages = await Program.start(() => [process.execPath, vite], { BACKEND: `http://${backend.address}` }, EXAMPLE);
    running.push(pages);
    return { server, backend, pages };
}

class Tab {
    static async open({ server, pages }, beside) {
        const tab = new Tab();
        const hosts = [pages.address, server.address];
        Object.assign(tab, await openWatched(browser, `http://${pages.address}/`, { hosts, beside }));
        await tab.isReady();
        return tab;
    }

    async ask(text) {
        await this.page.getByLabel('Ask').fill(text);
        await this.page.getByRole('button', { name: 'Send' }).click();
    }

    stop() {
        return this.page.getByRole('button', { name: 'Stop' }).click();
    }

    /** The messages that are shown, as role and text. */
    messages() {
        return this.page.evaluate(() =>
            [...document.querySelectorAll('#log li')].map((item) => [item.dataset.role, item.querySelector('p').textContent]));
    }

    note() {
        return this.page.locator('#note').textContent();
    }

    isReady() {
        return until(async () => (await this.note()) === 'ready', async () => `the chat is ready; it is ${await this.note()}`, 30_000);
    }

    /** Waits until that many messages are shown, and the last one has more than so many words. */
    grows(count, than = 2) {
        let shown;
        return until(async () => {
            shown = await this.messages();
            const [role, text] = shown.at(-1) ?? [];
            return shown.length === count && role === 'assistant' && text.split(' ').length > than + 1 && text;
        }, () => `it grows; it is ${JSON.stringify(shown)}`, 30_000);
    }
}

const whole = (question) =>
    `You asked: ${question} - well, I am no model, but I can count for you: ${Array.from({ length: 60 }, (_, n) => n + 1).join(' ')} done. `;
const words = (text) => text.trim().split(' ').length;

test('an answer grows in two tabs, goes on after a reload, and is stopped', { timeout: 180_000 }, async () => {
    const stage = await start();
    const { backend } = stage;
    const one = await Tab.open(stage);
    const two = await Tab.open(stage, one.page);

    const question = '<b>what</b> & why?';
    await one.ask(question);
    await one.grows(2);
    await two.grows(2);
    await one.page.reload();
    const text = await one.grows(2);
    await one.grows(2, words(text) + 3);
    for (const tab of [one, two]) {
        await tab.isReady();
        assert.deepEqual(await tab.messages(), [['user', question], ['assistant', whole(question)]]);
    }
    await until(() => backend.output.includes(`the model ends after ${words(whole(question))} words`), 'the model ends by itself');

    // Stopped in the tab that asked.
    await one.ask('stop me');
    await one.grows(4);
    await one.stop();
    await one.isReady();
    const ends = () => [...backend.output.matchAll(/the model ends after (\d+) words/g)].map(([, count]) => Number(count));
    await until(() => ends().length === 2, 'the model is stopped');
    assert.ok(ends()[1] < words(whole('stop me')), `after ${ends()[1]} words`);
    await two.isReady();

    // Stopped after a reload, then in the tab that did not ask.
    await one.ask('stop me again');
    await one.grows(6);
    await one.page.reload();
    await one.grows(6);
    await one.stop();
    await until(() => ends().length === 3, 'the model is stopped after the reload');
    await two.isReady();
    await one.isReady();
    await one.ask('and in the other tab');
    await two.grows(8);
    await two.stop();
    await until(() => ends().length === 4, 'the model is stopped in the other tab');
    for (const tab of [one, two]) await tab.isReady();
    for (const count of ends().slice(1)) assert.ok(count < 60, `after ${count} words`);

    // What the tabs show after a reload is what the push server has.
    for (const tab of [one, two]) {
        await tab.page.reload();
        await tab.isReady();
    }
    const shown = await one.messages();
    assert.deepEqual(await two.messages(), shown);
    assert.deepEqual(shown.map(([role]) => role), Array(4).fill(['user', 'assistant']).flat());
    for (const tab of [one, two]) await tab.leave();
});
