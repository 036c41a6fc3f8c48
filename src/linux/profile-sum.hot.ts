/**
 * The sum over a profile: for files that were torn or have bad bytes, not for forged ones. Seven megabytes are summed up before
 * a loop is warm, which a CRC by tables takes several times as long for.
 */

/** A sum of the little-endian words of 4 bytes from `from` (a multiple of 4) on; bytes behind the last whole one are left out. */
export function sumOf(bytes: Uint8Array, from: number): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + from, (bytes.length - from) >>> 2);
  let sum = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) {
    sum = Math.imul(sum ^ (words[i] as number), 0x9e3779b1);
    sum ^= sum >>> 15;
  }
  return sum >>> 0;
}
