// A push server that does what it is told, for what a real one does not do on demand: it keeps a list of
// events with cursors, and answers with faults of any kind.
import { serve } from './serve.mjs';

const CORS = { 'access-control-allow-origin': '*', 'access-control-allow-headers': '*' };

export class Fake {
    /** What was asked: `/sse?conn_id=1&since=` */
    asked = [];
    /** Bodies that were posted, by their paths. */
    posted = [];
    /** The events so far, with their cursors. */
    events = [];
    /** Answers in place of the usual ones, by path: called with the response and the query. */
    instead = {};
    /** What connect answers besides. */
    more = {};
    epoch = '00000001';
    #streams = new Set();
    #polls = new Set();
    #connections = 0;

    static async open() {
        const fake = new Fake();
        fake.site = await serve((request, response) => void fake.#answer(request, response));
        return fake;
    }

    get address() {
        return this.site.address;
    }

    close() {
        this.site.close();
    }

    /** How many listen now. */
    get listeners() {
        return this.#streams.size + this.#polls.size;
    }

    /** The values of `since` that a path was asked with. */
    since(path) {
        const urls = this.asked.map((url) => new URL(url, 'http://fake'));
        return urls.filter(({ pathname }) => pathname === path).map(({ searchParams }) => searchParams.get('since'));
    }

    settings(more) {
        return {
            username: 'ann',
            increaseBounceIv: 20,
            connectUrl: `http://${this.address}/connect`,
            eventStreamUrl: `http://${this.address}/sse`,
            longPollUrl: `http://${this.address}/listen`,
            websocketUrl: `ws://${this.address}/ws`,
            cancelUrl: `http://${this.address}/cancel`,
            subscribeUrl: `http://${this.address}/subscribe`,
            disconnectUrl: `http://${this.address}/disconnect`,
            ...more,
        };
    }

    /** Sends an event to all. */
    send(event) {
        this.events.push({ ...event, seq: `${this.epoch}-${this.events.length + 1}` });
        for (const stream of this.#streams) stream.next();
        for (const poll of this.#polls) poll();
    }

    message(text, more) {
        this.send({ type: 'message', uuid: text, user: 'bob', channel: 'a', message: { text }, timestamp: '2026-01-01T00:00:00.000000', edited: null, catchup: false, ...more });
    }

    /** Writes to all event streams what they would not say by themselves. */
    write(text) {
        for (const { response } of this.#streams) response.write(text);
    }

    /** Ends all event streams: by the end of the answer, or by breaking the line. */
    end(broken = false) {
        for (const { response } of this.#streams) {
            if (broken) response.destroy();
            else response.end();
        }
        this.#streams.clear();
    }

    #after(since) {
        const at = since?.startsWith(`${this.epoch}-`) ? Number(since.split('-')[1]) : NaN;
        return Number.isNaN(at) ? this.events.length : at;
    }

    async #answer(request, response) {
        const { pathname, searchParams } = new URL(request.url, 'http://fake');
        for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
        if (request.method === 'OPTIONS') return response.end();
        this.asked.push(request.url);
        const body = Buffer.concat(await request.toArray()).toString();
        if (body) this.posted.push([pathname, JSON.parse(body)]);
        const query = Object.fromEntries(searchParams);
        const instead = this.instead[pathname];
        if (instead && instead(response, query) !== false) return;
        const json = (data, status = 200) =>
            response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(data));
        const { channels = [] } = body ? JSON.parse(body) : {};
        if (pathname === '/connect') {
            this.#connections += 1;
            return json({ conn_id: String(this.#connections), channels, ...this.more });
        }
        if (pathname === '/subscribe') return json({ channels: [...channels, 'a'] });
        if (pathname === '/cancel' || pathname === '/disconnect') return json({ taken: true });
        if (pathname === '/listen') return this.#poll(query, response, json);
        if (pathname === '/sse') return this.#stream(query, response);
        json({}, 404);
    }

    #poll({ since }, response, json) {
        const at = this.#after(since);
        const answer = () => {
            this.#polls.delete(answer);
            if (!response.writableEnded) json(this.events.slice(at));
        };
        response.on('close', () => this.#polls.delete(answer));
        if (since === '') return json([{ type: 'cursor', seq: `${this.epoch}-${at}` }]);
        if (this.events.length > at) return answer();
        this.#polls.add(answer);
    }

    #stream({ since }, response) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('retry: 3000\n\n');
        let at = this.#after(since);
        if (since === '') response.write(`id: ${this.epoch}-${at}\n\n`);
        const stream = {
            response,
            next: () => {
                for (; at < this.events.length; at += 1) {
                    const { seq, ...event } = this.events[at];
                    response.write(`id: ${seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
                }
            },
        };
        stream.next();
        this.#streams.add(stream);
        response.on('close', () => this.#streams.delete(stream));
    }
}
