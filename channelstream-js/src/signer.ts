// Signatures for the server's API, for tools that know its secret. Pages for users must not.
import { hmac, sha1 } from './sha1.js';

const bytesOf = (text: string) => [...new TextEncoder().encode(text)];
const base64 = (bytes: number[]) => btoa(String.fromCharCode(...bytes));

/** Makes values for the header `x-channelstream-secret` (contract §3). */
export class ChannelStreamSigner {
    secret: string;

    constructor(secret: string) {
        this.secret = secret;
    }

    /** A signature with the present time. */
    signRequest(): string {
        const time = this.hashStrip(this.intToBytes(Math.floor(Date.now() / 1000)));
        const text = `channelstream.${time}`;
        const key = sha1(bytesOf(`itsdangerous.Signersigner${this.secret}`));
        return `${text}.${this.hashStrip(base64(hmac(key, bytesOf(text))))}`;
    }

    /** The bytes of a number, most significant first, in base64. */
    intToBytes(number: number): string {
        const bytes = [];
        for (let rest = number; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
        return base64(bytes);
    }

    /** Base64 as it may stand in a URL, without the padding. */
    hashStrip(text: string): string {
        return text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
    }
}
