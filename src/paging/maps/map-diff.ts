/** Two address spaces compared: one sweep over the runs of both. */
import { joinAddress } from "../../io/address.js";
import type { Routine, Sink } from "../../io/index.js";
import { type FaultState, faultState, levelOf } from "../../io/index.js";
import { MISSING } from "../formats/entry-kinds.js";
import { restoreEntry } from "../formats/mmu.js";
import type { PageTableIo } from "../page-table-io.js";
import { kindOf } from "../walk/walk.hot.js";
import { RunPass, Visits } from "./maps.js";
import { RunColumns } from "./run-columns.js";
import {
  type Access,
  accessBits,
  accessFields,
  firstPage,
  kindOfRow,
  MAPPED,
  PAGE_BYTES,
  pageAddress,
  pageCount,
  SWAPPED_OUT,
  sizesOf,
  UNKNOWN as UNKNOWN_ROW,
} from "./run-pages.js";
import { sharedParts } from "./shared-parts.js";

/** How one of two spaces maps what differs; `state` tells whether it does. */
export interface DifferenceSide extends Access {
  /** Physical address of the first byte, if the whole is contiguous there. */
  readonly physical?: number;
  /** Sizes of its pages in bytes, ascending. */
  readonly pageSizes: readonly number[];
  readonly state?: undefined;
}

/** It is not in RAM there, but elsewhere. */
export interface SwappedSide {
  readonly state: "swapped";
}

/** Why one of two spaces can't be told of. */
export interface UnknownSide {
  readonly state: FaultState;
  /** Level of the entry that is malformed, or of the table that is missing. */
  readonly level: number;
  /** For `table-missing`: the state of the read of the table. */
  readonly cause?: FaultState;
}

/** A range in which two spaces differ. */
export type MapDifference = {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
} & (
  | { readonly kind: "only-first"; readonly first: DifferenceSide | SwappedSide }
  | { readonly kind: "only-second"; readonly second: DifferenceSide | SwappedSide }
  | {
      readonly kind: "changed";
      readonly first: DifferenceSide | SwappedSide;
      readonly second: DifferenceSide | SwappedSide;
      /** What of it differs: one at least. (Of what is swapped out, where it is.) */
      readonly frames: boolean;
      readonly rights: boolean;
      readonly pageSize: boolean;
    }
  /** It can't be told of one of them, or of both, whether they differ. */
  | { readonly kind: "unknown"; readonly first?: UnknownSide; readonly second?: UnknownSide }
);

/** Rows of a batch: 150 KiB of columns for each of the two. */
const ROWS = 4096;

const ONLY_FIRST = 1;
const ONLY_SECOND = 2;
const CHANGED = 4;
/** Beside `CHANGED`: what did. */
const FRAMES = 8;
const RIGHTS = 16;
const PAGE_SIZE = 32;
const UNKNOWN = 64;

/** One of two spaces: the run that the sweep is at, or the one behind it. */
class Side {
  readonly runs: RunColumns;
  readonly #io: PageTableIo;
  readonly #pass: RunPass;
  row = -1;
  /** First page of the run; infinite if there is no more. */
  from = -1;
  to = -1;

  constructor(io: PageTableIo, from: number, to: number, runs: RunColumns, visits: Visits) {
    const pages = (io.mmu.size[1] as number) / PAGE_BYTES;
    this.runs = runs;
    this.#io = io;
    this.#pass = new RunPass(io, Math.floor(from / pages), Math.ceil(to / pages), runs, visits);
  }

  /** Goes on to the first run that ends above `page`. */
  *seek(page: number): Routine<void> {
    while (this.to <= page) {
      this.row++;
      if (this.row >= this.runs.length) {
        if (!(yield* this.#pass.next())) {
          this.from = Number.POSITIVE_INFINITY;
          this.to = Number.POSITIVE_INFINITY;
          return;
        }
        this.row = 0;
      }
      this.from = firstPage(this.runs, this.row);
      this.to = this.from + pageCount(this.runs, this.row);
    }
  }

  get fault(): number {
    return this.runs.faults[this.row] as number;
  }

  /** `MAPPED`, `SWAPPED_OUT` or `UNKNOWN`. */
  get kind(): number {
    return kindOfRow(this.runs, this.row);
  }

  get rights(): number {
    return accessBits(this.runs.rights[this.row] as number);
  }

  get level(): number {
    return this.runs.levels[this.row] as number;
  }

  /** Physical address of a page of the run. */
  physicalAt(page: number): number {
    return (this.runs.physical[this.row] as number) + (page - this.from) * PAGE_BYTES;
  }

  /** The entry that the row says it of, as it was stored; 0 for none. */
  get #entry(): bigint {
    const { entryWords, mmu } = this.runs;
    const lo = entryWords[2 * this.row] as number;
    return restoreEntry(mmu, joinAddress(lo, entryWords[2 * this.row + 1] as number));
  }

