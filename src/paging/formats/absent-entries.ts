/**
 * What an operating system makes of entries that the processor calls not present: it may keep anything in them. An
 * interpreter is injected into a format (`withAbsentEntries`); without one, they are not present and nothing else.
 */

/** Plainly not there. */
export const ABSENT = 0;
/** Its bytes are in RAM: the interpreter has set where, and what its rights are. */
export const IN_RAM = 1;
/** Its bytes are elsewhere, or nowhere for now: `swapped`. */
export const ELSEWHERE = 2;

/** Where an interpreter puts what it found; reused for all entries. */
export class AbsentPage {
  /** Words of the physical address of the page's first byte: a multiple of the page's size, for offsets are put into it. */
  lo = 0;
  hi = 0;
  /** Bits of a `rights` value that the entry grants; none for what is hidden from everybody. */
  rights = 0;
}

/** What an entry is, for people. */
export interface AbsentEntry {
  /**
   * `absent`: nothing is known of it. `prot-none`: its bytes are in RAM, and nobody may touch them. `swap`: in a swap area.
   * `migration`: on its way to another frame. `hwpoison`: its frame is broken. `device`: in a device's memory.
   * `marker`: no page, but a note about one.
   */
  readonly kind: "absent" | "prot-none" | "swap" | "migration" | "hwpoison" | "device" | "marker";
  /** What else there is to say, in words. */
  readonly note?: string;
  /** The frame that it names, as the physical address of its first byte. */
  readonly physical?: number;
  /** Number of the swap area. */
  readonly type?: number;
  /** Page in the swap area; counted in pages of the smallest size. */
  readonly offset?: number;
}

/** An interpreter; see the module's comment. */
export interface AbsentEntries {
  /** Short, for messages: `linux`. */
  readonly name: string;
  /**
   * What an entry means that is not present and not zero. Must not allocate: it may be asked about every page.
   *
   * @param level  1 is the last table, counting up to the root.
   * @param lo     Low word of the entry as stored; signed.
   * @param hi     High word; 0 in formats whose entries have 4 bytes.
   * @param page   For `IN_RAM`: takes where it is.
   * @returns `ABSENT`, `IN_RAM` or `ELSEWHERE`.
   */
  read(level: number, lo: number, hi: number, page: AbsentPage): number;
  /** The same for people, and for who looks for the bytes. */
  describe(level: number, entry: bigint): AbsentEntry;
}
