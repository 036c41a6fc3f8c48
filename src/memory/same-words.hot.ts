/** Whether two pieces of memory are equal: the loop that a comparison of whole machines spends its time in. */

/** Words `from` to `to` (exclusive) of both. */
export function sameWords(a: Int32Array, b: Int32Array, from: number, to: number): boolean {
  let i = from;
  for (; i + 8 <= to; i += 8) {
    const difference =
      ((a[i] as number) ^ (b[i] as number)) |
      ((a[i + 1] as number) ^ (b[i + 1] as number)) |
      ((a[i + 2] as number) ^ (b[i + 2] as number)) |
      ((a[i + 3] as number) ^ (b[i + 3] as number)) |
      ((a[i + 4] as number) ^ (b[i + 4] as number)) |
      ((a[i + 5] as number) ^ (b[i + 5] as number)) |
      ((a[i + 6] as number) ^ (b[i + 6] as number)) |
      ((a[i + 7] as number) ^ (b[i + 7] as number));
    if (difference !== 0) return false;
  }
  for (; i < to; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Bytes `from` to `to` (exclusive) of both, which begin at the same place of a word. */
export function sameBytes(a: Uint8Array, b: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (a[i] !== b[i]) return false;
  return true;
}
