/** A number that depends on all words of 4 bytes: to choose by, not to tell bad bytes from good ones. */
export function mixWords(bytes: Uint8Array): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  let mixed = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) {
    mixed = Math.imul(mixed ^ (words[i] as number), 0x9e3779b1);
    mixed ^= mixed >>> 15;
  }
  return mixed >>> 0;
}
