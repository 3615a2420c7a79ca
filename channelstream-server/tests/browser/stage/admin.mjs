// The admin page in a browser, signed in, with everything noted that must not happen there.
import assert from 'node:assert/strict';
import { OF_PROXY } from './server.mjs';

/** What the browser itself logs when the server is gone. */
const BROKEN_NETWORK = /net::ERR_|WebSocket connection to .* failed/;

/** And what it logs of a request that was refused. */
const REFUSED = /responded with a status of 4\d\d/;

/** Opens a page at `path`; sign-in comes first where it is asked for. */
export async function openAdmin(browser, server, path = '/admin', options = {}) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const faults = [];
    const elsewhere = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (line) => line.type() === 'error' && faults.push(line.text()));
    const note = (url) => new URL(url).host === server.address || elsewhere.push(url);
    page.on('request', (request) => note(request.url()));
    page.on('websocket', (socket) => note(socket.url()));
    await page.goto(`http://${server.address}${path}`);
    await signIn(page);
    /** Leaves, and complains of whatever went wrong. */
    const leave = async ({ brokenNetwork = false, refusals = false } = {}) => {
        await context.close();
        const isExpected = (text) =>
            (brokenNetwork && (BROKEN_NETWORK.test(text) || OF_PROXY.test(text))) || (refusals && REFUSED.test(text));
        const left = faults.filter((text) => !isExpected(text));
        assert.deepEqual({ faults: left, elsewhere }, { faults: [], elsewhere: [] });
    };
    return { page, context, leave };
}

export async function signIn(page, password = 'admin_secret') {
    await page.getByLabel('User name').fill('admin');
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
}

/** Waits until the page receives updates from the server. */
export const live = (page) => page.waitForSelector('#pulse[data-state="live"]');

export const says = (page, id, text) =>
    page.waitForFunction(
        ([id, text]) => document.getElementById(id).textContent.includes(text),
        [id, text],
    );
