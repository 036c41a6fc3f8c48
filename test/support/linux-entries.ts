/**
 * Writes Linux's page-table entries as the kernel's macros do, in bigints, one branch a release: the model that
 * `src/linux/absent-entries.ts` is compared with. Releases are [major, minor].
 */
export type Release = readonly [major: number, minor: number];

const M64 = (1n << 64n) - 1n;
export const atLeast = ([major, minor]: Release, [a, b]: Release): boolean =>
  major > a || (major === a && minor >= b);

/** Configuration of a kernel, as include/linux/swap.h asks for it. */
export interface SwapConfig {
  readonly memoryFailure: boolean;
  readonly migration: boolean;
  readonly devicePrivate: boolean;
  readonly pteMarker: boolean;
}

/** The defines of include/linux/swap.h, evaluated: name without SWP_, number. */
export function swapDefines(
  release: Release,
  config: SwapConfig,
): { max: number; special: Map<string, number> } {
  const hwpoisonNum = config.memoryFailure ? 1 : 0;
  const migrationNum = config.migration ? (atLeast(release, [5, 19]) ? 3 : 2) : 0;
  let deviceNum = 0;
  if (config.devicePrivate && atLeast(release, [4, 14])) {
    deviceNum = atLeast(release, [6, 15]) ? 3 : atLeast(release, [5, 14]) ? 4 : 2;
  }
  const markerNum = atLeast(release, [6, 2]) || (config.pteMarker && atLeast(release, [5, 19])) ? 1 : 0;
  const errorNum = atLeast(release, [6, 0]) && !atLeast(release, [6, 2]) ? 1 : 0;
  const max = (1 << 5) - deviceNum - migrationNum - hwpoisonNum - markerNum - errorNum;
  const special = new Map<string, number>();
  if (hwpoisonNum === 1) special.set("HWPOISON", max);
  if (migrationNum === 2) {
    special.set("MIGRATION_READ", max + hwpoisonNum);
    special.set("MIGRATION_WRITE", max + hwpoisonNum + 1);
  } else if (migrationNum === 3) {
    special.set("MIGRATION_READ", max + hwpoisonNum);
    special.set("MIGRATION_READ_EXCLUSIVE", max + hwpoisonNum + 1);
    special.set("MIGRATION_WRITE", max + hwpoisonNum + 2);
  }
  const device = max + hwpoisonNum + migrationNum;
  if (deviceNum > 0) {
    special.set("DEVICE_WRITE", device);
    special.set("DEVICE_READ", device + 1);
  }
  if (deviceNum === 3) special.set("DEVICE_EXCLUSIVE", device + 2);
  if (deviceNum === 4) {
    special.set("DEVICE_EXCLUSIVE_WRITE", device + 2);
    special.set("DEVICE_EXCLUSIVE_READ", device + 3);
  }
  if (markerNum === 1) special.set("PTE_MARKER", device + deviceNum);
  if (errorNum === 1) special.set("SWAPIN_ERROR", device + deviceNum + markerNum);
  return { max, special };
}

/** An architecture's macros. */
export interface EntryWriter {
  readonly name: string;
  readonly architecture: string;
  readonly entryBytes: 4 | 8;
  readonly splits: readonly number[];
  /** First and last bit of a physical address in an entry. */
  readonly address: readonly [number, number];
  readonly releases: readonly Release[];
  /** Most bits that an offset may have here. */
  readonly offsetBits: (release: Release) => number;
  /** Bits of physical addresses (MAX_PHYSMEM_BITS). */
  readonly physicalBits: number;
  /** Highest level at which pages are mapped. */
  readonly maxLevel: number;
  /** __swp_entry_to_pte(__swp_entry(type, offset)). */
  swap(release: Release, type: bigint, offset: bigint): bigint;
  /** pte_modify(pte, PAGE_NONE), or pmd_modify: of a present page that user mode writes to. */
  protNone(release: Release, level: number, physical: bigint): bigint;
  /** pmd_mkinvalid, if the release marks such entries: of a page with these rights. */
  invalidated(
    release: Release,
    level: number,
    physical: bigint,
    rights: { writable: boolean; user: boolean; executable: boolean },
  ): bigint | undefined;
  /** Pages that the kernel takes out of its own map: every way in which it does that at this level. */
  unmapped(release: Release, level: number, physical: bigint): bigint[];
}

