// A stage for one file of tests: the server, the application before it, and a browser.
import { after, afterEach } from 'node:test';
import { chromium } from 'playwright-core';
import { Application } from './application.mjs';
import { Server } from './server.mjs';
import { Visitor } from './visitor.mjs';

// No graphics and no calls home: the tests need neither, and neither need work where they run.
const FLAGS = [
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
];

/**
 * Sets the stage and takes it down after the file's last test. `settings` are the server's,
 * `launch` the browser's.
 */
export async function setStage({ settings, launch } = {}) {
    const executablePath = process.env.CHANNELSTREAM_CHROMIUM ?? '/usr/bin/chromium';
    const server = await Server.start(settings);
    const application = await Application.open(server);
    const browser = await chromium.launch({ executablePath, args: FLAGS, ...launch });
    let visitors = [];
    let rooms = 0;
    after(async () => {
        await browser.close();
        application.close();
        await server.stop();
    });

    const stage = {
        server,
        application,
        browser,
        /** The name of a channel that no other test uses. */
        room: () => `room-${(rooms += 1)}`,
        /** Pages of broken networks log that; all other errors in a page fail its test. */
        brokenNetwork: false,
        /** Opens a page for a person of that name. */
        async visitor(username, settings) {
            const given = { username, address: server.address, ...settings };
            const visitor = await Visitor.open(browser, application, given);
            visitors.push(visitor);
            return visitor;
        },
    };
    afterEach(async () => {
        const leaving = visitors;
        visitors = [];
        application.beforeConnected = async () => {};
        const results = await Promise.allSettled(leaving.map((visitor) => visitor.leave(stage)));
        for (const { reason } of results.filter(({ status }) => status === 'rejected')) throw reason;
    });
    return stage;
}
