/** The runs that the leaves of a table make: one plain loop over its entries, which stores only where a run begins. */
import { LEAF, NOT_PRESENT } from "../formats/entry-kinds.js";
import type { RunColumns } from "./run-columns.js";

/** Scattered pages side by side from which on their columns are written one by one: with fewer, that costs more. */
const WORTHWHILE = 8;

/** No page's low word: nothing continues there. */
const NOWHERE = 1;

/**
 * Adds entries `first` to `last` of a table to the runs; leaves must be of less than 4 GiB.
 *
 * @param words Holds the table.
 * @param base  Where entry 0 lies in it.
 * @param vpn   Page number of what entry 0 covers.
 * @param above Rights of the entries above it.
 * @returns the entry that it stopped before: the one behind `last`; or one that points to a table, that is malformed, that
 * is not present but may mean something, or for which there is no room.
 */
export function addLeaves(
  runs: RunColumns,
  level: number,
  words: Uint32Array,
  base: number,
  first: number,
  last: number,
  vpn: number,
  above: number,
): number {
  const { mmu, startWords, lengths, physical, rights } = runs;
  const { presentMask, grants, settled, kinds, pagesIn4GiB } = mmu;
  const lastRow = runs.capacity - 1;
  const reservedLo = mmu.leafReservedLo[level] as number;
  const reservedHi = mmu.leafReservedHi[level] as number;
  const addressLo = mmu.leafAddressLo[level] as number;
  const addressHi = mmu.leafAddressHi[level] as number;
  const kindsAt = level << 12;
  const isOdd = mmu.def.absentEntries !== undefined;
  // All but the address: an entry in which these are as in the one before it is present, sound, and grants the same.
  const fixedLo = ~addressLo | reservedLo;
  const fixedHi = ~addressHi | reservedHi;
  const pageSize = mmu.size[level] as number;
  // Addresses as words: the bytes of a page as a 32-bit integer, not as the double that it comes as.
  const step = pageSize | 0;
  const shift = mmu.shift[level] as number;
  // (Whoever counts pages has these as doubles.)
  const origin = base | 0;
  const lastIndex = last | 0;
  const lastWord = (origin + (lastIndex << 1)) | 0;
  // What a table covers is aligned: if it is more than 4 GiB, the low word of its start is 0.
  const startHi = Math.floor(vpn / pagesIn4GiB) | 0;
  const startLo = ((vpn - Math.floor(vpn / pagesIn4GiB) * pagesIn4GiB) * (mmu.size[1] as number)) | 0;
  const before = runs.length;
  let row = before - 1;
  // The entry that would make the run of `row` longer: where it stands, and its address.
  let index = -1;
  let lo = NOWHERE;
  let hi = 0;
  /** Rights of that run, and the fixed bits of its last entry (here: such as no entry has). */
  let granted = -1;
  let bits = ~fixedLo;
  let highBits = ~fixedHi;
  if (row >= 0 && runs.faults[row] === 0 && runs.levels[row] === level) {
    const end = (physical[row] as number) + (lengths[row] as number);
    const next = (runs.next - vpn) / (mmu.pages[level] as number);
    // As integers, or V8 would compute with doubles in the loop.
    if (next >= first && next <= last && Number.isInteger(next)) index = next | 0;
    lo = end | 0;
    hi = Math.floor(end / 4294967296) | 0;
    granted = rights[row] as number;
  }
  let added = false;
  let at = first | 0;
  for (; at <= lastIndex; at++) {
    const word = (origin + (at << 1)) | 0;
    const entryLo = (words[word] as number) | 0;
    const entryHi = (words[word + 1] as number) | 0;
    if ((entryLo & fixedLo) !== bits || (entryHi & fixedHi) !== highBits) {
      if ((entryLo & presentMask) === 0) {
        // (The operating system may mean something by it.)
        if (isOdd && (entryLo | entryHi) !== 0) break;
        continue;
      }
      const kind = kinds[kindsAt | (entryLo & 0xfff)] as number;
      if (kind === NOT_PRESENT && !isOdd) continue;
      if (kind !== LEAF) break;
      if (((entryLo & reservedLo) | (entryHi & reservedHi)) !== 0) break;
      bits = entryLo & fixedLo;
      highBits = entryHi & fixedHi;
      const combined =
        above & (grants[bits & 0xfff] as number) & (grants[4096 | (highBits >>> 20)] as number);
      const own = settled[combined] as number;
      if (own !== granted) {
        granted = own;
        lo = NOWHERE;
      }
    }
    const pageLo = entryLo & addressLo;
    let pageHi = entryHi & addressHi;
    if (at === index && pageLo === lo && pageHi === hi) {
      lo = (lo + step) | 0;
      // Most of a long run: the same entry again, a page on. (Not across 4 GiB.)
      let same = (entryLo + step) | 0;
      let next = (word + 2) | 0;
      while (next <= lastWord && ((words[next] as number) | 0) === same && lo !== 0) {
        if (((words[next + 1] as number) | 0) !== entryHi) break;
        next = (next + 2) | 0;
        same = (same + step) | 0;
        lo = (lo + step) | 0;
      }
      (lengths[row] as number) += ((next - word) >> 1) * pageSize;
      at = ((next - origin) >> 1) - 1;
    } else {
      if (row === lastRow) break;
      row++;
      startWords[row << 1] = startLo + (at << shift);
      startWords[(row << 1) | 1] = startHi + (at >>> (32 - shift));
      lengths[row] = pageSize;
      physical[row] = pageHi * 4294967296 + (pageLo >>> 0);
      rights[row] = granted;
      lo = (pageLo + step) | 0;
      // Most of what is scattered: entries that differ in their address alone, each a run of its own.
      const limit = Math.min(lastWord, (word + ((lastRow - row) << 1)) | 0);
      let next = (word + 2) | 0;
      let follows = lo;
      while (next <= limit) {
        const low = (words[next] as number) | 0;
        if ((low & fixedLo) !== bits || ((words[next + 1] as number) & fixedHi) !== highBits) break;
        // (If only the low words follow each other, it stops for nothing.)
        if ((low & addressLo) === follows) break;
        follows = ((low & addressLo) + step) | 0;
        next = (next + 2) | 0;
      }
      const count = ((next - word) >> 1) - 1;
      if (count >= WORTHWHILE) {
        putStarts(startWords, row + 1, count, at + 1, startLo, startHi, shift);
        putPhysical(physical, row + 1, count, words, word + 2, addressLo, addressHi);
        lengths.fill(pageSize, row + 1, row + 1 + count);
        rights.fill(granted, row + 1, row + 1 + count);
        row += count;
        at += count;
        lo = follows;
        pageHi = ((words[next - 1] as number) & addressHi) | 0;
      }
    }
    hi = lo === 0 ? pageHi + 1 : pageHi;
    index = at + 1;
    added = true;
  }
  if (added) {
    runs.next = vpn + index * (mmu.pages[level] as number);
    runs.length = row + 1;
    // (Their faults are 0 as long as nobody says otherwise.)
    runs.levels.fill(level, before, row + 1);
  }
  return at;
}

/** Starts of `count` pages, entry `first` of a table and those behind it, from row `row` on. */
function putStarts(
  startWords: Int32Array,
  row: number,
  count: number,
  first: number,
  startLo: number,
  startHi: number,
  shift: number,
): void {
  const carry = 32 - shift;
  for (let i = 0; i < count; i++) {
    const at = first + i;
    const to = (row + i) << 1;
    startWords[to] = startLo + (at << shift);
    startWords[to | 1] = startHi + (at >>> carry);
  }
}

/** Physical addresses of `count` pages, whose entries lie from `word` on, from row `row` on. */
function putPhysical(
  physical: Float64Array,
  row: number,
  count: number,
  words: Uint32Array,
  word: number,
  addressLo: number,
  addressHi: number,
): void {
  for (let i = 0; i < count; i++) {
    const from = word + (i << 1);
    physical[row + i] =
      ((words[from + 1] as number) & addressHi) * 4294967296 + (((words[from] as number) & addressLo) >>> 0);
  }
}
