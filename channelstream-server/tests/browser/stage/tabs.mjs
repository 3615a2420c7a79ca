// Tabs of one browser, whose pages use all of our client.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { until } from './until.mjs';

const script = await readFile(new URL('tab.js', import.meta.url), 'utf8');
const html = '<!doctype html><title>A tab</title><script type="module" src="/tab.js"></script>';

/** Tells what the page's connection and view are at. */
class Tab {
    constructor(page) {
        this.page = page;
    }

    get(name) {
        return this.page.evaluate((name) => window[name], name);
    }

    property(name) {
        return this.page.evaluate((name) => window.connection[name], name);
    }

    /** The texts of the messages in the view. */
    viewed() {
        return this.page.evaluate(() => window.view.list.map(({ message }) => message.text));
    }

    hears(text, limit) {
        const hears = async () => (await this.get('told')).includes(text);
        return until(hears, async () => `${text} in ${await this.get('told')}`, limit);
    }

    opens() {
        const opens = async () => (await this.property('state')) === 'open';
        return until(opens, async () => `open: ${await this.get('states')}`);
    }
}

export class Tabs {
    tabs = [];
    faults = [];

    static async of({ application, browser }, settings, isShared = false) {
        const tabs = new Tabs();
        const file = (path, type, body) => application.files.set(path, { type, body });
        file('/tab.js', 'text/javascript', script);
        file('/tab', 'text/html', html);
        file('/elsewhere', 'text/html', '<!doctype html><title>Elsewhere</title>');
        Object.assign(tabs, { application, settings, isShared, context: await browser.newContext() });
        return tabs;
    }

    /** Opens a tab whose connection has these settings besides, and waits until it listens. */
    async open(more = {}) {
        const page = await this.context.newPage();
        page.on('pageerror', (error) => this.faults.push(String(error)));
        await page.goto(`http://${this.application.address}/tab`);
        await page.waitForSelector('[data-ready]', { state: 'attached' });
        const connect = ([settings, isShared]) => window.make(settings, isShared).connect().then(() => null);
        await page.evaluate(connect, [{ ...this.settings, ...more }, this.isShared]);
        const tab = new Tab(page);
        await tab.opens();
        this.tabs.push(tab);
        return tab;
    }

    /** Waits until exactly one tab leads, and gives it. */
    async leader() {
        let leaders = [];
        await until(async () => {
            const lead = await Promise.all(this.tabs.map((tab) => tab.property('leads')));
            leaders = this.tabs.filter((_, index) => lead[index]);
            return leaders.length === 1;
        }, 'one leader');
        return leaders[0];
    }

    all(action) {
        return Promise.all(this.tabs.map(action));
    }

    forget(tab) {
        this.tabs.splice(this.tabs.indexOf(tab), 1);
    }

    /** Takes a tab away without its help: it is closed, or its process ends. */
    async lose(tab, how) {
        this.forget(tab);
        if (how === 'close') return tab.page.close();
        const crash = tab.page.waitForEvent('crash');
        const devtools = await this.context.newCDPSession(tab.page);
        devtools.send('Page.crash').catch(() => {});
        await crash;
    }

    /** Closes the browser, and complains of errors in the pages. */
    async leave() {
        await this.context.close();
        assert.deepEqual(this.faults, []);
    }
}
