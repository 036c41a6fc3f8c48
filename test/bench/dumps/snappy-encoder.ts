/**
 * Compresses as snappy's own encoder does: literals, and copies of what four bytes' hash was last seen at. From snappy's
 * format_description.txt. The writers for tests only know runs of one byte.
 */

const HASH_BITS = 14;

/** @param bytes At most 64 KiB. */
export function compressSnappy(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  const out = new Uint8Array(32 + length + Math.ceil(length / 6));
  let to = 0;
  for (let rest = length; ; rest = rest >>> 7) {
    out[to++] = rest < 128 ? rest : (rest & 127) | 128;
    if (rest < 128) break;
  }
  const literal = (from: number, end: number) => {
    const less = end - from - 1;
    if (less < 0) return;
    if (less < 60) {
      out[to++] = less << 2;
    } else if (less < 256) {
      out[to++] = 60 << 2;
      out[to++] = less;
    } else {
      out[to++] = 61 << 2;
      out[to++] = less & 255;
      out[to++] = less >>> 8;
    }
    out.set(bytes.subarray(from, end), to);
    to += end - from;
  };
  const word = (at: number) =>
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24);
  const seen = new Int32Array(1 << HASH_BITS).fill(-1);
  let done = 0;
  for (let at = 0; at + 4 <= length; ) {
    const here = word(at);
    const hash = Math.imul(here, 0x1e35a7bd) >>> (32 - HASH_BITS);
    const before = seen[hash] as number;
    seen[hash] = at;
    if (before < 0 || word(before) !== here) {
      at++;
      continue;
    }
    let end = at + 4;
    while (end < length && bytes[end] === bytes[before + end - at]) end++;
    literal(done, at);
    // Copies with an offset of two bytes.
    for (let left = end - at; left > 0; left -= 64) {
      out[to++] = ((Math.min(left, 64) - 1) << 2) | 2;
      out[to++] = (at - before) & 255;
      out[to++] = (at - before) >>> 8;
    }
    done = end;
    at = end;
  }
  literal(done, length);
  return out.slice(0, to);
}