  /**
   * Whether both say the same of what is in neither's RAM, as far as they can say anything: a malformed entry, one that points
   * to the same missing table, a page in the same place of a swap area. (At the same
   * address of another memory, a table that is missing, or was not gone through, may be another one.)
   */
  saysAs(other: Side): boolean {
    if (this.fault !== other.fault || this.runs.mmu.name !== other.runs.mmu.name) return false;
    const [mine, theirs] = [this.#entry, other.#entry];
    if (mine === 0n) return false;
    if (mine !== theirs) return this.kind === SWAPPED_OUT && this.#isSameSlot(mine, other, theirs);
    return !this.#leadsOn || this.#io.physical === other.#io.physical;
  }

  /** Whether the row's entry points to a table: one that is missing, or that has been visited before. */
  get #leadsOn(): boolean {
    const { entryWords, mmu } = this.runs;
    const [lo, hi] = [entryWords[2 * this.row] as number, entryWords[2 * this.row + 1] as number];
    return faultState(this.fault) === "table-missing" || kindOf(mmu, this.level, lo, hi) === MISSING;
  }

  /** Whether entries that differ (in what the system has noted of the page) name one place. */
  #isSameSlot(mine: bigint, other: Side, theirs: bigint): boolean {
    const slot = this.runs.mmu.def.absentEntries?.describe(this.level, mine);
    const there = other.runs.mmu.def.absentEntries?.describe(other.level, theirs);
    if (slot?.offset === undefined || slot.type === undefined || slot.kind !== there?.kind) return false;
    return slot.type === there.type && slot.offset === there.offset;
  }
}

/** What one space has of the difference that grows. */
class Found {
  readonly #runs: RunColumns;
  #fault = 0;
  #rights = 0;
  #levels = 0;
  #physical = 0;
  /** Physical address behind it; -1 once it is not contiguous. */
  #next = 0;

  constructor(runs: RunColumns) {
    this.#runs = runs;
  }

