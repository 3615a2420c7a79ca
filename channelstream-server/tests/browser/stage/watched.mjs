// A page of which everything is noted that must not be: errors, and requests to other hosts.
import assert from 'node:assert/strict';

/** Opens an address in a browser of its own, or in that of another page; `hosts` are those that the page may ask. */
export async function openWatched(browser, address, { hosts = [new URL(address).host], beside, ...options } = {}) {
    const context = beside?.context() ?? (await browser.newContext(options));
    const page = await context.newPage();
    const faults = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (line) => line.type() === 'error' && faults.push(line.text()));
    const elsewhere = [];
    const note = (url) => hosts.includes(new URL(url).host) || elsewhere.push(url);
    page.on('request', (request) => note(request.url()));
    page.on('websocket', (socket) => note(socket.url()));
    await page.goto(address);
    /** Closes it, and complains of what was noted; `but` are errors that were to come. */
    const leave = async (but = /^$/) => {
        await context.close();
        const unexpected = faults.filter((fault) => !but.test(fault));
        assert.deepEqual({ faults: unexpected, elsewhere }, { faults: [], elsewhere: [] });
    };
    return { page, leave };
}
