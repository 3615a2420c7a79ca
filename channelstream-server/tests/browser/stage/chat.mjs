// A chat with the AI SDK in Node: its application, whose answers grow, and its pages without a screen.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { serve } from './serve.mjs';

const PACKAGE = fileURLToPath(new URL('../../../../channelstream-js/', import.meta.url));
const { resolve } = createRequire(join(PACKAGE, 'package.json'));

/** The SDK itself. */
const { AbstractChat } = await import(pathToFileURL(resolve('ai')));

// The transport out of its sources: `dist/` may be older than they are.
const folder = await mkdtemp(join(tmpdir(), 'channelstream-chat-'));
await promisify(execFile)(process.execPath, [
    join(PACKAGE, 'node_modules/esbuild/bin/esbuild'),
    ...['src/ai.ts', 'src/index.ts'].map((name) => join(PACKAGE, name)),
    ...['--bundle', '--splitting', '--format=esm', '--define:VERSION="test"', '--out-extension:.js=.mjs'],
    `--outdir=${folder}`,
    '--log-level=error',
]);
const load = (name) => import(pathToFileURL(join(folder, name)));
export const { ChannelstreamChatTransport } = await load('ai.mjs');
export const { ChannelStreamConnection } = await load('index.mjs');
await rm(folder, { recursive: true });

/** The SDK's chat as useChat has it, with what it told. */
export class Chat extends AbstractChat {
    statuses = [];
    finishes = [];

    constructor(id, transport, messages = []) {
        const finishes = [];
        const state = {
            status: 'ready',
            error: undefined,
            messages,
            pushMessage: (message) => void (state.messages = [...state.messages, message]),
            popMessage: () => void (state.messages = state.messages.slice(0, -1)),
            replaceMessage: (index, message) => void (state.messages = state.messages.with(index, structuredClone(message))),
            snapshot: structuredClone,
        };
        super({ id, transport, state, onFinish: (told) => finishes.push(told), onError: () => {} });
        this.finishes = finishes;
    }

    /** The text of the last message. */
    get text() {
        const parts = this.messages.at(-1)?.parts ?? [];
        return parts.map(({ type, text }) => (type === 'text' ? text : '')).join('');
    }

    ask(text = 'why?') {
        return this.sendMessage({ text });
    }
}

/** The application: it opens answers, and tells which one is the newest of a chat. */
export class Application {
    /** Called with each request to the chat before it is answered; what it returns is the answer. */
    beforeAnswer = async () => undefined;
    /** What the application was asked, as method and path. */
    asked = [];
    /** Settings of the channels. */
    settings = { store_history: true };
    /** Further fields of an answer that is opened. */
    opening = { cancel_by: ['ann'] };
    /** Whether pages listen to the channel of a chat as soon as they connect. */
    joins = true;
    /** Whether answers to connect and subscribe keep the histories. */
    tells = true;
    /** The channels of the answers. */
    #channels = new Map();

    static async open(server) {
        const application = new Application();
        application.server = server;
        application.site = await serve((request, response) => application.#answer(request, response));
        return application;
    }

    get url() {
        return `http://${this.site.address}`;
    }

    close() {
        this.site.close();
    }

    /** Opens an answer in the channel of a chat. */
    async start(chat, more = {}) {
        const message = { user: 'bot', channel: `chat:${chat}`, message: { text: '' }, status: 'open' };
        const [answer] = await this.server.publish({ ...message, ...this.opening, ...more });
        this.#channels.set(answer.uuid, answer.channel);
        return answer;
    }

    /** Appends to an answer, or ends it. */
    async change(uuid, item) {
        return (await this.server.call('PATCH', '/message', [{ uuid, channel: this.#channels.get(uuid), ...item }]))[0];
    }

    append(uuid, text) {
        return this.change(uuid, { append: { text } });
    }

    async newest(chat) {
        const channel = `chat:${chat}`;
        const { channels } = await this.server.call('POST', '/info', { info: { channels: [channel] } });
        return channels[channel]?.history.findLast(({ status }) => status);
    }

    async #answer(request, response) {
        const { pathname } = new URL(request.url, this.url);
        this.asked.push(`${request.method} ${pathname}`);
        const text = Buffer.concat(await request.toArray()).toString();
        const send = (status, body = '', type = 'application/json') =>
            response.writeHead(status, { 'content-type': type }).end(typeof body === 'string' ? body : JSON.stringify(body));
        try {
            const [, api, id] = pathname.split('/');
            const body = text && JSON.parse(text);
            if (api !== 'chat') return send(200, await this.#forward(pathname, body));
            const chat = id ?? body.id;
            const other = await this.beforeAnswer({ request, body, chat });
            if (other) return send(...other);
            const message = request.method === 'POST' ? await this.start(chat) : await this.newest(chat);
            return message ? send(200, message) : send(204);
        } catch (error) {
            return send(502, error.message, 'text/plain');
        }
    }

    async #forward(path, { channels, conn_id, username }) {
        const whose = conn_id ? { conn_id } : { username };
        const joined = path === '/subscribe' || this.joins ? channels : [];
        const channel_configs = Object.fromEntries(channels.map((name) => [name, this.settings]));
        const answer = await this.server.call('POST', path, { ...whose, channels: joined, channel_configs });
        if (!this.tells) for (const channel of Object.values(answer.channels_info.channels)) channel.history = [];
        return answer;
    }
}