  begin(side: Side, page: number, pages: number): void {
    this.#fault = side.fault;
    if (this.#fault !== 0) return;
    this.#rights = side.rights;
    this.#levels = 1 << side.level;
    this.#physical = side.physicalAt(page);
    this.#next = this.#physical + pages * PAGE_BYTES;
  }

  goesOnWith(side: Side): boolean {
    return this.#fault === side.fault && (this.#fault !== 0 || this.#rights === side.rights);
  }

  grow(side: Side, page: number, pages: number): void {
    if (this.#fault !== 0) return;
    this.#levels |= 1 << side.level;
    const physical = side.physicalAt(page);
    this.#next = this.#next === physical ? physical + pages * PAGE_BYTES : -1;
  }

  mapped(): DifferenceSide | SwappedSide {
    if (this.#fault !== 0) return { state: "swapped" };
    const found = { pageSizes: sizesOf(this.#runs.mmu, this.#levels), ...accessFields(this.#rights) };
    return this.#next < 0 ? found : { physical: this.#physical, ...found };
  }

  unknown(): UnknownSide | undefined {
    if (this.#fault === 0) return undefined;
    const { level, cause } = levelOf(this.#fault);
    const found = { state: faultState(this.#fault), level };
    return cause === undefined ? found : { ...found, cause };
  }
}

/** The difference that may still grow. */
class Growing {
  readonly #first: Found;
  readonly #second: Found;
  /** 0: none. */
  kind = 0;
  #from = 0;
  #to = 0;

  constructor(first: RunColumns, second: RunColumns) {
    this.#first = new Found(first);
    this.#second = new Found(second);
  }

  /** Whether pages from `page` on, which differ in this way, make it longer. */
  goesOn(kind: number, page: number, first: Side | undefined, second: Side | undefined): boolean {
    if (this.kind !== kind || this.#to !== page) return false;
    return first === undefined || this.#first.goesOnWith(first)
      ? second === undefined || this.#second.goesOnWith(second)
      : false;
  }

  add(
    goesOn: boolean,
    kind: number,
    page: number,
    end: number,
    first: Side | undefined,
    second: Side | undefined,
  ): void {
    if (!goesOn) this.#from = page;
    this.kind = kind;
    this.#to = end;
    const pages = end - page;
    if (goesOn) {
      if (first !== undefined) this.#first.grow(first, page, pages);
      if (second !== undefined) this.#second.grow(second, page, pages);
    } else {
      if (first !== undefined) this.#first.begin(first, page, pages);
      if (second !== undefined) this.#second.begin(second, page, pages);
    }
  }

  take(): MapDifference {
    const { kind } = this;
    const range = { start: pageAddress(this.#from), end: pageAddress(this.#to) };
    this.kind = 0;
    if (kind === ONLY_FIRST) return { ...range, kind: "only-first", first: this.#first.mapped() };
    if (kind === ONLY_SECOND) return { ...range, kind: "only-second", second: this.#second.mapped() };
    if ((kind & UNKNOWN) !== 0) {
      const first = (kind & ONLY_FIRST) === 0 ? undefined : this.#first.unknown();
      const second = (kind & ONLY_SECOND) === 0 ? undefined : this.#second.unknown();
      return {
        ...range,
        kind: "unknown",
        ...(first === undefined ? {} : { first }),
        ...(second === undefined ? {} : { second }),
      };
    }
    return {
      ...range,
      kind: "changed",
      first: this.#first.mapped(),
      second: this.#second.mapped(),
      frames: (kind & FRAMES) !== 0,
      rights: (kind & RIGHTS) !== 0,
      pageSize: (kind & PAGE_SIZE) !== 0,
    };
  }
}

/** How the pages from `page` on differ; 0 if they don't. */
function compare(page: number, first: Side | undefined, second: Side | undefined): number {
  const firstKind = first?.kind ?? MAPPED;
  const secondKind = second?.kind ?? MAPPED;
  if (first !== undefined && second !== undefined && first.fault !== 0 && first.saysAs(second)) return 0;
  if (firstKind === UNKNOWN_ROW || secondKind === UNKNOWN_ROW) {
    return (
      UNKNOWN | (firstKind === UNKNOWN_ROW ? ONLY_FIRST : 0) | (secondKind === UNKNOWN_ROW ? ONLY_SECOND : 0)
    );
  }
  if (first === undefined) return ONLY_SECOND;
  if (second === undefined) return ONLY_FIRST;
  if (firstKind !== MAPPED || secondKind !== MAPPED) return CHANGED | FRAMES;
  const size = (side: Side) => side.runs.pageSize(side.row);
  const changed =
    (first.physicalAt(page) === second.physicalAt(page) ? 0 : FRAMES) |
    (first.rights === second.rights ? 0 : RIGHTS) |
    (size(first) === size(second) ? 0 : PAGE_SIZE);
  return changed === 0 ? 0 : CHANGED | changed;
}

/** The routine of `diffMaps`. @param from First page of 4 KiB. @param to Last one, exclusive. */
export function* diffMapsRoutine(
  sink: Sink<MapDifference>,
  one: PageTableIo,
  other: PageTableIo,
  from: number,
  to: number,
): Routine<void> {
  const columns = [new RunColumns(one.mmu, ROWS), new RunColumns(other.mmu, ROWS)] as const;
  const growing = new Growing(...columns);
  const visits = [new Visits(), new Visits()] as const;
  for (const part of yield* differingParts(one, other, from, to)) {
    const first = new Side(one, part.from, part.to, columns[0], visits[0]);
    const second = new Side(other, part.from, part.to, columns[1], visits[1]);
    for (let page = part.from; ; ) {
      yield* first.seek(page);
      yield* second.seek(page);
      page = Math.max(page, Math.min(first.from, second.from));
      if (page >= part.to) break;
      const inFirst = first.from <= page ? first : undefined;
      const inSecond = second.from <= page ? second : undefined;
      const end = Math.min(
        part.to,
        inFirst === undefined ? first.from : first.to,
        inSecond === undefined ? second.from : second.to,
      );
      const kind = compare(page, inFirst, inSecond);
      // Of what can't be told, only that counts: what the other space has there is of no meaning.
      const [a, b] = (kind & UNKNOWN) === 0 ? [inFirst, inSecond] : brokenOnes(inFirst, inSecond);
      const goesOn = kind !== 0 && growing.goesOn(kind, page, a, b);
      if (growing.kind !== 0 && !goesOn) yield sink.emit(growing.take());
      if (kind !== 0) growing.add(goesOn, kind, page, end, a, b);
      page = end;
    }
  }
  if (growing.kind !== 0) yield sink.emit(growing.take());
}

function brokenOnes(first: Side | undefined, second: Side | undefined): (Side | undefined)[] {
  return [first, second].map((side) => (side?.kind === UNKNOWN_ROW ? side : undefined));
}

/** The parts of a range that two spaces don't share, in pages of 4 KiB: ascending, disjoint. */
function* differingParts(
  one: PageTableIo,
  other: PageTableIo,
  from: number,
  to: number,
): Routine<{ from: number; to: number }[]> {
  const parts: { from: number; to: number }[] = [];
  const spaces = [one, other];
  for (const { from: first, to: end, members } of yield* sharedParts(spaces)) {
    if (members.length === 2) continue;
    const pages = ((spaces[members[0] as number] as PageTableIo).mmu.size[1] as number) / PAGE_BYTES;
    const part = { from: Math.max(from, first * pages), to: Math.min(to, end * pages) };
    if (part.from < part.to) parts.push(part);
  }
  parts.sort((a, b) => a.from - b.from);
  const merged: { from: number; to: number }[] = [];
  for (const part of parts) {
    const last = merged[merged.length - 1];
    if (last !== undefined && part.from <= last.to) last.to = Math.max(last.to, part.to);
    else merged.push(part);
  }
  return merged;
}
