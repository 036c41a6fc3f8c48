/**
 * What the slow reference walkers of all formats have in common: the words for an entry's meaning, and for results.
 *
 * They are written from the manuals alone and share nothing with `src/paging`: plain bigint, one `decode` a format that
 * says what an entry is, and the plain recursion of walk.ts over it.
 *
 * What counts as `malformed` is what every processor of the format refuses; the list stands in each format's module.
 * Bits that are reserved on some processors only are not in it: physical address bits above MAXPHYADDR or the IPS,
 * memory-encryption bits, XD without EFER.NXE, execute-only EPT entries, bits of optional extensions.
 */

/** Rights that are combined by "and" over the levels: what each entry grants to everything below it. */
export interface Grants {
  readonly readable: boolean;
  readonly writable: boolean;
  /** Data access in user mode (EL0, U-mode, CPL 3). */
  readonly user: boolean;
  /** Instruction fetch in user mode, as far as it reaches the page: on x86 and RISC-V that is `user`'s to say. */
  readonly userExecutable: boolean;
  /** Instruction fetch in kernel mode, as far as the tables say: no SMEP, WXN, or the like. */
  readonly kernelExecutable: boolean;
}

export const GRANTS_ALL: Grants = {
  readable: true,
  writable: true,
  user: true,
  userExecutable: true,
  kernelExecutable: true,
};

/** What an entry that maps memory also says. Absent where the format has no such thing. */
export interface Attributes {
  readonly accessed?: boolean;
  readonly dirty?: boolean;
  readonly protectionKey?: number;
  readonly contiguous?: boolean;
}

/** What an entry is. */
export type Decoded =
  | { readonly is: "absent" }
  | { readonly is: "malformed" }
  | {
      readonly is: "table";
      /** Physical address of the next table. */
      readonly next: bigint;
      readonly grants: Grants;
      /** All below it is global (RISC-V). */
      readonly global: boolean;
    }
  | {
      readonly is: "page";
      /** Physical address of the first byte, and bytes, of what the entry translates. */
      readonly base: bigint;
      readonly size: bigint;
      /** If the page is smaller: the entry is one of several equal ones (RISC-V's NAPOT). */
      readonly pageSize?: bigint;
      readonly grants: Grants;
      readonly global: boolean;
      readonly attributes: Attributes;
    };

export const ABSENT: Decoded = { is: "absent" };
export const MALFORMED: Decoded = { is: "malformed" };

/** The tables of one level: which bits of an address (inclusive, as manuals write them) are the index. */
export interface ReferenceLevel {
  /** 1 is the last table; counts up to the root. */
  readonly level: number;
  readonly high: number;
  readonly low: number;
  /** The manual's name of an entry. */
  readonly name: string;
}

/** A format: one root, one range of addresses (or two, if they are sign-extended). */
export interface ReferenceFormat {
  readonly name: string;
  /** Root first. */
  readonly levels: readonly ReferenceLevel[];
  readonly entryBytes: 4 | 8;
  /** What the address bits above the root's index must be: copies of the highest indexed bit, zeros, or ones. */
  readonly canonical: "sign" | "zeros" | "ones";
  decode(level: number, entry: bigint): Decoded;
  /** What a mapping grants, if all its entries grant this. Default: the same. */
  settle?(combined: Grants): Grants;
}

/** Reads the bytes of an entry at a physical address, little-endian; a string is the state of a failed read. */
export type ReadEntry = (physical: bigint, bytes: 4 | 8) => bigint | string;

/** An address space: one root, or AArch64's two, each with a format of its own; one may be absent (TCR.EPDn). */
export interface ReferenceSpace {
  readonly parts: readonly { readonly format: ReferenceFormat; readonly root: bigint | undefined }[];
}

export interface ReferenceMapping extends Grants {
  readonly physical: bigint;
  readonly pageSize: bigint;
  readonly global: boolean;
}

export interface ReferenceFault {
  readonly state: string;
  readonly level: number;
  readonly entry: bigint;
  /** Of `table-missing`: the state of the read that failed. */
  readonly cause?: string;
}

/** Levels as most formats have them: `width` index bits each above `low`, down from `top` tables. */
export function evenLevels(low: number, width: number, names: readonly string[]): ReferenceLevel[] {
  return names.map((name, i) => {
    const level = names.length - i;
    const first = low + width * (level - 1);
    return { level, high: first + width - 1, low: first, name };
  });
}
