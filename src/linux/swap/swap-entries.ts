/**
 * How Linux puts a number of a swap area and a page in it into a page-table entry, one layout for each architecture and
 * time; and what else it keeps in entries that are not present. Only where the bits lie: `absent-entries.ts` says what
 * they mean.
 *
 * x86, arch/x86/include/asm/pgtable_64.h, pgtable-3level.h (PAE), pgtable-2level.h, "Encode/decode swap entries":
 * - since 4.18.1 and 4.19 ("x86/speculation/l1tf", 2f22b4cd45b6; stable kernels 4.4.148, 4.9.120, 4.14.63, 4.17.15; distributions) type
 *   in bits 59 to 63, the offset's complement in bits 9 to 58; PAE likewise;
 * - since 4.8 (00839ee3b299) type in bits 9 to 13, offset from bit 14 on; before, type in bits 1 to 5, offset from bit 9 on;
 *   PAE before: type in bits 32 to 36, offset from bit 37 on, low word 0;
 * - two levels: type in bits 1 to 5, offset from bit 9 on.
 * Bit 1 soft-dirty since 4.14 (eee4818baac0; bit 7 before), bit 2 write-protected by userfaultfd since 5.7,
 * bit 3 exclusive since 5.19 (3e20889cfbee); with 32 bits bit 7 exclusive since 6.3.
 *
 * AArch64, arch/arm64/include/asm/pgtable.h, "Encode and decode a swap entry":
 * - since 6.10 (55564814a838) type in bits 6 to 10, offset in bits 12 to 61; bit 2 exclusive, bit 3 write-protected by userfaultfd;
 * - since 5.19 (570ef363509b) type in bits 3 to 7, offset in bits 8 to 57, bit 2 exclusive; before, type in bits 2 to 7.
 *
 * RISC-V with 64 bits, arch/riscv/include/asm/pgtable.h: since 6.3 type in bits 7 to 11, offset from bit 12 on, bit 6 exclusive;
 * before, type in bits 6 to 10, offset from bit 11 on.
 */
import { releaseOf } from "../entries/release.js";

/** A bit of a swap entry that says something about the page. */
export interface SwapFlag {
  readonly bit: number;
  readonly name: string;
}

/** Where a swap entry has its parts. Bits of the whole entry, of 8 bytes. */
export interface SwapLayout {
  /** First of the five (or six) bits of the type. */
  readonly typeBit: number;
  /** Bits of the type: a mask. */
  readonly typeMask: number;
  /** First bit of the offset. */
  readonly offsetBit: number;
  /** How many it has. */
  readonly offsetBits: number;
  /** The offset is stored as its complement. */
  readonly inverted: boolean;
  readonly flags: readonly SwapFlag[];
}

const WRITE_PROTECTED = "write-protected by userfaultfd";
const SOFT_DIRTY = "soft-dirty";
const EXCLUSIVE = "exclusive";

/** The layout of x86 with 8-byte entries since 4.18.1. @param release As `releaseOf` has it. */
export function invertedLayout(release: number, pae: boolean): SwapLayout {
  return {
    typeBit: 59,
    typeMask: 31,
    offsetBit: 9,
    offsetBits: 50,
    inverted: true,
    flags: pae ? wordFlags(release) : longFlags(release),
  };
}

/** The layout of x86-64 before that. */
export function plainLayout64(release: number): SwapLayout {
  const early = release < releaseOf(4, 8);
  const offsetBit = early ? 9 : 14;
  return {
    typeBit: early ? 1 : 9,
    typeMask: 31,
    offsetBit,
    offsetBits: 64 - offsetBit,
    inverted: false,
    flags: longFlags(release),
  };
}

/** The layout of x86 with PAE before that: all in the high word. */
export const PLAIN_PAE: SwapLayout = {
  typeBit: 32,
  typeMask: 31,
  offsetBit: 37,
  offsetBits: 27,
  inverted: false,
  flags: [],
};

/** The layout of x86 with two levels. */
export function layout32(release: number): SwapLayout {
  return {
    typeBit: 1,
    typeMask: 31,
    offsetBit: 9,
    offsetBits: 23,
    inverted: false,
    flags: wordFlags(release),
  };
}

/** The layout of AArch64. */
export function layoutAarch64(release: number): SwapLayout {
  const flags: SwapFlag[] = [];
  if (release >= releaseOf(5, 19)) flags.push({ bit: 2, name: EXCLUSIVE });
  if (release >= releaseOf(6, 10)) {
    flags.push({ bit: 3, name: WRITE_PROTECTED });
    return { typeBit: 6, typeMask: 31, offsetBit: 12, offsetBits: 50, inverted: false, flags };
  }
  const early = release < releaseOf(5, 19);
  return {
    typeBit: early ? 2 : 3,
    typeMask: early ? 63 : 31,
    offsetBit: 8,
    offsetBits: 50,
    inverted: false,
    flags,
  };
}

/** The layout of RISC-V with 64 bits. */
export function layoutRiscv(release: number): SwapLayout {
  const early = release < releaseOf(6, 3);
  return {
    typeBit: early ? 6 : 7,
    typeMask: 31,
    offsetBit: early ? 11 : 12,
    offsetBits: early ? 53 : 52,
    inverted: false,
    flags: early ? [] : [{ bit: 6, name: EXCLUSIVE }],
  };
}

function longFlags(release: number): SwapFlag[] {
  const flags: SwapFlag[] = [];
  if (release >= releaseOf(4, 14)) flags.push({ bit: 1, name: SOFT_DIRTY });
  else if (release >= releaseOf(3, 11)) flags.push({ bit: 7, name: SOFT_DIRTY });
  if (release >= releaseOf(5, 7)) flags.push({ bit: 2, name: WRITE_PROTECTED });
  if (release >= releaseOf(5, 19)) flags.push({ bit: 3, name: EXCLUSIVE });
  return flags;
}

function wordFlags(release: number): SwapFlag[] {
  return release >= releaseOf(6, 3) ? [{ bit: 7, name: EXCLUSIVE }] : [];
}

/** A swap entry taken apart; used again. The offset in two words, as it may have 50 bits. */
export class SwapWords {
  type = 0;
  lo = 0;
  hi = 0;

  /** The offset; exact. */
  get offset(): number {
    return (this.hi >>> 0) * 2 ** 32 + (this.lo >>> 0);
  }
}

/** Takes an entry apart. Allocates nothing. @param lo The entry's low word. @param hi The high word. */
export function splitSwap(into: SwapWords, layout: SwapLayout, lo: number, hi: number): void {
  const { typeBit, typeMask, offsetBit, offsetBits } = layout;
  into.type = (typeBit < 32 ? lo >>> typeBit : hi >>> (typeBit - 32)) & typeMask;
  const low = layout.inverted ? ~lo : lo;
  const high = layout.inverted ? ~hi : hi;
  // No layout has an offset that begins at bit 0 or 32.
  if (offsetBit < 32) {
    into.lo = (low >>> offsetBit) | (high << (32 - offsetBit));
    into.hi = high >>> offsetBit;
  } else {
    into.lo = high >>> (offsetBit - 32);
    into.hi = 0;
  }
  if (offsetBits < 32) {
    into.lo &= 2 ** offsetBits - 1;
    into.hi = 0;
  } else {
    into.hi &= 2 ** (offsetBits - 32) - 1;
  }
}
