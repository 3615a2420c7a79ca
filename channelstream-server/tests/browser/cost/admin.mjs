// What an open admin page costs server and browser: ten thousand channels, each with a listener, and
// a thousand messages a second. Prints; judges nothing. Run it on the released server:
//
//   CHANNELSTREAM_SERVER=target/release/channelstream-server node channelstream-server/tests/browser/cost/admin.mjs
//
// Arguments: listeners (10000), messages a second (1000), seconds of each phase (20).
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { live, openAdmin } from '../stage/admin.mjs';
import { channelOf, gather, post } from '../stage/crowd.mjs';
import { Server } from '../stage/server.mjs';

const [count = 10_000, rate = 1_000, seconds = 20] = process.argv.slice(2).map(Number);
const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';

/** Time on processors of a process, in seconds. */
function cpuTime(pid) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The same of a process with all that it started. */
function cpuTimeOfFamily(pid) {
    const table = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' });
    const children = new Map();
    for (const line of table.trim().split('\n')) {
        const [child, parent] = line.trim().split(/\s+/).map(Number);
        children.set(parent, [...(children.get(parent) ?? []), child]);
    }
    let total = 0;
    const add = (one) => {
        try {
            total += cpuTime(one);
        } catch {
            // It has just ended.
        }
        (children.get(one) ?? []).forEach(add);
    };
    add(pid);
    return total;
}

const server = await Server.start({ gc_conns_after: 3600, max_listeners: count + 100, max_connections: count + 1000 });
const launched = await chromium.launchServer({ executablePath, args: ['--disable-gpu', '--disable-background-networking'] });
const browser = await chromium.connect(launched.wsEndpoint());
console.log(`gathering ${count} listeners in as many channels`);
const crowd = await gather(server, count);

/** Shares of one core, of server and browser, with a view of the page open or with no page. */
async function measure(view) {
    const opened = view === null ? null : await openAdmin(browser, server, `/admin#${view}`);
    if (opened) await live(opened.page);
    await pause(2_000);
    const family = launched.process().pid;
    const before = { server: cpuTime(server.pid), browser: cpuTimeOfFamily(family), time: performance.now() };
    await pause(seconds * 1000);
    const share = (now, then) => (100_000 * (now - then)) / (performance.now() - before.time);
    const found = {
        server: share(cpuTime(server.pid), before.server),
        browser: share(cpuTimeOfFamily(family), before.browser),
    };
    if (opened) await opened.leave();
    return found;
}

const VIEWS = {
    overview: 'overview',
    'list of channels': 'channels',
    'one channel, live': `channels/${channelOf(0)}`,
    users: 'users',
    'slow listeners': 'slow',
};

/** By turns without a page and with one, since the load itself does not cost the same for long. */
async function table(title) {
    const write = (value) => `${value.toFixed(2)} %`.padStart(9);
    console.log(`\n${title}\n${'view'.padEnd(20)} server without, with, difference    browser`);
    let [sum, count] = [0, 0];
    for (const [name, view] of Object.entries(VIEWS)) {
        const without = await measure(null);
        const open = await measure(view);
        const more = open.server - without.server;
        sum += more;
        count += 1;
        console.log(`${name.padEnd(20)} ${write(without.server)} ${write(open.server)} ${write(more)} ${write(open.browser)}`);
    }
    console.log(`${'mean'.padEnd(20)} ${' '.repeat(20)}${write(sum / count)}`);
}

await table('CPU of one core, without load');
const load = post(server, rate, count);
const [before, begun] = [load.posted, performance.now()];
await table(`CPU of one core, with ${rate} messages a second`);
const achieved = (load.posted - before) / ((performance.now() - begun) / 1000);
console.log(`\n${achieved.toFixed(0)} messages a second were posted`);
await load.stop();
crowd.leave();
await browser.close();
await launched.close();
await server.stop();
