/**
 * RISC-V's Sv39, Sv48 and Sv57. The RISC-V Instruction Set Manual, volume II (privileged architecture), supervisor
 * level: "Sv32" (meaning of the bits, the algorithm), "Sv39", "Sv48", "Sv57"; extensions Svnapot and Svpbmt are on.
 *
 * Reserved, so `malformed` in a valid entry (the algorithm's step 3 raises a page fault):
 * - W without R;
 * - bits 58:54 (60:54 in the base manual, of which Svrsw60t59b gives 60:59 to software);
 * - bits 62:61 (PBMT) = 3, or not zero in an entry that leads to a table;
 * - N (bit 63) in an entry that leads to a table, in a leaf above the last level, or with bits 13:10 other than 1000;
 * - D, A or U in an entry that leads to a table.
 * Also `malformed`: a superpage whose physical address is not aligned (step 6), and an entry of the last level that
 * leads to a table (step 4).
 * Ours, not the manual's: only a page's own G makes it global (that of a pointer "implies that all mappings in the
 * subsequent levels are global"; a hint, of which no system makes use), and `malformed` where the page number reaches 2^40, for physical addresses end at 2^52 here
 * (the manual's at 2^56).
 * Not counted: A = 0, or D = 0 and written (a fault or an update, by implementation).
 */
import { bit, bits, field } from "./bits.js";
import {
  ABSENT,
  type Decoded,
  evenLevels,
  GRANTS_ALL,
  type Grants,
  MALFORMED,
  type ReferenceFormat,
} from "./format.js";

function decode(level: number, entry: bigint): Decoded {
  if (!bit(entry, 0)) return ABSENT;
  const read = bit(entry, 1);
  const write = bit(entry, 2);
  const execute = bit(entry, 3);
  const user = bit(entry, 4);
  const global = bit(entry, 5);
  const accessed = bit(entry, 6);
  const dirty = bit(entry, 7);
  const memoryType = bits(entry, 62, 61);
  const napot = bit(entry, 63);
  if (write && !read) return MALFORMED;
  if (bits(entry, 58, 54) !== 0n) return MALFORMED;
  if (bits(entry, 53, 50) !== 0n) return MALFORMED;
  const physical = bits(entry, 53, 10) << 12n;
  if (!read && !execute) {
    if (level === 1) return MALFORMED;
    if (dirty || accessed || user || memoryType !== 0n || napot) return MALFORMED;
    return { is: "table", next: physical, grants: GRANTS_ALL, global: false };
  }
  if (memoryType === 3n) return MALFORMED;
  // "Irrespective of SUM, the supervisor may not execute code on pages with U=1."
  const grants: Grants = {
    readable: read,
    writable: write,
    user,
    userExecutable: execute,
    kernelExecutable: execute && !user,
  };
  const attributes = { accessed, dirty };
  if (napot) {
    if (level !== 1 || bits(entry, 13, 10) !== 0b1000n) return MALFORMED;
    const base = field(physical, 55, 16);
    return { is: "page", base, size: 1n << 16n, pageSize: 1n << 12n, grants, global, attributes };
  }
  const size = 1n << BigInt(12 + 9 * (level - 1));
  if (physical % size !== 0n) return MALFORMED;
  return { is: "page", base: physical, size, grants, global, attributes };
}

function sv(name: string, levels: number): ReferenceFormat {
  // The manual counts from 0, the last level.
  const names = Array.from({ length: levels }, () => "PTE");
  return { name, levels: evenLevels(12, 9, names), entryBytes: 8, canonical: "sign", decode };
}

export const SV39 = sv("sv39", 3);
export const SV48 = sv("sv48", 4);
export const SV57 = sv("sv57", 5);
