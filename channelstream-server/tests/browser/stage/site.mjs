// Several servers on one Redis behind nginx, which gives each request to the next one: in place of one server.
import { connect } from 'node:net';
import { Nginx } from './nginx.mjs';
import { Program } from './program.mjs';
import { Server, freePort } from './server.mjs';
import { until } from './until.mjs';

/** Whether a Redis answers there. */
const answersPing = (address) =>
    new Promise((resolve) => {
        const [host, port] = address.split(':');
        const line = connect(port, host, () => line.write('PING\r\n'));
        line.once('data', (bytes) => resolve(bytes.toString().startsWith('+PONG')));
        line.once('data', () => line.destroy());
        line.on('error', () => resolve(false));
    });

const redis = (port) => ['redis-server', '--bind', '127.0.0.1', '--port', String(port), '--save', ''];

export class Site extends Server {
    #redis = null;
    #servers = [];
    #nginx = null;

    /** So many servers, with these settings. */
    static async of(nodes, settings) {
        const site = new Site();
        Object.assign(site, { nodes, settings, port: await freePort() });
        await site.start();
        return site;
    }

    /** Starts all of it, at first or again, on the same port. As with one server, nothing is left of before. */
    async start() {
        this.#redis = await Program.start(redis, {}, undefined, answersPing);
        const settings = {
            journal: 'redis',
            redis_url: `redis://${this.#redis.address}`,
            cookie_secret: 'one for all',
            trusted_proxies: '127.0.0.1',
            // Behind a proxy, nobody is on the server's own machine.
            tutorial: 'secret' in this.settings ? 'auto' : 'on',
            ...this.settings,
        };
        const starting = Array.from({ length: this.nodes }, () => Server.alone(settings));
        this.#servers = await Promise.all(starting);
        for (const { address } of this.#servers) {
            const unknown = `http://${address}/listen?conn_id=00000000-0000-0000-0000-000000000000`;
            await until(async () => (await fetch(unknown)).status !== 503, 'the server follows its journal');
        }
        this.#nginx = await Nginx.before(this.#servers, this.port);
        this.port = this.#nginx.port;
    }

    /** Ends all of it: the servers by a signal. */
    async stop(signal) {
        await Promise.all(this.#servers.map((server) => server.stop(signal)));
        await this.#nginx.stop();
        await this.#redis.stop();
    }
}
