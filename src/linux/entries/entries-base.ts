/** What Linux's entries that are not present have in common on all architectures; see `absent-entries.ts`. */
import {
  ABSENT,
  type AbsentEntries,
  type AbsentEntry,
  type AbsentPage,
  ELSEWHERE,
  IN_RAM,
} from "../../paging/formats/absent-entries.js";
import type { MmuDef } from "../../paging/formats/mmu-def.js";
import { READABLE, USER, WRITABLE } from "../../paging/formats/rights.js";
import { type SwapLayout, SwapWords, splitSwap } from "../swap/swap-entries.js";
import type { SwapTypeKind, SwapTypes } from "../swap/swap-types.js";
import { releaseOf } from "./release.js";

/** Linux's interpreter of entries that are not present. */
export interface LinuxAbsentEntries extends AbsentEntries {
  /**
   * From now on, numbers of swap areas stand for these. (What was translated before may be remembered: see
   * `VirtualMemory.flush`.)
   */
  useSwapTypes(types: SwapTypes): void;
}

/** What counts of a format here. */
export type EntryFormat = Pick<MmuDef, "splits" | "entryBytes" | "address" | "notAddress">;

/** What an entry is that names a page in RAM. */
export const NEITHER = 0;
/** Hidden from the program, and from the processor. */
export const PROT_NONE = 1;
/** A large page whose entry is being changed, with its rights. */
export const INVALIDATED = 2;
/** A page that the kernel took out of its own map. */
export const UNMAPPED = 3;
/** A place that is kept free. */
export const KEPT_FREE = 4;

const NOTES: readonly string[] = [
  "",
  "PROT_NONE",
  "a large page that is being changed, with its rights",
  "taken out of the kernel's own map",
  "kept free",
];

/** Kinds of swap types as numbers, for the walker. */
const SWAPPED_OUT = 0;
const FRAME = 1;
const FRAME_WRITABLE = 2;
const ON_DEVICE = 3;
const NOTHING = 4;

const CLASS: Readonly<Record<SwapTypeKind, number>> = {
  swap: SWAPPED_OUT,
  hwpoison: NOTHING,
  "migration-read": FRAME,
  "migration-read-exclusive": FRAME,
  "migration-write": FRAME_WRITABLE,
  "device-private-write": ON_DEVICE,
  "device-private-read": ON_DEVICE,
  // The page stays where it is, and the processor faults so that the device has it to itself.
  "device-exclusive-write": FRAME_WRITABLE,
  "device-exclusive-read": FRAME,
  "device-exclusive": FRAME_WRITABLE,
  marker: NOTHING,
  "swapin-error": NOTHING,
};

/** What special entries are told with where the kernel's symbols are not at hand: its numbers may be others. */
const GUESSED = "a guess by the release";

const MARKERS: readonly string[] = ["write-protected by userfaultfd", "poisoned", "guard"];

const swap = new SwapWords();
const found = { lo: 0, hi: 0, rights: 0 };
const wide = new BigInt64Array(1);
const words = new Int32Array(wide.buffer);

/** What all architectures share: what a swap entry means, and what to say of an entry. */
export abstract class LinuxEntries implements LinuxAbsentEntries {
  readonly name = "linux";
  protected readonly release: number;
  /** log2 of the bytes that an entry covers, by level. */
  protected readonly shifts: readonly number[];
  readonly #classes = new Uint8Array(64);
  #kinds: readonly SwapTypeKind[] = [];
  /** Whether nothing but the release tells which kinds of entries the kernel has. */
  #guessed = false;
  readonly #pageShift: number;
  /** Entries of higher levels map nothing on Linux, and so are never anything but present or zero. */
  readonly #maxLevel: number;
  /** Bits of a frame's number in a special entry, since 6.1 (`SWP_PFN_BITS`); of a migration, two more lie above. */
  readonly #frameBits: number;

  constructor(
    paging: EntryFormat,
    types: SwapTypes,
    release: number,
    physicalBits: number,
    maxLevel: number,
  ) {
    this.release = release;
    this.#maxLevel = maxLevel;
    this.useSwapTypes(types);
    const { splits } = paging;
    const levels = splits.length - 1;
    const shifts = [0];
    let shift = 0;
    for (let level = 1; level <= levels; level++) {
      shift += splits[levels - level + 1] as number;
      shifts.push(shift);
    }
    this.shifts = shifts;
    this.#pageShift = shifts[1] as number;
    this.#frameBits = release < releaseOf(6, 1) ? 52 - this.#pageShift : physicalBits - this.#pageShift;
  }

  useSwapTypes({ kinds, from }: SwapTypes): void {
    this.#kinds = kinds;
    this.#guessed = from === "release";
    // Six bits of type are more than the kernel uses: no number from 32 on is of any kind.
    for (let i = 0; i < 64; i++) this.#classes[i] = CLASS[kinds[i] ?? "marker"];
  }

  /** Whether an entry names a page in RAM by the bits of a present one; puts its address and rights into `page`. */
  protected abstract present(level: number, lo: number, hi: number, page: AbsentPage): number;
  /** The layout of a swap entry; undefined if it can't be one. */
  protected abstract layoutOf(level: number, lo: number, hi: number): SwapLayout | undefined;

