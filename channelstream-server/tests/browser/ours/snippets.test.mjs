// The programs that the tutorial shows: taken from the page, and run.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Program } from '../stage/program.mjs';
import { compile } from '../stage/rust.mjs';
import { setStage } from '../stage/stage.mjs';
import { until } from '../stage/until.mjs';
import { openWatched } from '../stage/watched.mjs';

const run = promisify(execFile);
const PYTHON = process.env.CHANNELSTREAM_PYTHON ?? 'python3';
const { server, browser } = await setStage();
const folder = await mkdtemp(join(tmpdir(), 'tutorial-'));
after(() => rm(folder, { recursive: true }));

/** The program of a step, in the language or framework that is chosen. */
const shown = (page, step) => page.locator(`.code[data-step="${step}"] pre`).textContent();

/** Opens the tutorial with a tab chosen. */
async function open(tab) {
    const { page, leave } = await openWatched(browser, `http://${server.address}/`);
    await page.waitForSelector('[data-ready]');
    await page.evaluate((tab) => document.getElementById(tab).click(), tab);
    return { page, leave };
}

/** How the programs of all steps, one after another, are run. */
const LANGUAGES = {
    curl: (text) => ['sh', '-ec', text],
    python: (text) => [PYTHON, '-c', text],
    javascript: (text) => ['node', '--input-type=module', '-e', text],
    async rust(text) {
        assert.match(text, /at the end:\n *\/\/ Ok\(\(\)\) }\n/);
        return [await compile(`${text}\nOk(()) }\n`, join(folder, 'steps'))];
    },
};

for (const [language, command] of Object.entries(LANGUAGES)) {
    test(`the programs in ${language} run`, { timeout: 240_000 }, async () => {
        const { page, leave } = await open(`connect-tab-${language}`);
        await page.getByText('Listening on').waitFor();
        // Words that must survive each language's quotes.
        const message = { text: `it's "${language}"\n$HOME \\ {} \\u0041 é \b\u0001`, good: true, none: null };
        await page.fill('#send-message', JSON.stringify(message));
        await page.locator('#send-message').blur();
        const texts = [];
        const steps = ['setup', 'connect', 'listen', 'send', 'edit', 'state', 'away'];
        // The step of the assistant has no program in Rust.
        if (language !== 'rust') steps.push('answer');
        for (const step of steps) texts.push(await shown(page, step));
        const [name, ...words] = await command(texts.join('\n'));
        const { stdout } = await run(name, words, { timeout: 60_000 });
        assert.doesNotMatch(stdout, /Bad Signature|"code"|Missing data/, stdout);
        assert.match(stdout, /catchup["']?: ?true/i, 'the traveller catches up');
        // What it did is seen in the page.
        await page.locator('#events > li').filter({ hasText: 'message:delete' }).first().waitFor();
        await page.locator('#events > li').filter({ hasText: "system: it's" }).first().waitFor();
        const events = (await page.locator('#events pre').allTextContents()).map((text) => JSON.parse(text));
        const sent = events.filter(({ type, channel }) => type === 'message' && channel);
        assert.deepEqual(sent.filter(({ user }) => user !== 'assistant').at(-1).message, message);
        if (language !== 'rust') {
            assert.match(stdout, /\btaken["']?: ?true/i);
            await page.locator('#events > li').filter({ hasText: '+ ! done' }).waitFor();
        }
        await leave();
    });
}

/** What the browser logs of a refusal and of an application without an icon. */
const REFUSED = /status of 40[0345]/;
const around = (framework) => readFile(new URL(`../stage/views/${framework}`, import.meta.url), 'utf8');

/** Returns the command that starts an application: the shown program, or one around the shown view. */
const FRAMEWORKS = {
    flask: inPython,
    async fastapi(program) {
        await writeFile(join(folder, 'app.py'), program);
        return [PYTHON, 'app.py'];
    },
    pyramid: inPython,
    django: inPython,
    async express(program) {
        await writeFile(join(folder, 'app.mjs'), program);
        await symlink(fileURLToPath(new URL('../node_modules', import.meta.url)), join(folder, 'node_modules'));
        return ['node', 'app.mjs'];
    },
    async axum(program) {
        return [await compile(program, join(folder, 'axum_application'))];
    },
    async warp(snippet) {
        const text = (await around('warp.rs')).replace('// SNIPPET', () => snippet);
        return [await compile(text, join(folder, 'application'))];
    },
};

async function inPython(snippet, framework) {
    const path = join(folder, `${framework}_application.py`);
    await writeFile(path, (await around(`${framework}.py`)).replace('# SNIPPET', () => snippet));
    return [PYTHON, path];
}

/** Programs with a page and a sign-in of their own. */
const COMPLETE = ['fastapi', 'express', 'axum'];

for (const [framework, words] of Object.entries(FRAMEWORKS)) {
    test(`the program for ${framework} connects the signed-in user, and the page listens`, { timeout: 240_000 }, async () => {
        const tutorial = await open(`app-tab-${framework}`);
        const PAGE = await shown(tutorial.page, 'page');
        await writeFile(join(folder, 'page.html'), PAGE);
        const command = await words(await shown(tutorial.page, 'app'), framework);
        await tutorial.leave();
        const application = await Program.start(() => command, { PAGE }, folder);
        try {
            const address = `http://${application.address}`;
            const hosts = [application.address, server.address];
            // Nobody is signed in.
            const stranger = await openWatched(browser, `${address}/`, { hosts });
            const status = await stranger.page.evaluate(async () => {
                const token = document.cookie.match(/csrftoken=([^;]*)/)?.[1];
                const headers = { 'content-type': 'application/json', ...(token && { 'x-csrftoken': token }) };
                return (await fetch('/push/connect', { method: 'POST', headers, body: '{"username": "ann"}' })).status;
            });
            // Of warp's filters that refuse, a missing cookie is a bad request.
            assert.equal(status, framework === 'warp' ? 400 : 403, application.output);
            await stranger.leave(REFUSED);

            const path = COMPLETE.includes(framework) ? '/sign_in/ann' : '/sign_in';
            const ann = await openWatched(browser, `${address}${path}`, { hosts });
            await ann.page.goto(`${address}/`);
            await until(async () => {
                const { channels } = await server.call('POST', '/info', { info: { channels: ['news'] } });
                return channels.news?.users.includes('ann');
            }, () => `ann is connected; the application said ${application.output}`);
            // The server may still remember ann of an earlier test, so the page may not listen yet.
            const item = ann.page.locator('#news li').filter({ hasText: `editor: {"by":"${framework}"}` }).first();
            await until(async () => {
                await server.publish({ user: 'editor', channel: 'news', message: { by: framework } });
                return item.waitFor({ timeout: 1_000 }).then(() => true, () => false);
            }, () => `the page shows the message; the application said ${application.output}`, 30_000);
            await ann.leave(REFUSED);
        } finally {
            await application.stop();
        }
    });
}
