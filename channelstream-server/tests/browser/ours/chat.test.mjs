// The chats among the client's examples, in Rust, Flask and Pyramid: two people in two browsers.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { setStage } from '../stage/stage.mjs';
import { Program } from '../stage/program.mjs';
import { PROGRAM, Server } from '../stage/server.mjs';
import { until } from '../stage/until.mjs';
import { openWatched } from '../stage/watched.mjs';

const PYTHON = process.env.CHANNELSTREAM_PYTHON ?? 'python3';
const FOLDER = fileURLToPath(new URL('../../../../channelstream-client/examples/chat/', import.meta.url));
const CHATS = {
    rust: [join(dirname(PROGRAM), 'examples', 'chat')],
    flask: [PYTHON, join(FOLDER, 'flask_chat.py')],
    pyramid: [PYTHON, join(FOLDER, 'pyramid_chat.py')],
};

const { server, browser } = await setStage();
const programs = [];
after(() => Promise.all(programs.map((program) => program.stop())));

/** Somebody who has come to the page and signed in. */
class Person {
    static async enter(address, name, push = server) {
        const person = new Person();
        const hosts = [address, push.address];
        const { page, leave } = await openWatched(browser, `http://${address}/`, { hosts });
        Object.assign(person, { page, leave, name });
        await page.getByLabel('Your name').fill(name);
        await page.keyboard.press('Enter');
        await person.isConnected();
        return person;
    }

    isConnected() {
        return this.page.waitForFunction(() => document.getElementById('line').textContent === 'connected');
    }

    /** The messages and notes in view: `name text`. */
    async lines() {
        const lines = await this.page.locator('#log li').evaluateAll((items) =>
            items.map((item) => [item.querySelector('b'), item.querySelector('p') ?? item].map((part) => part?.textContent).join(' ').trim()));
        return lines;
    }

    sees(line) {
        let lines;
        return until(async () => (lines = await this.lines()).includes(line), () => `${this.name} sees ${line}; sees ${lines}`);
    }

    doesNotSee(line) {
        return until(async () => !(await this.lines()).includes(line), `${this.name} does not see ${line}`);
    }

    /** Waits for a list of buttons to be this: `people`, `rooms`, `privates`. */
    async lists(id, wanted) {
        let found;
        const same = async () => {
            found = await this.page.locator(`#${id} .name`).allTextContents();
            return found.join() === wanted.join();
        };
        await until(same, () => `${this.name} has ${id} ${wanted}; has ${found}`);
    }

    /** Opens a conversation, and waits until it is in view: a room shows when the answer to joining it is there. */
    async open(id, name) {
        await this.page.locator(`#${id} button`).filter({ hasText: name }).click();
        await this.page.locator('#title').filter({ hasText: name }).waitFor();
    }

    async say(text) {
        await this.page.getByLabel('Message', { exact: true }).fill(text);
        await this.page.keyboard.press('Enter');
    }

    message(text) {
        return this.page.locator('#log li').filter({ hasText: text });
    }

    typing(text) {
        return this.page.waitForFunction((text) => document.getElementById('typing').textContent === text, text);
    }

    /** Asks the application past the page; gives the status. */
    ask(method, path, body) {
        const code = async ([method, path, body]) => {
            const headers = { 'content-type': 'application/json' };
            return (await fetch(path, { method, headers, body: JSON.stringify(body) })).status;
        };
        return this.page.evaluate(code, [method, path, body]);
    }
}

