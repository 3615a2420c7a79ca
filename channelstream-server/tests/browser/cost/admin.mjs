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

async function phase(name, view) {
    const opened = view === null ? null : await openAdmin(browser, server, `/admin#${view}`);
    if (opened) await live(opened.page);
    await pause(2_000);
    const [serverBefore, browserBefore, begun] = [cpuTime(server.pid), cpuTimeOfFamily(launched.process().pid), performance.now()];
    await pause(seconds * 1000);
    const spent = (performance.now() - begun) / 1000;
    const share = (before, after) => `${((100 * (after - before)) / spent).toFixed(2)} %`.padStart(8);
    const ofServer = share(serverBefore, cpuTime(server.pid));
    const ofBrowser = share(browserBefore, cpuTimeOfFamily(launched.process().pid));
    console.log(`${name.padEnd(44)} server ${ofServer}   browser ${ofBrowser}`);
    if (opened) await opened.leave();
}

const views = [
    ['no page', null],
    ['page: overview', 'overview'],
    ['page: list of channels', 'channels'],
    ['page: one channel, live', `channels/${channelOf(0)}`],
    ['page: users', 'users'],
    ['page: slow listeners', 'slow'],
    ['no page, again', null],
];
console.log('\nCPU of one core, without load');
for (const [name, view] of views) await phase(name, view);
console.log(`\nCPU of one core, with ${rate} messages a second`);
const load = post(server, rate, count);
const [before, begun] = [load.posted, performance.now()];
for (const [name, view] of views) await phase(name, view);
const achieved = (load.posted - before) / ((performance.now() - begun) / 1000);
console.log(`\n${achieved.toFixed(0)} messages a second were posted`);
await load.stop();
crowd.leave();
await browser.close();
await launched.close();
await server.stop();
