/** What a mapping allows, combined over all levels: bits of a number, and the same by name. */

/** Bit of a `rights` value: the mapping may be written to. */
export const WRITABLE = 1;
/** Bit of a `rights` value: it is reachable from user mode. */
export const USER = 2;
/** Bit of a `rights` value: user mode may execute it, where it reaches it. */
export const USER_EXECUTABLE = 4;
/** Bit of a `rights` value: the translation outlives a change of root. */
export const GLOBAL = 8;
/** Bit of a `rights` value: kernel mode may execute it, as far as the tables say. (x86 has one bit for both modes.) */
export const KERNEL_EXECUTABLE = 16;
/** Bit of a `rights` value: it may be read. Execute-only pages lack it, and pages that Linux hides (PROT_NONE). */
export const READABLE = 32;
/** Bits of a `rights` value: it is executable if any of these is set. */
export const EXECUTABLE = USER_EXECUTABLE | KERNEL_EXECUTABLE;
/** Every right: what a walk begins with. */
export const ALL_RIGHTS = WRITABLE | USER | EXECUTABLE | GLOBAL | READABLE;

/**
 * Rights of a mapping, combined over all levels, as the tables grant them: without what registers take away besides
 * (SMEP, SMAP, protection keys, write-protection, PAN).
 */
export interface Rights {
  readonly readable: boolean;
  readonly writable: boolean;
  /** Reachable from user mode. */
  readonly user: boolean;
  /** In user mode or in kernel mode; the bits of `rights` tell which. */
  readonly executable: boolean;
  /** The translation outlives a change of root. */
  readonly global: boolean;
  /**
   * The same as bits: `WRITABLE`, `USER`, `USER_EXECUTABLE`, `KERNEL_EXECUTABLE`, `GLOBAL`, `READABLE`. (AArch64 has an
   * execute-never bit for each of both modes.)
   */
  readonly rights: number;
}

/** The names of a `rights` value's bits. */
export function rightsFields(rights: number): Rights {
  return {
    readable: (rights & READABLE) !== 0,
    writable: (rights & WRITABLE) !== 0,
    user: (rights & USER) !== 0,
    executable: (rights & EXECUTABLE) !== 0,
    global: (rights & GLOBAL) !== 0,
    rights,
  };
}
