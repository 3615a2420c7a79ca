// A network that misbehaves on demand: a TCP proxy that can stall and cut what runs through it.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Proxy {
    #lines = new Set();
    #stalled = false;
    #down = false;

    /** A proxy on a free port to a port of this machine. */
    static async to(port) {
        const proxy = new Proxy();
        proxy.server = createServer((near) => proxy.#accept(near, port)).listen(0, '127.0.0.1');
        await once(proxy.server, 'listening');
        proxy.address = `127.0.0.1:${proxy.server.address().port}`;
        return proxy;
    }

    #accept(near, port) {
        if (this.#down) return near.destroy();
        const line = { far: connect(port, '127.0.0.1'), near, held: [] };
        this.#lines.add(line);
        const ends = [
            [near, line.far],
            [line.far, near],
        ];
        for (const [from, to] of ends) {
            from.on('data', (bytes) => this.#pass(line, () => to.write(bytes)));
            from.on('end', () => this.#pass(line, () => to.end()));
            from.on('error', () => to.destroy());
            from.on('close', () => {
                this.#pass(line, () => to.destroy());
                this.#lines.delete(line);
            });
        }
    }

    #pass(line, action) {
        if (this.#stalled) line.held.push(action);
        else action();
    }

    /** Lines stay, nothing passes. */
    stall() {
        this.#stalled = true;
    }

    /** Lets everything pass again, first what was held up. */
    resume() {
        this.#stalled = false;
        for (const line of this.#lines) line.held.splice(0).forEach((action) => action());
    }

    /** Breaks all lines and refuses new ones until `mend`. */
    cut() {
        this.#down = true;
        for (const { near, far } of this.#lines) {
            near.resetAndDestroy();
            far.resetAndDestroy();
        }
        this.#lines.clear();
        this.#stalled = false;
    }

    mend() {
        this.#down = false;
    }

    close() {
        this.cut();
        this.server.close();
    }
}
