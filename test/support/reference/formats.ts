/** Every format that the property tests walk: the reference's decoder beside a writer of entries. */
import { aarch64 } from "./aarch64.js";
import { EPT4, EPT5 } from "./ept.js";
import type { ReferenceFormat } from "./format.js";
import { SV39, SV48, SV57 } from "./riscv.js";
import {
  type EntryWriter,
  writeAArch64,
  writeEpt,
  writePae,
  writeRiscv,
  writeX86_32,
  writeX86_64,
} from "./write-entries.js";
import { NPT4, NPT5, X86_32, X86_64, X86_64_LA57, X86_PAE } from "./x86.js";

/** A format as the property tests need it. */
export interface TestedFormat {
  readonly name: string;
  /** One, or the lower and the upper half. */
  readonly parts: readonly ReferenceFormat[];
  readonly writer: EntryWriter;
  /** Bytes of a page of the last level, and of a whole table. */
  readonly frame: number;
  /** Bytes that a root's address is a multiple of. */
  readonly rootAlign: number;
  /** Where RAM lies: a low place, and a high one that sets the highest address bits the format can express. */
  readonly islands: readonly [number, number];
  /** Of AArch64: what the format was made of. */
  readonly aarch64?: AArch64Case;
}

export interface AArch64Case {
  readonly granule: 4096 | 16384 | 65536;
  readonly lower: number;
  readonly upper: number;
  readonly largeAddresses: boolean;
  readonly hierarchicalDisabled: boolean;
  readonly dirtyState: boolean;
}

const LOW = 0x4000_0000;

const x86 = (format: ReferenceFormat, writer: EntryWriter, high: number, rootAlign = 4096): TestedFormat => ({
  name: format.name,
  parts: [format],
  writer,
  frame: 4096,
  rootAlign,
  islands: [LOW, high],
});

/** Bit 51 and bits below it, aligned for the largest page. */
const HIGH_51 = 2 ** 51 + 2 ** 45 + 2 ** 40;
/** A multiple of 2^48, the size of Sv57's petapages. */
const HIGH_RISCV = 2 ** 51 + 2 ** 48;

function arm(options: AArch64Case): TestedFormat {
  const { granule, lower, upper, largeAddresses, hierarchicalDisabled, dirtyState } = options;
  const registers = { granule, largeAddresses, hierarchicalDisabled, dirtyState };
  const parts = [
    aarch64({ ...registers, bits: lower, half: "lower" }),
    aarch64({ ...registers, bits: upper, half: "upper" }),
  ];
  const off = `${hierarchicalDisabled ? ", HPD" : ""}${dirtyState ? ", HD" : ""}`;
  const size = lower === upper ? `${lower}` : `${lower} and ${upper}`;
  return {
    name: `aarch64, ${granule / 1024} KiB, ${size} bits${largeAddresses ? ", 52-bit physical" : ""}${off}`,
    parts,
    writer: writeAArch64(granule, largeAddresses),
    frame: granule,
    // D8.2: a table is aligned to its size, which for 52-bit addresses is at least 64 bytes.
    rootAlign: Math.max(
      ...parts.map(({ levels: [root] }) => 8 * 2 ** ((root?.high ?? 0) - (root?.low ?? 0) + 1)),
      largeAddresses ? 64 : 8,
    ),
    islands: [LOW, largeAddresses ? 2 ** 51 + 2 ** 49 + 2 ** 46 : 2 ** 47 + 2 ** 45],
    aarch64: options,
  };
}

const plain = (granule: 4096 | 16384 | 65536, lower: number, upper = lower): TestedFormat =>
  arm({ granule, lower, upper, largeAddresses: false, hierarchicalDisabled: false, dirtyState: false });
const large = (granule: 4096 | 16384 | 65536, lower: number, upper = lower): TestedFormat =>
  arm({ granule, lower, upper, largeAddresses: true, hierarchicalDisabled: false, dirtyState: false });

export const TESTED_FORMATS: readonly TestedFormat[] = [
  x86(X86_32, writeX86_32, 0xa3_4000_0000),
  x86(X86_PAE, writePae, HIGH_51, 32),
  x86(X86_64, writeX86_64(4), HIGH_51),
  x86(X86_64_LA57, writeX86_64(5), HIGH_51),
  x86(NPT4, writeX86_64(4), HIGH_51),
  x86(NPT5, writeX86_64(5), HIGH_51),
  x86(EPT4, writeEpt, HIGH_51),
  x86(EPT5, writeEpt, HIGH_51),
  x86(SV39, writeRiscv, HIGH_RISCV),
  x86(SV48, writeRiscv, HIGH_RISCV),
  x86(SV57, writeRiscv, HIGH_RISCV),
  plain(4096, 36),
  plain(4096, 39),
  plain(4096, 42),
  plain(4096, 48),
  large(4096, 48),
  large(4096, 52),
  arm({
    granule: 4096,
    lower: 48,
    upper: 48,
    largeAddresses: false,
    hierarchicalDisabled: true,
    dirtyState: false,
  }),
  plain(16384, 36),
  plain(16384, 47),
  plain(16384, 48),
  large(16384, 52),
  // Halves of different sizes: of as many levels, and of one fewer.
  large(4096, 48, 52),
  large(4096, 52, 48),
  plain(16384, 47, 48),
  large(16384, 52, 47),
  large(16384, 49, 52),
  plain(65536, 52, 48),
  large(65536, 45, 52),
  plain(65536, 42),
  plain(65536, 48),
  large(65536, 48),
  large(65536, 52),
  arm({
    granule: 65536,
    lower: 52,
    upper: 52,
    largeAddresses: true,
    hierarchicalDisabled: true,
    dirtyState: false,
  }),
  arm({
    granule: 4096,
    lower: 48,
    upper: 48,
    largeAddresses: false,
    hierarchicalDisabled: false,
    dirtyState: true,
  }),
  arm({
    granule: 16384,
    lower: 52,
    upper: 52,
    largeAddresses: true,
    hierarchicalDisabled: false,
    dirtyState: true,
  }),
];
