// A real nginx before one server or several, configured as docs/operations.md shows it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './server.mjs';
import { until } from './until.mjs';

const OPERATIONS = new URL('../../../../docs/operations.md', import.meta.url);
/** Debian has it where the searches of ordinary users don't look. */
const PROGRAM = existsSync('/usr/sbin/nginx') ? '/usr/sbin/nginx' : 'nginx';

/** The part of the example that names the servers, with these in place of its own. */
function upstream(example, servers) {
    const [line] = example.match(/ +server .*\n/);
    const lines = servers.map(({ address }) => line.replace('10.0.0.1:8000', address));
    return example.replace(/( +server .*\n)+/, lines.join(''));
}

export class Nginx {
    /** Starts one on a free port, or on `port`. Several servers get a request in turn. */
    static async before(servers, port) {
        for (let attempt = 1; ; attempt += 1) {
            const nginx = new Nginx();
            try {
                await nginx.#start([servers].flat(), port ?? (await freePort()));
                return nginx;
            } catch (error) {
                await nginx.stop();
                // Somebody else may have taken the port since it was found free.
                if (attempt === 5) throw error;
            }
        }
    }

    async #start(servers, port) {
        this.port = port;
        this.address = `127.0.0.1:${port}`;
        this.folder = await mkdtemp(join(tmpdir(), 'nginx-'));
        const [one, several] = (await readFile(OPERATIONS, 'utf8')).matchAll(/```nginx\n(.*?)```/gs);
        const before = servers.length === 1 ? '' : upstream(several[1], servers);
        const target = servers.length === 1 ? servers[0].address : 'channelstream';
        const text =
            before +
            one[1].replace('listen 80;', `listen ${this.address};`).replace('http://127.0.0.1:8000', `http://${target}`);
        const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
            .map((what) => `${what}_temp_path ${this.folder}/${what};`);
        const config =
            `daemon off; master_process off; pid ${this.folder}/pid; events {}\n` +
            `http { access_log off; ${temporary.join(' ')}\n${text}\n}\n`;
        await writeFile(join(this.folder, 'nginx.conf'), config);
        const log = join(this.folder, 'error.log');
        const child = spawn(PROGRAM, ['-p', this.folder, '-e', log, '-c', 'nginx.conf'], { stdio: 'ignore' });
        this.process = child;
        process.once('exit', () => child.kill('SIGKILL'));
        let failure = null;
        child.on('error', (error) => (failure = error));
        child.on('exit', () => (failure ??= new Error('nginx ended at once')));
        await until(async () => {
            if (failure) throw new Error(`${failure.message}: ${await readFile(log, 'utf8').catch(() => '')}`);
            // The file comes after the port is bound.
            return readFile(join(this.folder, 'pid'), 'utf8').catch(() => '');
        }, 'nginx begins');
    }

    async stop() {
        const child = this.process;
        if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) {
            const exit = once(child, 'exit');
            child.kill('SIGKILL');
            await exit;
        }
        await rm(this.folder, { recursive: true, force: true });
    }
}
