/** The runs that the leaves of a table make: one plain loop over its entries, which stores only where a run begins. */
import type { RunColumns } from "./run-columns.js";

/**
 * Adds entries `first` to `last` of a table to the runs; leaves must be of less than 4 GiB.
 *
 * @param vpn   Page number of what entry 0 covers.
 * @param above Rights of the entries above it.
 * @returns the entry that it stopped before: the one behind `last`; or one that points to a table, that is malformed,
 * or for which there is no room.
 */
export function addLeaves(
  runs: RunColumns,
  level: number,
  words: Uint32Array,
  first: number,
  last: number,
  vpn: number,
  above: number,
): number {
  const { mmu, startWords, lengths, physical, rights, capacity } = runs;
  const { presentMask, grants, pageShift } = mmu;
  const reservedLo = mmu.leafReservedLo[level] as number;
  const reservedHi = mmu.leafReservedHi[level] as number;
  const addressLo = mmu.leafAddressLo[level] as number;
  const addressHi = mmu.leafAddressHi[level] as number;
  const leafMask = mmu.leafMask[level] as number;
  const leafInvert = mmu.leafInvert[level] as number;
  const pageSize = mmu.size[level] as number;
  const baseHi = Math.floor(vpn / 2 ** (32 - pageShift));
  const baseLo = (vpn - baseHi * 2 ** (32 - pageShift)) * 2 ** pageShift;
  const before = runs.length;
  let row = before - 1;
  /** Bytes of the run of `row`. */
  let bytes = 0;
  // The entry that would make that run longer: where it stands, and its address.
  let index = -1;
  let lo = 0;
  let hi = 0;
  /** Rights of that run, and the other bits of its last entry: as long as these are the same, so are the rights. */
  let granted = -1;
  let bits = 0;
  let highBits = 0;
  if (row >= 0) {
    bytes = lengths[row] as number;
    if (runs.faults[row] === 0 && runs.levels[row] === level) {
      const end = (physical[row] as number) + bytes;
      index = (runs.next - vpn) / (pageSize / 2 ** pageShift);
      lo = end | 0;
      hi = Math.floor(end / 4294967296);
      granted = rights[row] as number;
    }
  }
  let added = false;
  let at = first;
  for (; at <= last; at++) {
    const entryLo = (words[at << 1] as number) | 0;
    if ((entryLo & presentMask) === 0) continue;
    const entryHi = (words[(at << 1) | 1] as number) | 0;
    if (((entryLo & leafMask) === 0 ? 0 : 1) === leafInvert) break;
    if (((entryLo & reservedLo) | (entryHi & reservedHi)) !== 0) break;
    const pageLo = entryLo & addressLo;
    const pageHi = entryHi & addressHi;
    let own = granted;
    if ((entryLo ^ pageLo) !== bits || (entryHi ^ pageHi) !== highBits) {
      bits = entryLo ^ pageLo;
      highBits = entryHi ^ pageHi;
      own = above & (grants[bits & 0xfff] as number) & (grants[4096 | (highBits >>> 20)] as number);
    }
    if (at === index && pageLo === lo && pageHi === hi && own === granted) {
      bytes += pageSize;
    } else {
      if (row + 1 === capacity) break;
      if (row >= 0) lengths[row] = bytes;
      row++;
      const start = baseLo + at * pageSize;
      startWords[row << 1] = start;
      startWords[(row << 1) | 1] = start < 4294967296 ? baseHi : baseHi + Math.floor(start / 4294967296);
      physical[row] = pageHi * 4294967296 + (pageLo >>> 0);
      rights[row] = own;
      granted = own;
      bytes = pageSize;
    }
    added = true;
    lo = (pageLo + pageSize) | 0;
    // Most of a long run: the same entry again, a page on. (Not across 4 GiB.)
    let same = (entryLo + pageSize) | 0;
    const from = at;
    while (at < last && ((words[(at + 1) << 1] as number) | 0) === same && lo !== 0) {
      if (((words[((at + 1) << 1) | 1] as number) | 0) !== entryHi) break;
      at++;
      same = (same + pageSize) | 0;
      lo = (lo + pageSize) | 0;
    }
    bytes += (at - from) * pageSize;
    index = at + 1;
    hi = lo === 0 ? pageHi + 1 : pageHi;
  }
  if (added) {
    lengths[row] = bytes;
    runs.next = vpn + index * (pageSize / 2 ** pageShift);
    runs.length = row + 1;
    // (Their faults are 0 as long as nobody says otherwise.)
    runs.levels.fill(level, before, row + 1);
  }
  return at;
}
