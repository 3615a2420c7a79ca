// Makes signatures for the header x-channelstream-secret. crypto.subtle would need https or localhost,
// but a server on a private network is often reached by plain http.

const encoder = new TextEncoder();

function rotate(word, bits) {
  return (word << bits) | (word >>> (32 - bits));
}

function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  return whole;
}

/** The SHA-1 digest (FIPS 180-4) of bytes: 20 bytes. */
export function sha1(bytes) {
  const padded = new Uint8Array((((bytes.length + 8) >> 6) + 1) * 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 0x20000000));
  view.setUint32(padded.length - 4, (bytes.length << 3) >>> 0);

  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  const words = new Int32Array(80);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 80; i += 1) {
      words[i] = i < 16
        ? view.getInt32(block + i * 4)
        : rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    let [a, b, c, d, e] = state;
    for (let i = 0; i < 80; i += 1) {
      let mixed;
      if (i < 20) mixed = ((b & c) | (~b & d)) + 0x5a827999;
      else if (i < 40) mixed = (b ^ c ^ d) + 0x6ed9eba1;
      else if (i < 60) mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
      else mixed = (b ^ c ^ d) + 0xca62c1d6;
      const next = (rotate(a, 5) + mixed + e + words[i]) | 0;
      [a, b, c, d, e] = [next, a, rotate(b, 30), c, d];
    }
    [a, b, c, d, e].forEach((word, i) => { state[i] = (state[i] + word) | 0; });
  }

  const digest = new DataView(new ArrayBuffer(20));
  state.forEach((word, i) => digest.setInt32(i * 4, word));
  return new Uint8Array(digest.buffer);
}

/** The HMAC-SHA1 (RFC 2104) of bytes under a key: 20 bytes. */
export function hmac(key, bytes) {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha1(key) : key);
  const inner = sha1(concat(block.map((byte) => byte ^ 0x36), bytes));
  return sha1(concat(block.map((byte) => byte ^ 0x5c), inner));
}

function unpaddedBase64(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The Unix time in seconds as big-endian bytes without leading zeros. */
function timeBytes(seconds) {
  const bytes = [];
  for (let rest = seconds; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return bytes;
}

/** `value.timestamp.signature`, as the server checks it; `seconds` is the Unix time. */
export function sign(secret, value, seconds) {
  const key = sha1(encoder.encode(`itsdangerous.Signersigner${secret}`));
  const dated = `${value}.${unpaddedBase64(timeBytes(seconds))}`;
  return `${dated}.${unpaddedBase64(hmac(key, encoder.encode(dated)))}`;
}
