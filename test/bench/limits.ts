/** Plain loops over the same bytes: what the same job costs with nothing in between. */

const HIGH = 2 ** 32;

/** A four-level walk (Intel SDM vol. 3A, 4.5) over RAM in one array; physical address or -1. No checks but "present". */
export function walkPlain(ram: Uint32Array, root: number, lo: number, hi: number): number {
  let at = (root + ((hi >>> 7) & 511) * 8) >>> 2;
  let entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  at = ((entry & 0xfffff000) + (((hi << 2) | (lo >>> 30)) & 511) * 8) >>> 2;
  entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  if ((entry & 128) !== 0) return (entry & 0xc0000000) + (lo & 0x3fffffff);
  at = ((entry & 0xfffff000) + ((lo >>> 21) & 511) * 8) >>> 2;
  entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  if ((entry & 128) !== 0) return ((entry & 0xffe00000) >>> 0) + (lo & 0x1fffff);
  at = ((entry & 0xfffff000) + ((lo >>> 12) & 511) * 8) >>> 2;
  entry = ram[at] as number;
  if ((entry & 1) === 0) return -1;
  return ((entry & 0xfffff000) >>> 0) + (lo & 0xfff);
}

/** The sum of u64 at these addresses, as doubles. */
export function gatherPlain(ram: Uint32Array, addresses: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < addresses.length; i++) {
    const at = (addresses[i] as number) / 4;
    sum += (ram[at + 1] as number) * HIGH + (ram[at] as number);
  }
  return sum;
}

/** Copies blocks of `size` bytes from these addresses into one place. */
export function copyPlain(ram: Uint8Array, addresses: Float64Array, size: number, into: Uint8Array): void {
  for (let i = 0; i < addresses.length; i++) {
    const at = addresses[i] as number;
    into.set(ram.subarray(at, at + size));
  }
}
