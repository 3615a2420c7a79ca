// The server under test as a process of its own, and the backend's signed calls to it.
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { until } from './until.mjs';

/** The server. */
export const PROGRAM =
    process.env.CHANNELSTREAM_SERVER ??
    fileURLToPath(new URL('../../../../target/debug/channelstream-server', import.meta.url));

/** How many servers there are wherever a test starts one. */
export const NODES = Number(process.env.CHANNELSTREAM_NODES ?? 1);

/** What a browser logs of the proxy's own answer while all servers behind it are away. */
export const OF_PROXY = NODES === 1 ? /(?!)/ : /blocked by CORS policy|status of 502/;

/** Signs with the default secret, as itsdangerous' TimestampSigner does. */
export function sign(path, secret = 'secret') {
    const seconds = Buffer.alloc(4);
    seconds.writeUInt32BE(Math.floor(Date.now() / 1000));
    const text = `${path}.${seconds.toString('base64url')}`;
    const key = createHash('sha1').update(`itsdangerous.Signersigner${secret}`).digest();
    return `${text}.${createHmac('sha1', key).update(text).digest('base64url')}`;
}

export class Server {
    #process = null;
    #output = '';

    /**
     * Starts a server on a free port, with settings of its own by their names; or several in its place, if
     * so many are asked for.
     */
    static async start(settings = {}) {
        if (NODES === 1) return Server.alone(settings);
        const { Site } = await import('./site.mjs');
        return Site.of(NODES, settings);
    }

    /** Starts one server on a free port. */
    static async alone(settings = {}) {
        for (let attempt = 1; ; attempt += 1) {
            const server = new Server();
            server.settings = settings;
            server.port = await freePort();
            try {
                await server.start();
                return server;
            } catch (error) {
                // Somebody else may have taken the port since it was found free.
                if (attempt === 5) throw error;
            }
        }
    }

    get address() {
        return `127.0.0.1:${this.port}`;
    }

    get pid() {
        return this.#process.pid;
    }

    /** Starts the process, at first or again, on the same port. */
    async start() {
        // Nothing but what is given here: every variable of that prefix is a setting.
        const foreign = Object.entries(process.env).filter(([name]) => !name.startsWith('CHANNELSTREAM_'));
        const env = {
            ...Object.fromEntries(foreign),
            CHANNELSTREAM_HOST: '127.0.0.1',
            CHANNELSTREAM_PORT: String(this.port),
        };
        for (const [name, value] of Object.entries(this.settings)) {
            env[`CHANNELSTREAM_${name.toUpperCase()}`] = String(value);
        }
        this.#output = '';
        const child = spawn(PROGRAM, [], { env, stdio: ['ignore', 'pipe', 'pipe'] });
        this.#process = child;
        process.once('exit', () => child.kill('SIGKILL'));
        for (const stream of [child.stdout, child.stderr]) {
            stream.on('data', (bytes) => (this.#output = (this.#output + bytes).slice(-10_000)));
        }
        let failure = null;
        child.on('error', (error) => (failure = error));
        child.on('exit', () => (failure ??= new Error('the server ended at once')));
        await until(async () => {
            if (failure) throw new Error(`${PROGRAM}: ${failure.message}\n${this.#output}`);
            return fetch(`http://${this.address}/admin/sign_in`).then(
                (answer) => answer.ok,
                () => false,
            );
        }, 'the server answers');
    }

    /** Ends the process: SIGKILL as a crash would, SIGTERM as an operator would. */
    async stop(signal = 'SIGKILL') {
        const child = this.#process;
        if (child.exitCode === null && child.signalCode === null) {
            const exit = once(child, 'exit');
            child.kill(signal);
            await exit;
        }
    }

    /** One signed backend call; gives the answer's JSON or throws what the server refused. */
    async call(method, path, body) {
        const answer = await this.request(method, path, body, sign(path));
        const text = await answer.text();
        if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
        return JSON.parse(text);
    }

    request(method, path, body, signature) {
        return fetch(`http://${this.address}${path}`, {
            method,
            headers: { 'content-type': 'application/json', 'x-channelstream-secret': signature },
            body: JSON.stringify(body),
        });
    }

    /** Publishes one message. */
    publish(message) {
        return this.call('POST', '/message', [message]);
    }
}

/** A port that nobody listens on at this moment. */
export async function freePort() {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address();
    probe.close();
    await once(probe, 'close');
    return port;
}
