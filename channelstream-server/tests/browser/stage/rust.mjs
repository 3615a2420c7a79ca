// Rust that a page shows, compiled beside what the tests of the crates have built.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const CRATES = ['axum', 'channelstream_client', 'tokio', 'warp'];

/** The libraries of these crates, as cargo built them for the whole workspace: it builds them now if need be. */
async function libraries() {
    const words = ['build', '--workspace', '--example', 'chat', '--locked', '--message-format', 'json'];
    const { stdout } = await run('cargo', words, { cwd: ROOT, maxBuffer: 1 << 28 });
    const lines = stdout.split('\n').filter((line) => line.includes('"compiler-artifact"'));
    const built = lines.map((line) => JSON.parse(line));
    return CRATES.map((crate) => {
        const found = built.filter(({ target }) => target.name === crate);
        if (found.length !== 1) throw new Error(`cargo built ${found.length} of ${crate}`);
        return [crate, found[0].filenames.find((name) => name.endsWith('.rlib'))];
    });
}

let known = null;

/** Compiles a program without a warning, and gives its path, which is `path`. */
export async function compile(text, path) {
    const crates = await (known ??= libraries());
    await writeFile(`${path}.rs`, text);
    const externs = crates.flatMap(([crate, file]) => ['--extern', `${crate}=${file}`]);
    const folder = `dependency=${dirname(crates[0][1])}`;
    // Nobody looks into it with a debugger, and without is quicker.
    const words = ['--edition', '2024', '-D', 'warnings', '-C', 'debuginfo=0', '-L', folder, ...externs, '-o', path];
    await run('rustc', [...words, `${path}.rs`], { cwd: ROOT });
    return path;
}
