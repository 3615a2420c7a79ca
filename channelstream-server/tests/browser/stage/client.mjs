// The client's modules in Node.
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

// They import each other, and Node has to be told that they are modules.
const folder = await mkdtemp(join(tmpdir(), 'channelstream-client-'));
await cp(dirname(process.env.CHANNELSTREAM_CLIENT), folder, { recursive: true });
await writeFile(join(folder, 'package.json'), '{"type":"module"}');
const load = (name) => import(pathToFileURL(join(folder, name)));

export const { ChannelStreamConnection, ChannelStreamError } = await load('index.js');
export const { messages } = await load('messages.js');
export const { SharedConnection } = await load('shared.js');

await rm(folder, { recursive: true });