for (const [name, words] of Object.entries(CHATS)) {
    test(`two people chat by way of ${name}`, { timeout: 120_000 }, async () => {
        const settings = { CHANNELSTREAM_URL: `http://${server.address}`, CHANNELSTREAM_SECRET: 'secret' };
        const program = await Program.start(() => words, settings);
        programs.push(program);
        // Names of their own: the rooms outlive the application.
        const [ann, bob] = [await Person.enter(program.address, `ann-${name}`), await Person.enter(program.address, `bob-${name}`)];

        // Presence.
        await ann.sees(`${bob.name} came`);
        await ann.lists('people', [`${ann.name} (you)`, bob.name]);
        await bob.lists('people', [ann.name, `${bob.name} (you)`]);
        await ann.lists('rooms', ['# lobby', '# garden', '# library']);

        // A message is text, whatever is in it.
        await ann.say('<img src=x onerror=alert(1)> & hello');
        for (const person of [ann, bob]) await person.sees(`${ann.name} <img src=x onerror=alert(1)> & hello`);

        // Who types, and no more.
        await bob.page.getByLabel('Message', { exact: true }).pressSequentially('Good');
        await ann.typing(`${bob.name}: typing …`);
        await ann.typing('');
        await bob.page.keyboard.type(' day');
        await ann.typing(`${bob.name}: typing …`);
        await bob.page.keyboard.press('Enter');
        await ann.sees(`${bob.name} Good day`);
        await ann.typing('');
        // Nor does haste leave it behind.
        for (const text of ['quick 1', 'quick 2', 'quick 3']) await bob.say(text);
        for (const text of ['quick 1', 'quick 2', 'quick 3']) {
            await ann.sees(`${bob.name} ${text}`);
            await bob.message(text).getByRole('button', { name: 'Delete' }).click();
            await ann.doesNotSee(`${bob.name} ${text}`);
        }
        await ann.typing('');

        // Own messages are edited and deleted.
        assert.equal(await ann.message('Good day').getByRole('button').count(), 0, 'not hers');
        await bob.message('Good day').getByRole('button', { name: 'Edit' }).click();
        await bob.page.getByLabel('New text').fill('Good evening');
        await bob.page.keyboard.press('Enter');
        for (const person of [ann, bob]) await person.sees(`${bob.name} Good evening`);
        assert.match(await ann.message('Good evening').textContent(), /edited/);
        await bob.say('a slip');
        await ann.sees(`${bob.name} a slip`);
        await bob.message('a slip').getByRole('button', { name: 'Delete' }).click();
        for (const person of [ann, bob]) await person.doesNotSee(`${bob.name} a slip`);

        // In private: the other has it under the sender's name; a third one hears nothing.
        const eve = await Person.enter(program.address, `eve-${name}`);
        await bob.lists('people', [ann.name, `${bob.name} (you)`, eve.name]);
        await ann.open('people', bob.name);
        await ann.say('just for you');
        await ann.sees(`${ann.name} just for you`);
        await bob.lists('privates', [ann.name]);
        await bob.page.locator('#privates .badge').getByText('1').waitFor();
        await bob.doesNotSee(`${ann.name} just for you`);
        await bob.open('privates', ann.name);
        await bob.sees(`${ann.name} just for you`);
        await bob.say('thanks');
        await ann.sees(`${bob.name} thanks`);
        await ann.message('just for you').getByRole('button', { name: 'Edit' }).click();
        await ann.page.getByLabel('New text').fill('for you alone');
        await ann.page.keyboard.press('Enter');
        await bob.sees(`${ann.name} for you alone`);

        // Rooms: joined, talked in, left.
        await ann.open('rooms', 'garden');
        await bob.open('rooms', 'garden');
        await ann.sees(`${bob.name} came`);
        await bob.say('nice flowers');
        await ann.sees(`${bob.name} nice flowers`);
        await ann.open('rooms', 'lobby');
        await bob.say('are you there?');
        await ann.page.locator('#rooms .badge').getByText('1').waitFor();
        await bob.page.getByRole('button', { name: 'Leave room' }).click();
        await ann.open('rooms', 'garden');
        await ann.sees(`${bob.name} left`);
        await ann.lists('people', [`${ann.name} (you)`]);

        // The application goes by its session, not by what a page says.
        const { uuid } = (await server.call('POST', '/info', { info: { channels: ['lobby'] } })).channels.lobby.history
            .find(({ user }) => user === ann.name);
        const edit = { uuid, text: 'forged', user: ann.name };
        assert.equal(await bob.ask('PATCH', '/message', edit), 403);
        assert.equal(await bob.ask('DELETE', '/message', edit), 403);
        assert.equal(await bob.ask('POST', '/connect', { username: 'admin', channels: ['secrets'] }), 403);
        assert.equal(await bob.ask('POST', '/message', { room: 'secrets', text: 'hello' }), 403);
        assert.equal(await bob.ask('POST', '/message', { room: 'lobby', text: ' ' }), 422);
        assert.equal(await bob.ask('POST', '/message', { room: 'lobby', text: 'by bob', user: ann.name }), 200);
        await ann.open('rooms', 'lobby');
        await ann.sees(`${bob.name} by bob`);
        await ann.sees(`${ann.name} <img src=x onerror=alert(1)> & hello`);
        assert.deepEqual((await eve.lines()).filter((line) => /for you|thanks|flowers/.test(line)), []);

        // The history is there after the page was loaded anew.
        await bob.page.reload();
        await bob.isConnected();
        const lines = (await bob.lines()).filter((line) => line.includes(`-${name} `));
        assert.deepEqual(lines, [
            `${ann.name} <img src=x onerror=alert(1)> & hello`,
            `${bob.name} Good evening`,
            `${bob.name} by bob`,
        ]);
        await bob.message('Good evening').getByRole('button', { name: 'Delete' }).click();
        await ann.doesNotSee(`${bob.name} Good evening`);

        // Good-bye.
        await bob.page.getByRole('button', { name: 'Sign out' }).click();
        await bob.page.getByLabel('Your name').waitFor();
        await ann.sees(`${bob.name} left`);
        await ann.lists('people', [`${ann.name} (you)`, eve.name]);
        assert.equal(await bob.ask('POST', '/connect', { channels: ['lobby'] }), 401);
        await bob.leave(/status of (401|403|422)/);
        await Promise.all([ann.leave(), eve.leave()]);
        await program.stop();
    });

    test(`without a push server ${name} says what to do`, { timeout: 60_000 }, async () => {
        const env = { ...process.env, CHANNELSTREAM_URL: 'http://127.0.0.1:1', CHANNELSTREAM_SECRET: 'secret' };
        const [program, ...more] = words;
        const { code, said } = await new Promise((resolve) => {
            execFile(program, more, { env }, (error, out, err) => resolve({ code: error?.code, said: out + err }));
        });
        assert.equal(code, 1);
        assert.match(said, /cargo run --release -p channelstream-server/);
    });
}

