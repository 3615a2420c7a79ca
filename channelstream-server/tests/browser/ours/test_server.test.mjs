// The server for tests in Node: found, started, put ahead, stopped.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { TestServer } from '../../../../channelstream-js/testing/test-server.mjs';
import { PROGRAM } from '../stage/server.mjs';

const options = { timeout: 60_000 };
const module = fileURLToPath(new URL('../../../../channelstream-js/testing/test-server.mjs', import.meta.url));

test('a member parts without anybody waiting', options, async () => {
    const server = await TestServer.start({ program: PROGRAM, settings: { gc_conns_after: 30 } });
    try {
        await server.call('/connect', { username: 'ann', channels: ['news'] });
        const users = async () => (await server.call('/info', { info: {} })).channels.news.total_users;
        const before = await server.advance(29);
        assert.equal(await users(), 1);
        const after = await server.advance(2);
        assert.ok(after - before >= 2000, `${before} ${after}`);
        assert.equal(await users(), 0);
        assert.equal(server.secret, 'secret');
        assert.ok(server.log.includes(server.url));
        await assert.rejects(server.advance(-1), /422 .*between 0 and/);
    } finally {
        await server.stop();
    }
    await assert.rejects(fetch(server.url));
});

test('a server that does not start says why', options, async () => {
    const start = (settings) => TestServer.start({ program: PROGRAM, settings });
    await assert.rejects(start({ gc_conns_after: 'soon' }), /ended before it listened[^]*gc-conns-after/);
    await assert.rejects(start({ secret: 'mine' }), /test_clock/);
    await assert.rejects(start({ host: '0.0.0.0', port: 8000 }), /needs its own host, port/);
    await assert.rejects(TestServer.start({ program: '/nowhere/server' }), /cannot be started/);
});

test('without a program the error says how to get one; one that is forgotten ends with the test', options, async () => {
    const run = (text, env) =>
        promisify(execFile)(process.execPath, ['--input-type=module', '-e', text], { env });
    const start = `const { TestServer } = await import(${JSON.stringify(module)}); const s = await TestServer.start();`;
    await assert.rejects(run(start, { PATH: '/nowhere' }), /channelstream-server is not on PATH: `pip install/);
    const { stdout } = await run(`${start} console.log(s.url);`, { CHANNELSTREAM_SERVER: PROGRAM });
    assert.match(stdout, /^http:/);
    await assert.rejects(fetch(stdout.trim()));
});
