// Our client and the conformance kit, in Node: what a client does with all faults of a server.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PROGRAM } from '../stage/server.mjs';

const adapter = fileURLToPath(new URL('../stage/conformance.mjs', import.meta.url));

/**
 * Where a page departs from what a client should do: `Retry-After` is not shown to pages of other origins, and
 * `fetch` follows redirects, which pages may need in front of the server.
 */
const DEPARTS = ['listen.redirect', 'listen.retry-after'];

/** Resolves with the exit status and the report of a run of the kit. */
function conformance(transport) {
    // The command is built with the server and stands beside it.
    const command = join(dirname(PROGRAM), 'channelstream');
    const client = `exec '${process.execPath}' --no-warnings --experimental-websocket '${adapter}'`;
    const words = ['--client', client, '--case', 'listen', '--transport', transport, '--patience', '60s', '--jobs', '8'];
    return new Promise((resolve, reject) => {
        execFile(command, ['conformance', '--json', ...words], { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
            if (!stdout) return reject(new Error(`${error}: ${stderr}`));
            resolve({ code: error?.code ?? 0, report: JSON.parse(stdout) });
        });
    });
}

for (const transport of ['websocket', 'sse', 'poll']) {
    test(`conforms by ${transport}`, { timeout: 600_000 }, async () => {
        const { code, report } = await conformance(transport);
        const bad = report.cases.filter(({ status }) => status === 'failed');
        assert.deepEqual(bad, []);
        assert.equal(code, 0);
        const warned = report.cases.filter(({ status }) => status === 'warned').map(({ case: name }) => name);
        assert.ok(warned.every((name) => DEPARTS.includes(name)), `${warned}`);
        assert.ok(report.passed > 15, `${report.passed} passed`);
    });
}
