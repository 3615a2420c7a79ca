// A real nginx before a server, configured as docs/operations.md shows it.
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

export class Nginx {
    /** Starts one on a free port. */
    static async before(server) {
        for (let attempt = 1; ; attempt += 1) {
            const nginx = new Nginx();
            try {
                await nginx.#start(server);
                return nginx;
            } catch (error) {
                await nginx.stop();
                // Somebody else may have taken the port since it was found free.
                if (attempt === 5) throw error;
            }
        }
    }

    async #start(server) {
        const port = await freePort();
        this.address = `127.0.0.1:${port}`;
        this.folder = await mkdtemp(join(tmpdir(), 'nginx-'));
        const [, example] = (await readFile(OPERATIONS, 'utf8')).match(/```nginx\n(.*?)```/s);
        const text = example
            .replace('listen 80;', `listen ${this.address};`)
            .replace('http://127.0.0.1:8000', `http://${server.address}`);
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