const PSE = 1n << 7n;
const GLOBAL = 1n << 8n;
const NX = 1n << 63n;
/** L1TF: 4.19, and the stable kernels of 4.18 and before it (which have the same release as those without). */
const inverts = (release: Release) => atLeast(release, [4, 19]);

const PTE_PFN_MASK = ((1n << 52n) - 1n) & ~0xfffn;
function pfnX86(release: Release, level: number, physical: bigint, flags: bigint, mask: bigint): bigint {
  const entry = flags | (level > 1 ? PSE : 0n);
  return entry | ((inverts(release) ? ~physical : physical) & mask);
}

/** x86 with 8-byte entries: PAE or not. */
function x86(
  name: string,
  splits: readonly number[],
  physicalBits: number,
  releases: readonly Release[],
): EntryWriter {
  const pae = splits.length === 4;
  return {
    name,
    architecture: pae ? "i386" : "x86_64",
    entryBytes: 8,
    splits,
    address: [12, 51],
    releases,
    // The bit that tells the layouts apart must not be in use: no swap area is so large.
    offsetBits: (release) => (pae ? 22 : inverts(release) ? 49 : 44),
    physicalBits,
    maxLevel: pae ? 2 : 3,
    swap(release, type, offset) {
      if (inverts(release)) return ((((~offset & M64) << 14n) & M64) >> 5n) | (type << 59n);
      if (pae) return (type | (offset << 5n)) << 32n;
      return atLeast(release, [4, 8]) ? (type << 9n) | (offset << 14n) : (type << 1n) | (offset << 9n);
    },
    protNone: (release, level, physical) =>
      pfnX86(release, level, physical, GLOBAL | (1n << 5n), PTE_PFN_MASK),
    invalidated(release, level, physical, { writable, user, executable }) {
      if (level === 1) return undefined;
      const flags = (1n << 5n) | (writable ? 2n : 0n) | (user ? 4n : 0n) | (executable ? 0n : NX);
      return pfnX86(release, level, physical, flags, PTE_PFN_MASK);
    },
    unmapped(release, level, physical) {
      // change_page_attr_clear(_PAGE_PRESENT), with what __PAGE_KERNEL and __PAGE_KERNEL_RO have left; bit 8 is cleared.
      const cleared = [1n << 5n, (1n << 5n) | (1n << 6n) | 2n].map((flags) =>
        pfnX86(release, level, physical, flags | NX, PTE_PFN_MASK),
      );
      if (level > 1) return cleared;
      // kfence_protect_page: clears the present bit alone (bit 8 stays); newer ones store the complement of the whole.
      const kernel = physical | NX | (1n << 6n) | (1n << 5n) | 2n | (inverts(release) ? GLOBAL : 0n);
      const all = [kernel, ...(atLeast(release, [4, 8]) || pae ? cleared : cleared.slice(1))];
      return atLeast(release, [6, 1]) && !pae ? [...all, ~(kernel | 1n) & M64] : all;
    },
  };
}

const X86_WORD: EntryWriter = {
  name: "x86 with two levels",
  architecture: "i386",
  entryBytes: 4,
  splits: [10, 10, 12],
  address: [12, 31],
  releases: [
    [3, 16],
    [4, 19],
    [6, 1],
    [6, 12],
  ],
  offsetBits: () => 23,
  physicalBits: 32,
  maxLevel: 2,
  swap: (_release, type, offset) => ((type << 1n) | (offset << 9n)) & 0xffff_ffffn,
  protNone: (_release, level, physical) => physical | GLOBAL | (1n << 5n) | (level > 1 ? PSE : 0n),
  invalidated: (_release, level, physical, { writable, user }) =>
    level === 1 ? undefined : physical | PSE | (writable ? 2n : 0n) | (user ? 4n : 0n),
  unmapped: (release, level, physical) =>
    atLeast(release, [4, 0]) ? [physical | (1n << 6n) | (1n << 5n) | 2n | (level > 1 ? PSE : 0n)] : [],
};

const NG = 1n << 11n;
const UXN = 1n << 54n;
const PXN = 1n << 53n;
const RDONLY = 1n << 7n;

