// A person at the application's page: what they do, and all that their page was told.
import assert from 'node:assert/strict';
import { OF_PROXY } from './server.mjs';
import { until } from './until.mjs';

// What the browser itself logs when a request meets no server, an application without one, or
// a server that was started anew and knows nobody.
const BROKEN_NETWORK = /net::ERR_|WebSocket connection to .* failed|status of (401|502)/;

export class Visitor {
    /** Callbacks in the order in which they came: `{ name, told }`. */
    notes = [];
    /** Errors that the page threw or logged. */
    faults = [];

    /**
     * Opens the page with a connection that is not connected yet. `address` is where the page
     * finds the push server; `transport` is 'websocket' or 'poll'.
     */
    static async open(browser, application, { username, transport, address, channels }) {
        const visitor = new Visitor();
        visitor.username = username;
        const context = await browser.newContext();
        const page = await context.newPage();
        visitor.page = page;
        page.on('pageerror', (error) => visitor.faults.push(String(error)));
        page.on('console', (line) => line.type() === 'error' && visitor.faults.push(line.text()));
        await page.exposeFunction('note', (name, told) => void visitor.notes.push({ name, told }));
        await page.goto(`http://${application.address}/`);
        await page.waitForSelector('[data-ready]', { state: 'attached' });
        await page.evaluate((settings) => window.makeConnection(settings), {
            username,
            channels,
            noWebsocket: transport === 'poll',
            // Longer than a test needs between breaking a network and mending it.
            increaseBounceIv: 200,
            websocketUrl: `ws://${address}/ws`,
            longPollUrl: `http://${address}/listen`,
            disconnectUrl: `http://${address}/disconnect`,
            connectUrl: '/connect',
            subscribeUrl: '/subscribe',
            unsubscribeUrl: '/unsubscribe',
            userStateUrl: '/user_state',
            messageUrl: '/message',
            messageEditUrl: '/message',
            messageDeleteUrl: '/message',
        });
        return visitor;
    }

    /** Calls a method of the page's connection. */
    async call(method, ...given) {
        const code = ([method, given]) => void window.connection[method](...given);
        await this.page.evaluate(code, [method, given]);
    }

    /** A property of the page's connection. */
    property(name) {
        return this.page.evaluate((name) => window.connection[name], name);
    }

    /** Connects and waits until the page listens; gives the answer of the application. */
    async connect() {
        const before = this.notes.length;
        await this.call('connect');
        const { data } = await this.hears('connect', { after: before });
        await this.hears('listenOpened', { after: before });
        return data;
    }

    /** Waits for a callback, at best the first after so many notes; gives what it was told. */
    async hears(name, { after = 0, where = () => true, limit } = {}) {
        const find = () => this.notes.slice(after).find((note) => note.name === name && where(note.told));
        const what = () => `${this.username} hears ${name}; heard ${JSON.stringify(this.notes.slice(after))}`;
        return (await until(find, what, limit)).told;
    }

    /** All events that reached the page, in order. */
    get events() {
        return this.notes.filter(({ name }) => name === 'listenMessage').flatMap(({ told }) => told);
    }

    /** Waits for an event of that type; gives it. */
    async sees(type, where = () => true, limit) {
        const find = () => this.events.find((event) => event.type === type && where(event));
        const what = () => `${this.username} sees ${type}; saw ${JSON.stringify(this.events)}`;
        return until(find, what, limit);
    }

    /** The texts of all messages seen, in order. */
    get texts() {
        const messages = this.events.filter((event) => event.type === 'message');
        return messages.map((event) => event.message.text);
    }

    /** Waits for a message with that text. */
    seesText(text, limit) {
        return this.sees('message', (event) => event.message.text === text, limit);
    }

    /** Leaves, and complains of whatever went wrong in the page. */
    async leave({ brokenNetwork = false } = {}) {
        await this.page.context().close();
        const isExpected = (text) => brokenNetwork && (BROKEN_NETWORK.test(text) || OF_PROXY.test(text));
        const faults = this.faults.filter((text) => !isExpected(text));
        assert.deepEqual(faults, [], `errors in the page of ${this.username}`);
    }
}
