/** What a root maps: how much of it makes sense, how many pages are a user's, and whether it maps what a kernel must. */

import { faultState } from "../../io/fault.js";
import type { PacketIo, Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { compileMmu } from "../formats/mmu.js";
import type { MmuDef } from "../formats/mmu-def.js";
import { USER } from "../formats/rights.js";
import { RunColumns } from "../maps/run-columns.js";
import { TableCache } from "../tables/table-cache.hot.js";
import { VirtualMemory } from "../virtual-memory.js";
import type { RootHalf } from "./root-shape.hot.js";
import type { Mark } from "./scan-roots.js";

/** What the runs of a range say. */
export interface RootContent {
  /** Smallest pages that are a user's, and others, in RAM. */
  readonly userPages: number;
  readonly otherPages: number;
  /** Runs that are sound: mapped, to RAM. */
  readonly sound: number;
  /** Runs that are not: malformed entries, tables that can't be read, pages where there is no RAM. */
  readonly odd: number;
  /** Those among them that lie under tables that can't be read. */
  readonly missing: number;
  /** Whether all of the range was looked at. */
  readonly whole: boolean;
}

/** The same while it is counted. */
type Counts = { -readonly [K in keyof RootContent]: RootContent[K] };

/** Where a landmark is mapped. */
export interface MappedMark extends Mark {
  readonly virtual: bigint;
}

/** What is in a root's kernel part. */
export interface KernelPart {
  readonly content: RootContent;
  /** The landmark that it maps, if any, where it does so last; and at how many addresses, up to four. */
  readonly place: MappedMark | undefined;
  readonly count: number;
}

/** Runs, and entries that lead to tables or make no sense, looked at in all: tables that loop make few runs, and much work. */
const MAX_ROWS = 1 << 23;
/** Runs of one root's part. */
const MAX_ROOT_ROWS = 1 << 16;
/** Runs asked for at first, and then. */
const FEW_ROWS = 64;
const ROWS = 2048;
/** Runs that make no sense, from which on more of them than others end the search. */
const MIN_ODD = 16;
/** Tables kept: candidates share most of them. */
const CACHE_BYTES = 16 << 20;
/** Bytes at the end of the address space in which kernels of 64 bits have their image (x86-64, RISC-V). */
const LAST_PART = 1n << 31n;
/** Places of one landmark that are told apart. */
const MAX_PLACES = 4;

/** Looks into roots of one format. */
export class RootJudge {
  readonly def: MmuDef;
  /** Smallest page in bytes. */
  readonly pageSize: number;
  /** First address of the kernel's part: of a format with two roots, of the upper one's. */
  readonly kernelStart: bigint;
  readonly #physical: PacketIo<number>;
  readonly #map: PhysicalMap;
  readonly #live: boolean;
  readonly #cache: TableCache;
  readonly #few: RunColumns;
  readonly #columns: RunColumns;
  /** Runs that may still be looked at. */
  #rows = MAX_ROWS;

  constructor(physical: PacketIo<number>, map: PhysicalMap, def: MmuDef, live: boolean) {
    this.def = def;
    this.pageSize = 2 ** (def.splits[def.splits.length - 1] as number);
    const bits = BigInt(def.splits.reduce((sum, n) => sum + n, 0));
    this.kernelStart =
      def.canonical === "sign-extended" ? (1n << 64n) - (1n << (bits - 1n)) : (1n << (bits - 2n)) * 3n;
    this.#physical = physical;
    this.#map = map;
    this.#live = live;
    this.#few = new RunColumns(compileMmu(def), FEW_ROWS);
    this.#columns = new RunColumns(compileMmu(def), ROWS);
    this.#cache = new TableCache({ mmu: def, bytes: CACHE_BYTES });
  }

  /** Whether there is nothing left to spend. */
  get isSpent(): boolean {
    return this.#rows <= 0;
  }

  /** The address space of a root. */
  space(root: number, half: RootHalf | undefined): VirtualMemory {
    return new VirtualMemory(this.#physical, {
      root: half === undefined ? root : { [half]: root },
      mmu: this.def,
      live: this.#live,
      name: "candidate",
      tableCache: this.#cache,
    });
  }

  /** What is below the kernel's part (of a lower root: all of it). */
  *userPart(root: number, half: RootHalf | undefined): Routine<RootContent> {
    return yield* this.#content(this.space(root, half), 0n, half === "upper" ? 0n : this.kernelStart);
  }

  /** What is in a root's kernel part, and where it maps landmarks. */
  *kernelPart(root: number, half: RootHalf | undefined, marks: readonly Mark[]): Routine<KernelPart> {
    const places: MappedMark[] = [];
    const memory = this.space(root, half);
    const take = (columns: RunColumns, row: number) => {
      const start = columns.physical[row] as number;
      const length = columns.lengths[row] as number;
      // An image is more than one page. (What a format with too few levels takes for a last table, holds large pages: each
      // looks like a single small one.)
      if (((columns.rights[row] as number) & USER) !== 0 || length < 2 * this.pageSize) return;
      for (const mark of marks) {
        if (mark.physical < start || mark.physical >= start + length) continue;
        if (places.filter(({ physical }) => physical === mark.physical).length >= MAX_PLACES) continue;
        if (!this.#isPageInside(mark.physical, columns.levels[row] as number)) continue;
        places.push({ ...mark, virtual: (columns.starts[row] as bigint) + BigInt(mark.physical - start) });
      }
    };
    // The last 2 GiB first: most images lie there, and what is below may be more than is looked at.
    const isWide = this.def.canonical === "sign-extended";
    const end = isWide ? 1n << 64n : (this.kernelStart / 3n) * 4n;
    const top = isWide ? end - LAST_PART : end;
    const last = yield* this.#content(memory, top, end, take);
    const content = yield* this.#content(memory, this.kernelStart, top, take);
    content.odd += last.odd;
    content.sound += last.sound;
    // Of several, the image's: it lies above whatever else maps it. A landmark that is mapped twice is no mere copy of one.
    let place: MappedMark | undefined;
    let count = 0;
    for (const one of places) {
      const times = places.filter(({ physical }) => physical === one.physical).length;
      if (times >= count && (yield* this.#isAccessed(memory, one.virtual))) {
        place = one;
        count = times;
      }
    }
    return { content, place, count };
  }

  /** Whether an address is mapped to a landmark. */
  *maps(root: number, half: RootHalf | undefined, place: MappedMark): Routine<boolean> {
    const translation = yield* this.space(root, half).translate(place.virtual);
    return "physical" in translation && translation.physical === place.physical;
  }

  /**
   * Whether an address' page is marked as accessed. A kernel's own always are, from the beginning; and this bit tells x86's
   * pages from AArch64's, which otherwise are each sound ones of the other.
   */
  *#isAccessed(memory: VirtualMemory, virtual: bigint): Routine<boolean> {
    const bit = this.def.attributes?.find(({ name }) => name === "accessed")?.bits[0];
    if (bit === undefined) return true;
    const walk = yield* memory.walk(virtual);
    const entry = walk.steps.at(-1)?.entry ?? 0n;
    return ((entry >> BigInt(bit)) & 1n) === 1n;
  }

  *#content(
    memory: VirtualMemory,
    start: bigint,
    end: bigint,
    take?: (columns: RunColumns, row: number) => void,
  ): Routine<Counts> {
    const found: Counts = { userPages: 0, otherPages: 0, sound: 0, odd: 0, missing: 0, whole: false };
    let rows = 0;
    let at = start;
    while (at < end && rows < MAX_ROOT_ROWS && this.#rows > 0) {
      // What is no root at all mostly shows it soon.
      const into = rows === 0 ? this.#few : this.#columns;
      const columns: RunColumns = yield* memory.runs({ start: at, end }, into);
      rows += columns.length;
      this.#rows -= columns.length + 1 + columns.steps;
      for (let row = 0; row < columns.length; row++) {
        this.#count(columns, row, found);
        if (columns.faults[row] === 0) take?.(columns, row);
      }
      at = columns.end;
      // What makes no sense from the beginning on is no root: its other runs don't matter.
      if (found.odd > MIN_ODD && found.odd > found.sound) break;
    }
    found.whole = at >= end;
    return found;
  }

  #count(columns: RunColumns, row: number, found: Counts): void {
    const fault = columns.faults[row] as number;
    if (fault !== 0) {
      const state = faultState(fault);
      if (state !== "swapped") found.odd++;
      if (state === "table-missing") found.missing++;
    } else if (!this.#isInside(columns.physical[row] as number, columns.lengths[row] as number)) {
      found.odd++;
    } else {
      found.sound++;
      const pages = (columns.lengths[row] as number) / this.pageSize;
      if (((columns.rights[row] as number) & USER) !== 0) found.userPages += pages;
      else found.otherPages += pages;
    }
  }

  /** Whether the page of a level around an address does. */
  #isPageInside(physical: number, level: number): boolean {
    const size = compileMmu(this.def).size[level] as number;
    return this.#isInside(physical - (physical % size), size);
  }

  /** Whether a run begins and ends in RAM: what is taken for a larger page than it is, does not. */
  #isInside(physical: number, length: number): boolean {
    return (
      this.#map.stateOf(physical) !== "outside" && this.#map.stateOf(physical + length - 1) !== "outside"
    );
  }
}
