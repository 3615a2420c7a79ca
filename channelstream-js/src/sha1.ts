// SHA-1 and HMAC: `crypto.subtle` is asynchronous, and exists on https and localhost only.

/** Returns the SHA-1 digest (FIPS 180-4), 20 bytes. */
export function sha1(bytes: number[]): number[] {
    const { length } = bytes;
    const view = new DataView(new ArrayBuffer(((length + 72) >> 6) << 6));
    bytes.forEach((byte, at) => view.setUint8(at, byte));
    view.setUint8(length, 0x80);
    view.setUint32(view.byteLength - 4, length * 8);

    const rotate = (word: number, bits: number) => (word << bits) | (word >>> (32 - bits));
    const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
    const words: number[] = [];
    for (let block = 0; block < view.byteLength; block += 64) {
        let [a, b, c, d, e] = state as [number, number, number, number, number];
        for (let i = 0; i < 80; i += 1) {
            const word = (words[i] =
                i < 16
                    ? view.getUint32(block + i * 4)
                    : rotate(words[i - 3]! ^ words[i - 8]! ^ words[i - 14]! ^ words[i - 16]!, 1));
            const mixed =
                i < 20
                    ? (d ^ (b & (c ^ d))) + 0x5a827999
                    : i < 40
                      ? (b ^ c ^ d) + 0x6ed9eba1
                      : i < 60
                        ? ((b & c) | (d & (b | c))) + 0x8f1bbcdc
                        : (b ^ c ^ d) + 0xca62c1d6;
            const next = (rotate(a, 5) + mixed + e + word) | 0;
            e = d;
            d = c;
            c = rotate(b, 30);
            b = a;
            a = next;
        }
        [a, b, c, d, e].forEach((word, i) => (state[i] = (state[i]! + word) | 0));
    }
    return state.flatMap((word) => [24, 16, 8, 0].map((shift) => (word >>> shift) & 255));
}

/** Returns the HMAC-SHA1 (RFC 2104) under a key of at most 64 bytes, 20 bytes. */
export function hmac(key: number[], bytes: number[]): number[] {
    const pad = (mask: number) => Array.from({ length: 64 }, (_, at) => (key[at] ?? 0) ^ mask);
    return sha1([...pad(0x5c), ...sha1([...pad(0x36), ...bytes])]);
}
