/** /proc/PID/auxv: what the kernel told a program when it started it (getauxval(3)). */

/** Keys (uapi/linux/auxvec.h). */
export const AT_PAGESZ = 6;
/** Address of 16 random bytes, new at each start of a program. */
export const AT_RANDOM = 25;

/**
 * Values by key; of a program of 32 bits as well. Empty for what is no such vector.
 */
export function parseAuxv(bytes: Uint8Array): ReadonlyMap<number, bigint> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (const wide of [true, false]) {
    const size = wide ? 16 : 8;
    const values = new Map<number, bigint>();
    for (let at = 0; at + size <= bytes.length; at += size) {
      const key = wide ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
      if (key === 0n || key > 0xffffn) break;
      values.set(Number(key), wide ? view.getBigUint64(at + 8, true) : BigInt(view.getUint32(at + 4, true)));
    }
    if (isPageSize(values.get(AT_PAGESZ))) return values;
  }
  return new Map();
}

function isPageSize(size: bigint | undefined): boolean {
  return size !== undefined && size >= 4096n && size <= 1n << 20n && (size & (size - 1n)) === 0n;
}
