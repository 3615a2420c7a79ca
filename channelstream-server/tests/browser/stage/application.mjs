// A web application as users of Channelstream write it: pages, and signed calls behind them.
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { serve } from './serve.mjs';

const CLIENT = process.env.CHANNELSTREAM_CLIENT;
if (!CLIENT) throw new Error('CHANNELSTREAM_CLIENT must name the module of a browser client');

// How this application wants all of its channels.
const SETTINGS = {
    notify_presence: true,
    broadcast_presence_with_user_lists: true,
    notify_state: true,
    store_history: true,
};

const settings = (channels) => Object.fromEntries(channels.map((name) => [name, SETTINGS]));

export class Application {
    /** More pages and files, by their paths: `{ type, body, headers }`. */
    files = new Map();

    /** Called with the server's answer to /connect before the page gets it. */
    beforeConnected = async () => {};

    static async open(server) {
        const application = new Application();
        application.server = server;
        application.site = await serve((request, response) => application.#answer(request, response));
        return application;
    }

    get address() {
        return this.site.address;
    }

    close() {
        this.site.close();
    }

    async #answer(request, response) {
        const { pathname } = new URL(request.url, 'http://application');
        const send = (status, type, body) => response.writeHead(status, { 'content-type': type }).end(body);
        try {
            const file = this.files.get(pathname);
            if (file) {
                response.writeHead(200, { 'content-type': file.type, ...file.headers }).end(file.body);
            } else if (pathname === '/') {
                const page = await readFile(new URL('page.html', import.meta.url), 'utf8');
                send(200, 'text/html', page.replace('CLIENT', `/client/${basename(CLIENT)}`));
            } else if (pathname.startsWith('/client/')) {
                const file = join(dirname(CLIENT), basename(pathname));
                send(200, 'text/javascript', await readFile(file));
            } else {
                const body = await this.#forward(request.method, pathname, await read(request));
                send(200, 'application/json', JSON.stringify(body));
            }
        } catch (error) {
            // What the page gets while the push server is away.
            send(502, 'text/plain', error.message);
        }
    }

    /** Turns what the page asks into what the server takes. */
    async #forward(method, path, body) {
        const { server } = this;
        switch (`${method} ${path}`) {
            case 'POST /connect': {
                const answer = await server.call('POST', '/connect', {
                    ...body,
                    fresh_user_state: { color: 'grey', email: `${body.username}@example.org` },
                    state_public_keys: ['color'],
                    channel_configs: settings(body.channels),
                });
                await this.beforeConnected(answer);
                return answer;
            }
            case 'POST /subscribe':
            case 'POST /unsubscribe':
                return server.call('POST', path, { ...body, channel_configs: settings(body.channels) });
            case 'POST /user_state':
                return server.call('POST', path, { user: body.username, user_state: body.update_state });
            case 'POST /message':
            case 'PATCH /message':
            case 'DELETE /message':
                return server.call(method, path, [body]);
            default:
                throw new Error(`no such page: ${method} ${path}`);
        }
    }
}

async function read(request) {
    const chunks = await request.toArray();
    return JSON.parse(Buffer.concat(chunks).toString());
}
