/**
 * AArch64, stage 1 of the EL1&0 regime. Arm Architecture Reference Manual for A-profile, DDI 0487, chapter D8 "The
 * AArch64 Virtual Memory System Architecture": D8.2 (table sizes, start levels), D8.3 (descriptor formats: VMSAv8-64
 * table, block and page descriptors), D8.4 (AP, UXN, PXN, hierarchical permissions, contiguous bit).
 *
 * Nothing is `malformed`: what is reserved is invalid, so `not-present`:
 * - bits 1:0 = 01 at the last level ("reserved, invalid");
 * - bits 1:0 = 01 (block) at a level that has no blocks. Blocks exist at the manual's levels
 *   4 KiB: 1 (1 GiB), 2 (2 MiB), with LPA2 also 0 (512 GiB); 16 KiB: 2 (32 MiB), with LPA2 also 1 (64 GiB);
 *   64 KiB: 2 (512 MiB), with LPA also 1 (4 TiB).
 * RES0 bits (below a block's address, 49:48 without LPA2 …) are ignored, as are output addresses beyond the IPS.
 *
 * What EL0 may write is not executable at EL1, whatever PXN says (D8.4; AArch64.S1DirectBasePermissions in the pseudocode):
 * `settle`.
 *
 * Not applied, because they depend on registers other than the format: WXN, PAN, EPAN, AF = 0, the top byte (TBI) and pointer tags, POE/PIE. NSTable and NS say nothing here.
 */
import { bit, bits, field } from "./bits.js";
import {
  ABSENT,
  type Decoded,
  GRANTS_ALL,
  type Grants,
  type ReferenceFormat,
  type ReferenceLevel,
} from "./format.js";

export interface AArch64Options {
  /** Bytes of a page and of a whole table. */
  readonly granule: 4096 | 16384 | 65536;
  /** Input address size: 64 - TnSZ. */
  readonly bits: number;
  /** TTBR0 (addresses begin with zeros) or TTBR1 (with ones). */
  readonly half: "lower" | "upper";
  /** 52-bit output addresses: LPA (64 KiB), or LPA2 with TCR.DS = 1 (4 and 16 KiB). Default: if `bits` is over 48. */
  readonly largeAddresses?: boolean;
  /** TCR.HPDn: attributes of table descriptors are ignored. */
  readonly hierarchicalDisabled?: boolean;
  /** TCR.HD: hardware clears AP[2] of a descriptor with DBM when it is written to, so that it is writable. */
  readonly dirtyState?: boolean;
}

/** The format of one half. */
export function aarch64(options: AArch64Options): ReferenceFormat {
  const { granule, half, hierarchicalDisabled = false, dirtyState = false } = options;
  const large = options.largeAddresses ?? options.bits > 48;
  /** Bits of an offset in a page; a table of a page's size resolves three fewer, as a descriptor has eight bytes. */
  const pageBits = { 4096: 12, 16384: 14, 65536: 16 }[granule];
  const indexBits = pageBits - 3;

  // D8.2: each level resolves `indexBits`, the first one what is left of the input address.
  const levels: ReferenceLevel[] = [];
  for (let low = pageBits, level = 1; low < options.bits; low += indexBits, level++) {
    const high = Math.min(low + indexBits, options.bits) - 1;
    levels.unshift({ level, high, low, name: `level ${4 - level} descriptor` });
  }

  /** Output address, or next table's, from bits `low` up. */
  const address = (descriptor: bigint, low: number): bigint => {
    if (!large) return field(descriptor, 47, low);
    if (granule === 65536) return (bits(descriptor, 15, 12) << 48n) | field(descriptor, 47, low);
    return (bits(descriptor, 9, 8) << 50n) | field(descriptor, 49, low);
  };

  const hasBlocks = (manualLevel: number): boolean => {
    if (manualLevel === 2) return true;
    if (granule === 4096) return manualLevel === 1 || (manualLevel === 0 && large);
    return manualLevel === 1 && large;
  };

  const decode = (level: number, descriptor: bigint): Decoded => {
    if (!bit(descriptor, 0)) return ABSENT;
    const manualLevel = 4 - level;
    if (manualLevel < 3 && bit(descriptor, 1)) {
      const grants: Grants = {
        readable: true,
        // APTable[1]: no writes. APTable[0]: no access from EL0.
        writable: !bit(descriptor, 62),
        user: !bit(descriptor, 61),
        userExecutable: !bit(descriptor, 60),
        kernelExecutable: !bit(descriptor, 59),
      };
      return {
        is: "table",
        next: address(descriptor, pageBits),
        grants: hierarchicalDisabled ? GRANTS_ALL : grants,
        global: false,
      };
    }
    if (manualLevel === 3 && !bit(descriptor, 1)) return ABSENT;
    if (manualLevel < 3 && !hasBlocks(manualLevel)) return ABSENT;
    const low = pageBits + indexBits * (level - 1);
    const grants: Grants = {
      readable: true,
      // AP[2:1], in bits 7:6: AP[2] is read-only, AP[1] is access from EL0. EL0 may execute what it can't read.
      writable: !bit(descriptor, 7) || (dirtyState && bit(descriptor, 51)),
      user: bit(descriptor, 6),
      userExecutable: !bit(descriptor, 54),
      kernelExecutable: !bit(descriptor, 53),
    };
    return {
      is: "page",
      base: address(descriptor, low),
      size: 1n << BigInt(low),
      grants,
      global: !bit(descriptor, 11),
      attributes: { accessed: bit(descriptor, 10), contiguous: bit(descriptor, 52) },
    };
  };

  const kib = granule / 1024;
  const name = `aarch64-${kib}k-${options.bits}${large ? "-large" : ""}-${half}`;
  const canonical = half === "lower" ? "zeros" : "ones";
  const settle = (grants: Grants): Grants =>
    grants.user && grants.writable ? { ...grants, kernelExecutable: false } : grants;
  return { name, levels, entryBytes: 8, canonical, decode, settle };
}