function aarch64(granule: number, physical52: boolean): EntryWriter {
  const index = granule - 3;
  const pte = (physical: bigint): bigint => {
    if (!physical52) return physical;
    // __phys_to_pte_val
    if (granule === 16) return (physical & 0xffff_ffff_0000n) | ((physical >> 36n) & 0xf000n);
    return (physical & 0x3_ffff_ffff_f000n) | ((physical >> 42n) & 0x300n);
  };
  return {
    name: `AArch64 with pages of ${2 ** granule} bytes${physical52 ? " and 52 bits" : ""}`,
    architecture: "aarch64",
    entryBytes: 8,
    splits: [index, index, index, granule],
    address: [granule, physical52 ? 51 : 47],
    releases: [
      [4, 9],
      [5, 10],
      [5, 19],
      [6, 1],
      [6, 9],
      [6, 10],
      [6, 12],
    ],
    offsetBits: () => 50,
    physicalBits: physical52 ? 52 : 48,
    maxLevel: granule === 12 ? 3 : 2,
    swap(release, type, offset) {
      if (atLeast(release, [6, 10])) return (type << 6n) | (offset << 12n);
      return (type << (atLeast(release, [5, 19]) ? 3n : 2n)) | (offset << 8n);
    },
    protNone(release, level, physical) {
      const type = level === 1 ? 2n : 0n;
      const mark = atLeast(release, [6, 10]) ? 0n : 1n << 58n;
      return pte(physical) | type | mark | RDONLY | NG | PXN | UXN | (1n << 10n);
    },
    invalidated(release, level, physical, { writable, user, executable }) {
      const since610 = atLeast(release, [6, 10]);
      if (level === 1 || !(since610 || atLeast(release, [5, 10]))) return undefined;
      // What user mode can neither read nor execute is a PROT_NONE page to the kernel itself.
      if (since610 && !user && !executable) return undefined;
      const mark = since610 ? NG : 1n << 59n;
      return (
        pte(physical) |
        mark |
        (writable ? 0n : RDONLY) |
        (user ? 1n << 6n : 0n) |
        (executable ? 0n : UXN | PXN)
      );
    },
    // set_memory_valid: clears PTE_VALID; PAGE_KERNEL has nG where the kernel's and the user's tables are apart. (Since 6.10 that
    // is the mark of PROT_NONE pages, and such an entry the same as theirs.)
    unmapped(release, level, physical) {
      if (level > 1) return [];
      const marks = atLeast(release, [6, 10]) ? [0n] : [0n, NG];
      return marks.map((own) => pte(physical) | 2n | own | UXN | PXN | (1n << 10n));
    },
  };
}

/** The bits of RISC-V's entries: V, R, W, X, U, G. */
const [R, W, X, U, G] = [2n, 4n, 8n, 16n, 32n];
const ppn = (physical: bigint) => (physical >> 12n) << 10n;

const RISCV: EntryWriter = {
  name: "RISC-V",
  architecture: "riscv64",
  entryBytes: 8,
  splits: [9, 9, 9, 9, 12],
  address: [12, 55],
  releases: [
    [5, 19],
    [6, 1],
    [6, 3],
    [6, 12],
  ],
  offsetBits: () => 52,
  physicalBits: 52,
  maxLevel: 3,
  swap: (release, type, offset) =>
    atLeast(release, [6, 3]) ? (type << 7n) | (offset << 12n) : (type << 6n) | (offset << 11n),
  // PAGE_NONE, and pmd_mkinvalid, which clears V and G.
  protNone: (_release, _level, physical) => ppn(physical) | G | R | (1n << 6n),
  invalidated: (_release, level, physical, { writable, user, executable }) =>
    level === 1
      ? undefined
      : ppn(physical) | R | (writable ? W : 0n) | (user ? U : 0n) | (executable ? X : 0n) | (1n << 6n),
  unmapped: () => [],
};

/** Every architecture and format. */
export const ENTRY_WRITERS: readonly EntryWriter[] = [
  x86("x86-64", [9, 9, 9, 9, 12], 46, [
    [4, 4],
    [4, 9],
    [4, 14],
    [4, 19],
    [5, 10],
    [5, 14],
    [5, 19],
    [6, 1],
    [6, 6],
    [6, 15],
  ]),
  x86("x86-64 with five levels", [9, 9, 9, 9, 9, 12], 52, [
    [4, 19],
    [6, 1],
    [6, 12],
  ]),
  x86("x86 with PAE", [2, 9, 9, 12], 36, [
    [4, 9],
    [4, 19],
    [6, 1],
    [6, 12],
  ]),
  X86_WORD,
  aarch64(12, false),
  aarch64(14, false),
  aarch64(16, false),
  aarch64(16, true),
  aarch64(12, true),
  RISCV,
];
