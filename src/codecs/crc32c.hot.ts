/** CRC-32C (Castagnoli, RFC 3720 appendix B.4: polynomial 0x1edc6f41, bits reversed), eight bytes at a time. */

const POLYNOMIAL = 0x82f63b78;
/** Bytes that one step takes. */
const SLICES = 8;

/** Table s, at s·256: what a byte does to the sum with s bytes behind it. Made when first needed. */
let tables: Uint32Array | undefined;

function makeTables(): Uint32Array {
  const made = new Uint32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let sum = byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) !== 0 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
    made[byte] = sum;
  }
  for (let i = 256; i < made.length; i++) {
    const sum = made[i - 256] as number;
    made[i] = (sum >>> 8) ^ (made[sum & 0xff] as number);
  }
  return made;
}

/** The CRC-32C of the bytes from `start` to `end` (exclusive), unsigned. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length): number {
  tables ??= makeTables();
  const t = tables;
  let sum = -1;
  let at = start;
  for (; at + SLICES <= end; at += SLICES) {
    sum ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    sum =
      (t[1792 + (sum & 0xff)] as number) ^
      (t[1536 + ((sum >>> 8) & 0xff)] as number) ^
      (t[1280 + ((sum >>> 16) & 0xff)] as number) ^
      (t[1024 + (sum >>> 24)] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number);
  }
  for (; at < end; at++) sum = (sum >>> 8) ^ (t[(sum ^ (bytes[at] as number)) & 0xff] as number);
  return ~sum >>> 0;
}
