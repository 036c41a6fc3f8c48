/**
 * Formats whose entries keep parts of the physical address where it does not belong: what brings them to one form (see
 * `EntryForm`), once for each table that is read.
 */
import type { EntryForm } from "./mmu-def.js";

const bits = (entry: bigint, first: number, count: number) =>
  (entry >> BigInt(first)) & ((1n << BigInt(count)) - 1n);
/** An entry with other bits from `first` on. */
const withBits = (entry: bigint, first: number, count: number, value: bigint) =>
  (entry & ~(((1n << BigInt(count)) - 1n) << BigInt(first))) | (value << BigInt(first));

/** Entries of 4 bytes become ones of 8, with nothing in the high word. */
export function widen(stored: Uint32Array, words: Uint32Array): void {
  for (let i = 0; i < stored.length; i++) {
    words[2 * i] = stored[i] as number;
    words[2 * i + 1] = 0;
  }
}

/**
 * x86's entries of 4 bytes: bits 32 to 39 of a 4 MiB page's address are in bits 13 to 20 (SDM vol. 3A, table 4-4). Where bit
 * 7 means something else (an entry of the last level), nobody looks at the high word.
 */
export const PSE36_FORM: EntryForm = {
  rewrite(words, from, entries) {
    for (let at = from; at < from + 2 * entries; at += 2) {
      const lo = words[at] as number;
      words[at + 1] = (lo & 0x81) === 0x81 ? (lo >>> 13) & 0xff : 0;
    }
  },
  restore: (entry) => BigInt.asUintN(32, entry),
};

/** AArch64, granule of 64 KiB, FEAT_LPA: bits 48 to 51 of the address are in bits 12 to 15 (Arm ARM, D8.3.1). */
export const LPA_FORM: EntryForm = {
  rewrite(words, from, entries) {
    for (let at = from; at < from + 2 * entries; at += 2) {
      const lo = words[at] as number;
      if ((lo & 1) === 0) continue;
      words[at + 1] = ((words[at + 1] as number) & ~0xf0000) | ((lo & 0xf000) << 4);
    }
  },
  restore: (entry) => ((entry & 1n) === 0n ? entry : withBits(entry, 48, 4, 0n)),
};

/**
 * AArch64, granules of 4 and 16 KiB, FEAT_LPA2: bits 50 and 51 of the address are in bits 8 and 9 (Arm ARM, D8.3.1), whose
 * place bits 50 (GP) and 51 (DBM) take here.
 */
export const LPA2_FORM: EntryForm = {
  rewrite(words, from, entries) {
    for (let at = from; at < from + 2 * entries; at += 2) {
      const lo = words[at] as number;
      if ((lo & 1) === 0) continue;
      const hi = words[at + 1] as number;
      words[at] = (lo & ~0x300) | ((hi & 0xc0000) >>> 10);
      words[at + 1] = (hi & ~0xc0000) | ((lo & 0x300) << 10);
    }
  },
  restore: (entry) =>
    (entry & 1n) === 0n
      ? entry
      : withBits(withBits(entry, 50, 2, bits(entry, 8, 2)), 8, 2, bits(entry, 50, 2)),
};

/**
 * Hardware-managed dirty state of AArch64 (TCR_ELx.HD): a page with DBM (bit 51) is writable, though AP[2] (bit 7) says
 * read-only until it is first written to (Arm ARM, D8.5.2). Taken before `then`, which may move bit 51.
 */
export function withDirtyState(then: EntryForm | undefined): EntryForm {
  return {
    rewrite(words, from, entries, first) {
      for (let at = from; at < from + 2 * entries; at += 2) {
        // (In an entry that points to a table, neither bit means anything.)
        if (((words[at] as number) & 1) !== 0 && ((words[at + 1] as number) & 0x80000) !== 0) {
          (words[at] as number) &= ~0x80;
        }
      }
      then?.rewrite(words, from, entries, first);
    },
    restore: (entry) => then?.restore(entry) ?? entry,
  };
}

const READ_WRITE_EXECUTE = 0xe;
const NAPOT = 0x80000000;
/** Bits 54 and 55, as they arrive in bits 10 and 11; both of them mark a page of 64 KiB. */
export const RISCV_TAGS = [10, 11] as const;

/**
 * RISC-V: the page number lies in bits 10 to 53, so that the address is two bits further up (Privileged Architecture, 12.4.1);
 * bits 54 and 55, which are reserved, come to bits 10 and 11. A page of 64 KiB (Svnapot: bit 63, and 8 in the low four bits
 * of the page number) has sixteen equal entries in the last table; each becomes that of its own 4 KiB, with bits 10 and 11
 * set, and without bit 63.
 */
export const RISCV_FORM: EntryForm = {
  rewrite(words, from, entries, first) {
    for (let i = 0; i < entries; i++) {
      const at = from + 2 * i;
      let lo = words[at] as number;
      let hi = words[at + 1] as number;
      if ((lo & 1) === 0) continue;
      const reserved = (hi >>> 22) & 3;
      // (Both reserved bits are to look like one: both are the mark of what is below. Memory type 3 is reserved, too.)
      const tags = ((hi >>> 29) & 3) === 3 ? 1 : reserved === 3 ? 2 : reserved;
      const isNapot =
        (hi & NAPOT) !== 0 && tags === 0 && (lo & READ_WRITE_EXECUTE) !== 0 && ((lo >>> 10) & 15) === 8;
      if (isNapot) {
        lo = (lo & ~0x3c00) | (((first + i) & 15) << 10);
        hi &= ~NAPOT;
      }
      words[at] = (lo & 0x3ff) | ((isNapot ? 3 : tags) << 10) | ((lo & ~0x3ff) << 2);
      words[at + 1] = (hi & 0xff000000) | (((hi << 2) | (lo >>> 30)) & 0xffffff);
    }
  },
  restore(entry) {
    if ((entry & 1n) === 0n) return entry;
    const tags = bits(entry, 61, 2) === 3n ? 0n : bits(entry, 10, 2);
    const number = bits(entry, 12, 44);
    const stored = withBits(withBits(entry, 54, 2, tags), 10, 44, number);
    if (tags !== 3n) return stored;
    return withBits(withBits(withBits(stored, 54, 2, 0n), 10, 4, 8n), 63, 1, 1n);
  },
};
