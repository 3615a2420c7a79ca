// The real server as a process of its own, for tests in Node, with a clock that they put ahead.
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** How long a start may take. Machines that run tests are busy. */
const PATIENCE = 30_000;
/** How much of what the server says is kept. */
const KEPT = 64 * 1024;
/** Without the well-known default there is no test clock. */
const SECRET = 'secret';
const FIXED = { host: '127.0.0.1', port: 0, test_clock: true, log_level: 'INFO' };

export class TestServer {
    #child;
    #ended;
    #log = '';
    #url;

    /** Starts a server on a free port, with nothing in it yet, and waits until it listens. */
    static async start({ program = find(), settings = {} } = {}) {
        const own = Object.keys(settings).filter((name) => name in FIXED);
        if (own.length) throw new TypeError(`a server with a test clock needs its own ${own.join(', ')}`);
        const server = new TestServer();
        await server.#start(program, { ...settings, ...FIXED });
        return server;
    }

    /** The address, such as `http://127.0.0.1:43211`. */
    get url() {
        return this.#url;
    }

    /** The secret with which backends sign. */
    get secret() {
        return SECRET;
    }

    /** The end of what the server has logged. */
    get log() {
        return this.#log;
    }

    /** A signed call of the backend API: the JSON of its answer, or an error with what the server refused. */
    async call(path, body, method = 'POST') {
        const headers = { 'content-type': 'application/json', 'x-channelstream-secret': sign(path) };
        const answer = await fetch(`${this.#url}${path}`, { method, headers, body: JSON.stringify(body) });
        const text = await answer.text();
        if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
        return JSON.parse(text);
    }

    /**
     * Lets time pass on the server. What is due by then has happened when the promise resolves, and was handed
     * to the listeners. Heartbeats, and the time-outs of requests, go by the clock of the machine. Resolves to
     * how late it is on the server.
     */
    async advance(seconds) {
        const { now } = await this.call('/test/advance', { seconds });
        return new Date(`${now}Z`);
    }

    /** Ends the server as a power cut does: it has nothing to keep. */
    async stop() {
        process.off('exit', this.#kill);
        for (const handle of this.#handles) handle.ref();
        this.#kill();
        await this.#ended;
    }

    /** What keeps Node running. */
    get #handles() {
        return [this.#child, this.#child.stdout, this.#child.stderr];
    }

    #kill = () => {
        this.#child.kill('SIGKILL');
    };

    async #start(program, settings) {
        // Those of the environment are the settings of another server.
        const env = Object.entries(process.env).filter(([name]) => !name.startsWith('CHANNELSTREAM_'));
        const flags = Object.entries(settings).map(([name, value]) => `--${name.replaceAll('_', '-')}=${value}`);
        const child = spawn(program, flags, { env: Object.fromEntries(env), stdio: ['ignore', 'pipe', 'pipe'] });
        this.#child = child;
        this.#ended = new Promise((resolve) => child.once('close', resolve));
        process.once('exit', this.#kill);
        try {
            this.#url = await new Promise((resolve, reject) => {
                const fail = (problem) => reject(new Error(`${program} ${problem}\n${this.#log}`));
                const late = setTimeout(() => fail(`did not listen within ${PATIENCE / 1000} s`), PATIENCE);
                child.once('error', (error) => fail(`cannot be started: ${error.message}`));
                child.once('close', () => fail('ended before it listened'));
                for (const stream of [child.stdout, child.stderr]) {
                    stream.on('data', (bytes) => {
                        this.#log = (this.#log + bytes).slice(-KEPT);
                        const listens = /listening on (http:\/\/127\.0\.0\.1:\d+);/.exec(this.#log);
                        if (!listens) return;
                        clearTimeout(late);
                        resolve(listens[1]);
                    });
                }
                this.#ended.then(() => clearTimeout(late));
            });
        } catch (error) {
            await this.stop();
            throw error;
        }
        // A test that forgets to stop the server ends nevertheless, and the server with it.
        for (const handle of this.#handles) handle.unref();
    }
}

/** The program that CHANNELSTREAM_SERVER names, or the first on PATH. */
function find() {
    const named = process.env.CHANNELSTREAM_SERVER;
    if (named) return named;
    const file = process.platform === 'win32' ? 'channelstream-server.exe' : 'channelstream-server';
    const programs = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, file));
    const program = programs.find(isProgram);
    if (program) return program;
    throw new Error(
        'channelstream-server is not on PATH: `pip install channelstream-server` or ' +
            '`cargo install channelstream-server` puts it there, or CHANNELSTREAM_SERVER names the program',
    );
}

function isProgram(path) {
    try {
        accessSync(path, constants.X_OK);
        return true;
    } catch {
        return false;
    }
}

/** Signs with the default secret, as itsdangerous' TimestampSigner does. */
function sign(path) {
    const seconds = Buffer.alloc(4);
    seconds.writeUInt32BE(Math.floor(Date.now() / 1000));
    const text = `${path}.${seconds.toString('base64url')}`;
    const key = createHash('sha1').update(`itsdangerous.Signersigner${SECRET}`).digest();
    return `${text}.${createHmac('sha1', key).update(text).digest('base64url')}`;
}
