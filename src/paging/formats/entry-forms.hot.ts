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

/** Exchanges `count` bits of each valid entry of AArch64, from `low` on, with those from 32 + `high` on. */
function exchange(low: number, high: number, count: number): EntryForm {
  const mask = 2 ** count - 1;
  return {
    rewrite(words, from, entries) {
      for (let at = from; at < from + 2 * entries; at += 2) {
        const lo = words[at] as number;
        if ((lo & 1) === 0) continue;
        const hi = words[at + 1] as number;
        const differing = ((lo >>> low) ^ (hi >>> high)) & mask;
        words[at] = lo ^ (differing << low);
        words[at + 1] = hi ^ (differing << high);
      }
    },
    restore(entry) {
      if ((entry & 1n) === 0n) return entry;
      const differing = bits(entry, low, count) ^ bits(entry, 32 + high, count);
      return entry ^ (differing << BigInt(low)) ^ (differing << BigInt(32 + high));
    },
  };
}

/**
 * AArch64, granule of 64 KiB, FEAT_LPA: bits 48 to 51 of the address are in bits 12 to 15 (Arm ARM, D8.3.1), whose place
 * bits 50 (GP) and 51 (DBM) take here.
 */
export const LPA_FORM = exchange(12, 16, 4);

/**
 * AArch64, granules of 4 and 16 KiB, FEAT_LPA2: bits 50 and 51 of the address are in bits 8 and 9 (Arm ARM, D8.3.1), whose
 * place bits 50 (GP) and 51 (DBM) take here.
 */
export const LPA2_FORM = exchange(8, 18, 2);

/** Where bit 51 (DBM) of AArch64 comes to lie in all forms that are made for it. */
export const DBM = 9;

/** AArch64 without more than 48 bits of physical address, with DBM (bit 51) among the low bits, which tell of rights. */
export const DBM_FORM = exchange(DBM, 19, 1);

/** The same with FEAT_LPA, after which it is bit 15. (With FEAT_LPA2, it is where it shall be.) */
export const LPA_DBM_FORM: EntryForm = {
  rewrite(words, from, entries, first) {
    LPA_FORM.rewrite(words, from, entries, first);
    for (let at = from; at < from + 2 * entries; at += 2) {
      const lo = words[at] as number;
      if ((lo & 1) === 0) continue;
      const differing = ((lo >>> 15) ^ (lo >>> DBM)) & 1;
      words[at] = lo ^ (differing << 15) ^ (differing << DBM);
    }
  },
  restore(entry) {
    if ((entry & 1n) === 0n) return entry;
    const differing = bits(entry, 15, 1) ^ bits(entry, DBM, 1);
    return LPA_FORM.restore(entry ^ (differing << 15n) ^ (differing << BigInt(DBM)));
  },
};

/** Where the memory type of RISC-V (Svpbmt) comes to lie: where `entries` sees that 3 is none. */
export const RISCV_MEMORY_TYPE = [10, 11] as const;

const READ_WRITE_EXECUTE = 0xe;
/** Bit 63: one of sixteen equal entries, for 64 KiB. */
const NAPOT = 0x8000_0000;
/** Bits 61 and 62: the reserved bits 54 and 55. */
const RESERVED = 0x6000_0000;
/** All that is reserved: those, 56 to 58, and the address from 2^52 on. */
const ALL_RESERVED = RESERVED | 0x07f0_0000;
/**
 * What an entry for 64 KiB that makes no sense has instead of bit 63. (An entry that has all of it by itself is malformed,
 * too, but shown as the other: there is no bit left to tell them apart.)
 */
const SENSELESS = ALL_RESERVED;

/**
 * RISC-V: the page number lies in bits 10 to 53, so that the address is two bits further up (Privileged Architecture, "Sv39");
 * bits 54 and 55, which are reserved, come to bits 61 and 62, and the memory type from there to bits 10 and 11.
 *
 * A page of 64 KiB (Svnapot: bit 63, and 8 in the low four bits of the page number) has sixteen equal entries in the last
 * table; each gets the page number of its own 4 KiB. With anything but that 8, it is malformed.
 */
export const RISCV_FORM: EntryForm = {
  rewrite(words, from, entries, first) {
    for (let i = 0; i < entries; i++) {
      const at = from + 2 * i;
      let lo = words[at] as number;
      if ((lo & 1) === 0) continue;
      const stored = words[at + 1] as number;
      let hi =
        (stored & (NAPOT | 0x1f00_0000)) |
        ((stored & 0x00c0_0000) << 7) |
        (((stored << 2) | (lo >>> 30)) & 0xff_ffff);
      if ((hi & (NAPOT | ALL_RESERVED)) === (NAPOT | 0) && (lo & READ_WRITE_EXECUTE) !== 0) {
        if (((lo >>> 10) & 15) === 8) lo = (lo & ~0x3c00) | (((first + i) & 15) << 10);
        else hi = (hi & ~NAPOT) | SENSELESS;
      }
      words[at] = (lo & 0x3ff) | (((stored >>> 29) & 3) << 10) | ((lo & ~0x3ff) << 2);
      words[at + 1] = hi;
    }
  },
  restore(entry) {
    if ((entry & 1n) === 0n) return entry;
    let hi = Number(entry >> 32n);
    let number = bits(entry, 12, 40);
    const isLeaf = (Number(entry & 0xffn) & READ_WRITE_EXECUTE) !== 0;
    if (isLeaf && (hi & (NAPOT | ALL_RESERVED)) === (NAPOT | 0)) {
      number = withBits(number, 0, 4, 8n);
    } else if (isLeaf && (hi & (NAPOT | ALL_RESERVED)) === SENSELESS) {
      hi = (hi & ~ALL_RESERVED) | NAPOT;
    }
    const high = BigInt(hi >>> 0) << 32n;
    const stored = (bits(high, 52, 4) << 50n) | (bits(high, 61, 2) << 54n) | (bits(high, 56, 5) << 56n);
    return (
      stored | (bits(entry, 10, 2) << 61n) | (bits(high, 63, 1) << 63n) | (number << 10n) | (entry & 0x3ffn)
    );
  },
};