/** What a browser logs of a server that is gone, and of an application that cannot reach it. */
const GONE = /net::ERR_|WebSocket connection to .* failed|status of 502/;

/** Waits until Ann has connected anew: her line opens first with the connection that a new server does not know. */
const isInLobby = (server) =>
    until(async () => {
        const { lobby } = (await server.call('POST', '/info', { info: { channels: ['lobby'] } })).channels;
        return lobby?.users.some((one) => (one.user ?? one) === 'ann');
    }, 'ann is in the lobby');

test('the page says when the push server is gone, and comes back', { timeout: 90_000 }, async () => {
    const own = await Server.start();
    const program = await Program.start(() => CHATS.rust, { CHANNELSTREAM_URL: `http://${own.address}` });
    programs.push(program);
    try {
        const ann = await Person.enter(program.address, 'ann', own);
        await own.stop();
        await ann.page.getByText('coming back').waitFor();
        const late = await openWatched(browser, `http://${program.address}/`, { hosts: [program.address, own.address] });
        await late.page.getByLabel('Your name').fill('bob');
        await late.page.keyboard.press('Enter');
        await late.page.getByRole('alert').getByText('does not answer. Start it').waitFor();
        await late.leave(GONE);
        await own.start();
        await isInLobby(own);
        await ann.isConnected();
        await ann.say('back again');
        await ann.sees('ann back again');
        await ann.leave(GONE);
    } finally {
        await own.stop();
    }
});

test('a message that the push server does not take stays in the field, marked, to be sent again', { timeout: 90_000 }, async () => {
    const own = await Server.start();
    const program = await Program.start(() => CHATS.flask, { CHANNELSTREAM_URL: `http://${own.address}` });
    programs.push(program);
    try {
        const ann = await Person.enter(program.address, 'ann', own);
        const field = ann.page.getByLabel('Message', { exact: true });
        await ann.say('before');
        await ann.sees('ann before');
        // The message may be shown before the answer to the page's own request is.
        await until(async () => (await field.inputValue()) === '', 'the field is emptied when it is accepted');
        await own.stop();
        await ann.page.getByText('coming back').waitFor();
        await ann.say('into the dark');
        await ann.page.getByRole('alert').getByText('Not sent: the push server does not answer').waitFor();
        assert.equal(await field.inputValue(), 'into the dark');
        assert.equal(await field.getAttribute('aria-invalid'), 'true');
        // It belongs to its conversation.
        await ann.open('people', 'ann');
        assert.equal(await field.inputValue(), '');
        await ann.open('rooms', 'lobby');
        assert.equal(await field.inputValue(), 'into the dark');
        await own.start();
        await isInLobby(own);
        await ann.isConnected();
        await ann.page.getByRole('button', { name: 'Send again' }).click();
        await ann.sees('ann into the dark');
        await until(async () => (await field.inputValue()) === '', 'the field is emptied');
        await ann.page.getByRole('button', { name: 'Send', exact: true }).waitFor();
        await ann.leave(GONE);
    } finally {
        await own.stop();
    }
});

for (const name of ['flask', 'pyramid']) {
    test(`without its packages ${name} says what to install`, { timeout: 60_000 }, async () => {
        const [python, ...more] = CHATS[name];
        const said = await new Promise((resolve) => {
            execFile(python, ['-S', ...more], (error, out, err) => resolve(`${error?.code} ${out}${err}`));
        });
        assert.match(said, new RegExp(`^1 \\w+ is missing: python3 -m pip install ${name} `));
    });
}
