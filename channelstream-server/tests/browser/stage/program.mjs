// A program of a page's application, started on a free port and stopped with the test.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { freePort } from './server.mjs';
import { until } from './until.mjs';

const answersHttp = (address) => fetch(`http://${address}/`).then(() => true, () => false);

export class Program {
    /** What it printed. */
    output = '';

    /**
     * Starts a program. `words` makes its command line of a port that is free, `settings` are added to its
     * environment. It runs in the folder `cwd`, and is ready once `answers` says so.
     */
    static async start(words, settings = {}, cwd = undefined, answers = answersHttp) {
        const program = new Program();
        const port = await freePort();
        program.address = `127.0.0.1:${port}`;
        const [name, ...more] = words(port);
        const env = { ...process.env, PYTHONUNBUFFERED: '1', ...settings, PORT: String(port) };
        const child = spawn(name, more, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
        program.process = child;
        process.once('exit', () => child.kill('SIGKILL'));
        for (const stream of [child.stdout, child.stderr]) {
            stream.on('data', (bytes) => (program.output = (program.output + bytes).slice(-10_000)));
        }
        let failure = null;
        child.on('error', (error) => (failure = error.message));
        child.on('exit', (code) => (failure ??= `it ended with status ${code}`));
        await until(async () => {
            if (failure) throw new Error(`${name} ${more}: ${failure}\n${program.output}`);
            return answers(program.address);
        }, () => `${name} answers; it said ${program.output}`, 30_000);
        return program;
    }

    async stop() {
        const child = this.process;
        if (child.exitCode !== null || child.signalCode !== null) return;
        const exit = once(child, 'exit');
        child.kill('SIGKILL');
        await exit;
    }
}
