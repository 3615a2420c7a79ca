// Builds dist/, and the copies of it that the server embeds; with --check compares those instead, and with
// --modules makes the modules in dist/ alone, without declarations.
import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** The most bytes that each module may have on the wire: browsers accept brotli over https, and gzip elsewhere. */
const LARGEST = {
    'ai.js': { br: 4 * 1024, gz: 4.5 * 1024 },
    'index.js': { br: 7.25 * 1024, gz: 8 * 1024 },
    'messages.js': { br: 2 * 1024, gz: 2.25 * 1024 },
    'shared.js': { br: 2.25 * 1024, gz: 2.5 * 1024 },
};

/** What programs import by the package's name alone; the server has no copy. */
const PACKED = ['ai.js', 'ai.js.map'];

/** The files that pages load are stored compressed as well, so that the server never compresses. */
const CODINGS = {
    br: { compress: (bytes) => brotliCompressSync(bytes), decompress: brotliDecompressSync },
    gz: { compress: (bytes) => gzipSync(bytes, { level: 9 }), decompress: gunzipSync },
};

const here = fileURLToPath(new URL('.', import.meta.url));
const dist = join(here, 'dist');
const served = join(here, '../channelstream-server/web/channelstream');
const check = process.argv.includes('--check');
process.chdir(here);

/** Checks the types of a folder; of the sources, makes their declarations. */
function compile(folder) {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder], { stdio: 'inherit' });
}

const { version } = JSON.parse(await readFile('package.json', 'utf8'));
const banner = `/*! channelstream ${version}, BSD-3-Clause */`;
const common = {
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
/** Takes what `shared.js` extends, and `ai.js` throws, from the module that the page has loaded. */
const fromIndex = {
    name: 'from index',
    setup({ onResolve }) {
        onResolve({ filter: /\/(compat|index)\.js$/ }, () => ({ path: './index.js', external: true }));
    },
};
const outputs = await Promise.all([
    build({ ...common, entryPoints: ['src/index.ts', 'src/messages.ts'], format: 'esm' }),
    build({ ...common, entryPoints: ['src/ai.ts', 'src/shared.ts'], format: 'esm', plugins: [fromIndex] }),
    build({
        ...common,
        entryPoints: ['src/global.ts'],
        format: 'iife',
        globalName: 'channelstream',
        entryNames: 'channelstream.global',
    }),
]);
const files = new Map();
for (const { path, contents } of outputs.flatMap(({ outputFiles }) => outputFiles)) {
    files.set(basename(path), Buffer.from(contents));
}
// Other names under which pages load it.
for (const name of ['channelstream.js', 'signer.js']) {
    files.set(name, Buffer.from("export * from './index.js';\n"));
}

if (process.argv.includes('--modules')) {
    await mkdir(dist, { recursive: true });
    for (const [name, bytes] of files) await writeFile(join(dist, name), bytes);
    process.exit();
}

await rm(dist, { recursive: true, force: true });
compile('.');
// A script that the page loads makes the global name; so a program finds its types.
await appendFile(join(dist, 'global.d.ts'), 'export as namespace channelstream;\n');
const different = [];
await mkdir(served, { recursive: true });
const kept = (name) => readFile(join(served, name)).catch(() => null);
for (const [name, bytes] of files) {
    await writeFile(join(dist, name), bytes);
    if (PACKED.includes(name)) continue;
    if (!check) await writeFile(join(served, name), bytes);
    else if (!(await kept(name))?.equals(bytes)) different.push(name);
}

const sizes = {};
for (const name of [...Object.keys(LARGEST), 'channelstream.global.js']) {
    for (const [ending, { compress, decompress }] of Object.entries(CODINGS)) {
        if (PACKED.includes(name)) {
            sizes[name] = { ...sizes[name], [ending]: compress(files.get(name)).length };
            continue;
        }
        const file = `${name}.${ending}`;
        let copy = await kept(file);
        // Other versions of the libraries compress to other bytes: what counts is what comes out.
        if (!copy || !files.get(name).equals(decompress(copy))) {
            if (check) different.push(file);
            copy = compress(files.get(name));
            if (!check) await writeFile(join(served, file), copy);
        }
        sizes[name] = { ...sizes[name], [ending]: copy.length };
    }
}

// The declarations as users see them.
compile('tests');
compile('tests/ai');

// A page that does not use the AI SDK needs nothing of it, and one that does needs it for its types alone.
for (const [name, bytes] of files) {
    const imported = [...String(bytes).matchAll(/(?:\bfrom|\bimport)\s*\(?["']([^"']+)["']/g)].map(([, path]) => path);
    const foreign = name.endsWith('.js') ? imported.filter((path) => !path.startsWith('./')) : [];
    if (foreign.length > 0) throw new Error(`${name} imports ${foreign.join(', ')}`);
}

for (const [name, { gz, br }] of Object.entries(sizes)) {
    console.log(`${name}: ${files.get(name).length} bytes, ${gz} with gzip, ${br} with brotli`);
}
for (const [name, largest] of Object.entries(LARGEST)) {
    for (const [ending, most] of Object.entries(largest)) {
        if (sizes[name][ending] > most) throw new Error(`${name}.${ending} has more than ${most} bytes`);
    }
}
if (different.length > 0) {
    throw new Error(`not what the sources give: ${different.join(', ')} in ${served}; run npm run build`);
}
