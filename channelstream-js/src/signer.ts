// Signatures for the API of the server, for tools that know its secret. Pages must not have it.
import { hmac, sha1 } from './sha1.js';

const bytesOf = (text: string) => [...new TextEncoder().encode(text)];
const base64 = (bytes: number[]) => btoa(String.fromCharCode(...bytes));

/** Makes values for the header `x-channelstream-secret` (contract §3). */
export class ChannelStreamSigner {
    secret: string;

    constructor(secret: string) {
        this.secret = secret;
    }

    /** Returns a signature with the current time. */
    signRequest(): string {
        const time = this.hashStrip(this.intToBytes(Math.floor(Date.now() / 1000)));
        const text = `channelstream.${time}`;
        const key = sha1(bytesOf(`itsdangerous.Signersigner${this.secret}`));
        return `${text}.${this.hashStrip(base64(hmac(key, bytesOf(text))))}`;
    }

    /** Returns the bytes of a number, most significant first, in base64. */
    intToBytes(number: number): string {
        const bytes = [];
        for (let rest = number; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
        return base64(bytes);
    }

    /** Makes base64 safe for URLs, and removes the padding. */
    hashStrip(text: string): string {
        return text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
    }
}
