/** The two copies that decompressors of the Lempel-Ziv kind are made of. The caller has checked the ranges. */

/** Longer runs are the platform's: `set` and `copyWithin` cost 50 to 80 ns before the first byte. */
const SHORT = 48;

/** Copies bytes of the input that stand for themselves. */
export function copyLiterals(
  input: Uint8Array,
  from: number,
  output: Uint8Array,
  to: number,
  length: number,
): void {
  if (length > SHORT) {
    output.set(input.subarray(from, from + length), to);
    return;
  }
  for (let i = 0; i < length; i++) output[to + i] = input[from + i] as number;
}

/** Copies bytes that were written `distance` before, which may be of this copy itself: then they repeat. */
export function copyMatch(output: Uint8Array, to: number, distance: number, length: number): void {
  const from = to - distance;
  if (length <= SHORT) {
    for (let i = 0; i < length; i++) output[to + i] = output[from + i] as number;
    return;
  }
  if (distance === 1) {
    output.fill(output[from] as number, to, to + length);
    return;
  }
  // Each round doubles what there is of the repeated bytes.
  let done = 0;
  while (done < length) {
    const size = Math.min(distance + done, length - done);
    output.copyWithin(to + done, from, from + size);
    done += size;
  }
}
