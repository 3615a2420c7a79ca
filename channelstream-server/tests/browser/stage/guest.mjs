// A person at a page under a strict policy that uses our own browser client, as the server serves it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { OF_PROXY } from './server.mjs';
import { until } from './until.mjs';

// What the browser itself logs when a request meets no server or proxies refuse it.
const BROKEN_NETWORK = /net::ERR_|WebSocket connection to .* failed|status of (40[134]|422|502)/;

const script = await readFile(new URL('guest.js', import.meta.url), 'utf8');

/** Counts the websockets of a page that are open or opening, now and at most. */
function countSockets() {
    const all = [];
    window.sockets = () => all.filter(({ readyState }) => readyState < 2).length;
    window.mostSockets = 0;
    window.WebSocket = class extends window.WebSocket {
        constructor(...given) {
            super(...given);
            all.push(this);
            window.mostSockets = Math.max(window.mostSockets, window.sockets());
        }
    };
}

export class Guest {
    /** Errors that the page threw or logged. */
    faults = [];

    /** Opens the page in a browser of its own, with these settings. */
    static async open({ application, server, browser }, username = 'ann', context = {}) {
        // What a module in a worker imports is a matter of worker-src.
        const scripts = `'self' http://${server.address}`;
        const policy =
            `default-src 'none'; script-src ${scripts}; worker-src ${scripts}; ` +
            "connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*; base-uri 'none'; form-action 'none'";
        const headers = { 'content-security-policy': policy };
        const client = `http://${server.address}/static/channelstream/index.js`;
        const file = (path, type, body) => application.files.set(path, { type, body, headers });
        file('/guest.js', 'text/javascript', script.replace('CLIENT', client));
        file('/guest', 'text/html', '<!doctype html><title>A page</title><script type="module" src="/guest.js"></script>');
        file('/elsewhere', 'text/html', '<!doctype html><title>Another page</title>');
        const guest = new Guest();
        guest.username = username;
        guest.application = application;
        guest.context = await browser.newContext(context);
        const page = await guest.context.newPage();
        guest.page = page;
        page.on('pageerror', (error) => guest.faults.push(String(error)));
        page.on('console', (line) => line.type() === 'error' && guest.faults.push(line.text()));
        await page.addInitScript(countSockets);
        await page.goto(`http://${application.address}/guest`);
        await page.waitForSelector('[data-ready]', { state: 'attached' });
        return guest;
    }

    /** The settings of a connection whose push server is found at an address. */
    settings(address, more = {}) {
        return {
            username: this.username,
            increaseBounceIv: 50,
            websocketUrl: `ws://${address}/ws`,
            longPollUrl: `http://${address}/listen`,
            disconnectUrl: `http://${address}/disconnect`,
            connectUrl: `http://${this.application.address}/connect`,
            subscribeUrl: '/subscribe',
            messageUrl: '/message',
            ...more,
        };
    }

    /** Makes a connection with these settings, connects and waits until it listens; gives its id. */
    async connect(address, more) {
        await this.page.evaluate((settings) => void window.make(settings).connect(), this.settings(address, more));
        await this.hears('listenOpened');
        return this.property('connectionId');
    }

    property(name) {
        return this.page.evaluate((name) => window.connection[name], name);
    }

    notes(after = 0) {
        return this.page.evaluate((after) => window.log.slice(after), after);
    }

    /** How much was told so far: a mark for `hears`. */
    mark() {
        return this.page.evaluate(() => window.log.length);
    }

    /** Waits for an event, at best the first after a mark; gives what it told. */
    async hears(name, { after = 0, where = () => true, limit } = {}) {
        let notes = [];
        const find = async () => {
            notes = await this.notes(after);
            return notes.find((note) => note.name === name && where(note.told));
        };
        const what = () => `${this.username} hears ${name}; heard ${JSON.stringify(notes).slice(0, 4000)}`;
        return (await until(find, what, limit)).told;
    }

    /** The names of the events after a mark. */
    async names(after) {
        return (await this.notes(after)).map(({ name }) => name);
    }

    /** The texts of all messages, in order. */
    async texts() {
        const notes = await this.notes();
        const frames = notes.filter(({ name }) => name === 'listenMessage').flatMap(({ told }) => told);
        return frames.filter(({ type }) => type === 'message').map(({ message }) => message.text);
    }

    /** Waits for a message with that text. */
    seesText(text, limit) {
        const what = async () => (await this.texts()).includes(text);
        return until(what, `${this.username} sees ${text}`, limit);
    }

    sockets() {
        return this.page.evaluate(() => window.sockets());
    }

    /** Leaves, and complains of whatever went wrong in the page. */
    async leave({ brokenNetwork = false } = {}) {
        const most = await this.page.evaluate(() => window.mostSockets);
        await this.context.close();
        const isExpected = (text) => brokenNetwork && (BROKEN_NETWORK.test(text) || OF_PROXY.test(text));
        const faults = this.faults.filter((text) => !isExpected(text));
        assert.deepEqual(faults, [], `errors in the page of ${this.username}`);
        assert.ok(most <= 1, `${most} websockets at once`);
    }
}
