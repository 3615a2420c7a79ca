// Builds dist/, and the copies of it that the server embeds; with --check compares those instead.
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bytes of the module, compressed with gzip. */
const LARGEST = 5 * 1024;

const here = fileURLToPath(new URL('.', import.meta.url));
const dist = join(here, 'dist');
const served = join(here, '../channelstream-server/src/http/pages/channelstream');
const check = process.argv.includes('--check');
process.chdir(here);

/** Checks the types of a folder; of the sources, makes their declarations. */
function compile(folder) {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder], { stdio: 'inherit' });
}

const { version } = JSON.parse(await readFile('package.json', 'utf8'));
const banner = `/*! channelstream ${version}, BSD-3-Clause */`;
const common = {
    entryPoints: ['src/index.ts'],
    outdir: 'dist',
    write: false,
    bundle: true,
    minify: true,
    sourcemap: true,
    charset: 'utf8',
    target: 'es2022',
    legalComments: 'none',
    banner: { js: banner },
    define: { VERSION: JSON.stringify(version) },
};
const outputs = await Promise.all([
    build({ ...common, format: 'esm', entryNames: 'channelstream' }),
    build({
        ...common,
        format: 'iife',
        globalName: 'channelstream',
        entryNames: 'channelstream.global',
    }),
]);
const files = new Map();
for (const { path, contents } of outputs.flatMap(({ outputFiles }) => outputFiles)) {
    files.set(basename(path), Buffer.from(contents));
}
// The names under which pages know it.
for (const name of ['index.js', 'signer.js']) {
    files.set(name, Buffer.from("export * from './channelstream.js';\n"));
}

await rm(dist, { recursive: true, force: true });
compile('.');
const different = [];
await mkdir(served, { recursive: true });
for (const [name, bytes] of files) {
    await writeFile(join(dist, name), bytes);
    const copy = join(served, name);
    if (!check) await writeFile(copy, bytes);
    else if (!bytes.equals(await readFile(copy).catch(() => Buffer.alloc(0)))) different.push(name);
}

// The declarations as others see them.
compile('tests');

const module = files.get('channelstream.js');
const gzip = gzipSync(module, { level: 9 }).length;
const brotli = brotliCompressSync(module).length;
console.log(`channelstream.js: ${module.length} bytes, ${gzip} with gzip, ${brotli} with brotli`);
if (gzip > LARGEST) throw new Error(`more than ${LARGEST} bytes`);
if (different.length > 0) {
    throw new Error(`not what the sources give: ${different.join(', ')} in ${served}; run npm run build`);
}