  read(level: number, lo: number, hi: number, page: AbsentPage): number {
    if (level > this.#maxLevel) return ABSENT;
    const present = this.present(level, lo, hi, page);
    if (present !== NEITHER) return present === PROT_NONE || present === INVALIDATED ? IN_RAM : ABSENT;
    const layout = this.layoutOf(level, lo, hi);
    if (layout === undefined) return ABSENT;
    splitSwap(swap, layout, lo, hi);
    const kind = this.#classes[swap.type] as number;
    if (kind === SWAPPED_OUT || kind === ON_DEVICE) return ELSEWHERE;
    if (kind === NOTHING || !this.#takeFrame(level, page)) return ABSENT;
    page.rights = READABLE | USER | (kind === FRAME_WRITABLE ? WRITABLE : 0);
    return IN_RAM;
  }

  /** Puts the address of the frame that `swap` names into `page`; false for one that no memory has at this level. */
  #takeFrame(level: number, page: AbsentPage): boolean {
    const bits = this.#frameBits;
    const shift = this.#pageShift;
    // Before 6.1 the whole offset is the frame's number.
    const masked = this.release >= releaseOf(6, 1);
    const lo = masked && bits < 32 ? swap.lo & (2 ** bits - 1) : swap.lo;
    const hi = masked ? (bits < 32 ? 0 : swap.hi & (2 ** (bits - 32) - 1)) : swap.hi;
    // Beyond 52 bits of address.
    if (hi >>> (20 - shift) !== 0) return false;
    page.lo = lo << shift;
    page.hi = (hi << shift) | (lo >>> (32 - shift));
    const size = this.shifts[level] as number;
    if (size < 32) return (page.lo & (2 ** size - 1)) === 0;
    return page.lo === 0 && (page.hi & (2 ** (size - 32) - 1)) === 0;
  }

  describe(level: number, entry: bigint): AbsentEntry {
    wide[0] = entry;
    const lo = words[0] as number;
    const hi = words[1] as number;
    if (entry === 0n || level > this.#maxLevel) return { kind: "absent" };
    const present = this.present(level, lo, hi, found);
    if (present !== NEITHER) {
      const note = this.noteOf(present, lo, hi);
      if (present === KEPT_FREE) return { kind: "absent", note };
      const physical = addressOf(found);
      return { kind: present === UNMAPPED ? "absent" : "prot-none", physical, note };
    }
    const layout = this.layoutOf(level, lo, hi);
    if (layout === undefined) return { kind: "absent" };
    splitSwap(swap, layout, lo, hi);
    const { type, offset } = swap;
    const kind = this.#kinds[type];
    if (kind === undefined) return { kind: "absent", note: `no swap area has the number ${type}` };
    const notes = layout.flags.filter(({ bit }) => ((lo >>> bit) & 1) !== 0).map(({ name }) => name);
    if (kind === "swap") return { kind, type, offset, ...noted(notes) };
    if (kind === "marker") {
      const known = MARKERS.filter((_, bit) => Math.floor(offset / 2 ** bit) % 2 === 1);
      return this.#special(kind, known.length === 0 ? ["of no kind that is known"] : known);
    }
    if (kind === "swapin-error") return this.#special("marker", ["could not be read from swap"]);
    const [main, ...rest] = kind.split("-") as [AbsentEntry["kind"], ...string[]];
    notes.unshift(rest.join(" "));
    if (main === "migration" && this.release >= releaseOf(6, 1)) {
      const above = Math.floor(offset / 2 ** this.#frameBits);
      if (above % 2 === 1) notes.push("accessed");
      if (Math.floor(above / 2) % 2 === 1) notes.push("dirty");
    }
    const inRam = this.#takeFrame(level, found as AbsentPage);
    // The frames of a device's memory are no addresses that anything could be read at, but they are numbered alike.
    const physical = inRam ? { physical: addressOf(found) } : {};
    if (!inRam && main !== "device") notes.push("names no frame that could be");
    return { ...this.#special(main, notes), ...physical };
  }

  /** What `swap` is, of no swap area. */
  #special(kind: AbsentEntry["kind"], notes: readonly string[]): AbsentEntry {
    const { type, offset } = swap;
    return { kind, type, offset, ...noted(this.#guessed ? [...notes, GUESSED] : notes) };
  }

  /** What to say of a page in RAM. */
  protected noteOf(present: number, _lo: number, _hi: number): string {
    return NOTES[present] as string;
  }
}

function noted(notes: readonly string[]): { note?: string } {
  const text = notes.filter((note) => note !== "").join(", ");
  return text === "" ? {} : { note: text };
}

function addressOf({ lo, hi }: { lo: number; hi: number }): number {
  return (hi >>> 0) * 2 ** 32 + (lo >>> 0);
}

/** Bits `from` to 31 of a word that holds bits `base` on of an address. */
export function maskFrom(from: number, base: number): number {
  return from <= base ? -1 : from >= base + 32 ? 0 : -1 << (from - base);
}
