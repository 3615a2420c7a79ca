// A web proxy before the push server that knows websockets well, badly or not at all.
import { once } from 'node:events';
import { createServer, request as ask } from 'node:http';
import { connect } from 'node:net';

/**
 * What it does with a websocket: `pass` it on, `refuse` it, let it `hang`, `swallow` the server's
 * answer to it, `cut` it as soon as it is open, or open it and then be `mute`.
 */
export class HttpProxy {
    mode = 'pass';
    /** What it makes of the headers of requests. */
    changed = (headers) => headers;
    #lines = new Set();

    /** A proxy on a free port to a server. */
    static async to(server) {
        const proxy = new HttpProxy();
        proxy.server = server;
        proxy.http = createServer((request, response) => proxy.#forward(request, response));
        proxy.http.on('upgrade', (request, near) => proxy.#upgrade(request, near));
        proxy.http.listen(0, '127.0.0.1');
        await once(proxy.http, 'listening');
        proxy.address = `127.0.0.1:${proxy.http.address().port}`;
        return proxy;
    }

    #forward({ method, url, headers }, response) {
        const onward = ask({ host: '127.0.0.1', port: this.server.port, method, path: url, headers: this.changed(headers) });
        onward.on('response', (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        onward.on('error', () => response.destroy());
        response.on('close', () => onward.destroy());
        onward.end();
    }

    #upgrade({ url, headers }, near) {
        near.on('error', () => near.destroy());
        const { mode } = this;
        if (mode === 'refuse') return near.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n');
        const line = { near, frozen: false };
        this.#lines.add(line);
        near.on('close', () => this.#lines.delete(line));
        if (mode === 'hang') return;
        const far = connect(this.server.port, '127.0.0.1');
        line.far = far;
        far.on('error', () => far.destroy());
        const head = Object.entries(this.changed(headers)).map(([name, value]) => `${name}: ${value}\r\n`);
        far.write(`GET ${url} HTTP/1.1\r\n${head.join('')}\r\n`);
        let answered = false;
        far.on('data', (bytes) => {
            if (mode === 'swallow' || line.frozen) return;
            if (answered && mode === 'mute') return;
            near.write(bytes);
            answered = true;
            if (mode === 'cut') this.#destroy(line);
        });
        near.on('data', (bytes) => line.frozen || far.write(bytes));
        near.on('close', () => line.kept || far.destroy());
        far.on('close', () => line.frozen || near.destroy());
    }

    #destroy({ near, far }) {
        near.resetAndDestroy();
        far?.destroy();
    }

    /** The websockets that are open now stay so, and nothing passes any more. */
    freeze() {
        for (const line of this.#lines) line.frozen = true;
    }

    /** Breaks the websockets that are open now towards the page; the server does not notice. */
    breakNear() {
        for (const line of this.#lines) {
            line.kept = true;
            line.near.resetAndDestroy();
        }
    }

    close() {
        for (const line of this.#lines) this.#destroy(line);
        this.http.close();
        this.http.closeAllConnections();
    }
}
