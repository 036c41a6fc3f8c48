/**
 * RAM of a migration stream by physical address: which RAM block, which copy of the page, where in the file.
 *
 * A layer like others. Pages that are stored as they are go straight to the file, so nothing is copied; zeros are answered
 * at once; compressed pages and deltas are made by `qemu-ram-decoding.ts`.
 */
import {
  type BoundView,
  type ExcludedReason,
  type Fault,
  type PacketIo,
  READ_ONLY,
  type Scheduler,
} from "../../io/index.js";
import { type PhysicalMap, PhysicalMapBuilder } from "../../memory/physical-map.js";
import { AT_ZERO, answerZeros, excluded, type Intervals, NO_MEMORY } from "../pieces.js";
import type { DumpFile } from "../types.js";
import type { SpecialPageReader } from "./qemu-ram-decoding.js";
import { specialRow } from "./qemu-ram-log.js";

/** Where RAM is. */
export interface RamLayout {
  /** Physical addresses, ascending and disjoint; targets are bytes of RAM, its blocks one after another. */
  readonly places: Intervals;
  /** Where each page of RAM is: ascending, disjoint, in units of `stride`; see `qemu-ram-log.ts`. */
  readonly pages: Intervals;
  readonly stride: number;
  readonly pageSize: number;
  /** Why pages are missing. */
  readonly reason: ExcludedReason;
}

/** See the module's comment. */
export class RamIo implements PacketIo<number> {
  readonly #file: DumpFile;
  readonly #layout: RamLayout;
  readonly #specials: SpecialPageReader;
  readonly #missing: Fault;

  constructor(file: DumpFile, layout: RamLayout, specials: SpecialPageReader) {
    this.#file = file;
    this.#layout = layout;
    this.#specials = specials;
    this.#missing = excluded(layout.reason);
  }

  get scheduler(): Scheduler | undefined {
    return this.#file.scheduler;
  }

  sendIo(address: number, view: BoundView): void {
    if (view.direction !== "read") return view.fail(READ_ONLY);
    const { starts, ends, targets, length } = this.#layout.places;
    let at = address;
    let rest: BoundView | undefined = view;
    for (let i = this.#layout.places.indexAfter(at); rest !== undefined; ) {
      const piece: BoundView = rest;
      const start = i < length ? (starts[i] as number) : Number.POSITIVE_INFINITY;
      const inside = start <= at;
      const room = (inside ? (ends[i] as number) : start) - at;
      rest = piece.length > room ? piece.split(room) : undefined;
      const moved = piece.length;
      if (inside) this.#read((targets[i++] as number) + (at - start), piece);
      else piece.fail(NO_MEMORY);
      at += moved;
    }
  }

  /** Answers a view of bytes of RAM. */
  #read(from: number, view: BoundView): void {
    const { pages, stride, pageSize } = this.#layout;
    const { starts, ends, targets, length } = pages;
    let page = Math.floor(from / pageSize);
    let offset = from - page * pageSize;
    let rest: BoundView | undefined = view;
    let i = pages.indexAfter(page * stride);
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const unit = page * stride;
      if (i < length && (ends[i] as number) <= unit) i++;
      const start = i < length ? (starts[i] as number) : Number.POSITIVE_INFINITY;
      const here = start <= unit;
      const target = here ? (targets[i] as number) : 0;
      // Pages up to here are answered alike, in one go where they are not apart in the file.
      const alike = ((here ? (ends[i] as number) : start) - unit) / stride;
      const apart = here && target !== AT_ZERO && !(target >= 0 && stride === pageSize);
      const count = apart ? 1 : alike;
      const room = count * pageSize - offset;
      rest = piece.length > room ? piece.split(room) : undefined;
      const row = here ? specialRow(target) : -1;
      if (!here) piece.fail(this.#missing);
      else if (target >= 0) this.#file.sendIo(target + unit - start + offset, piece);
      else if (row >= 0) this.#specials.read(row, page, offset, piece);
      else answerZeros(piece);
      page += count;
      offset = 0;
    }
  }
}

/** What of RAM is there, by physical address. @param zeros Tells pages of zeros apart. */
export function mapOfRam(
  { places, pages, stride, pageSize, reason }: RamLayout,
  zeros: boolean,
): PhysicalMap {
  const map = new PhysicalMapBuilder();
  for (let k = 0; k < places.length; k++) {
    const from = places.targets[k] as number;
    const shift = (places.starts[k] as number) - from;
    const to = (places.ends[k] as number) - shift;
    let at = from;
    for (let i = pages.indexAfter(Math.floor(from / pageSize) * stride); at < to; i++) {
      const start = i < pages.length ? Math.min(((pages.starts[i] as number) / stride) * pageSize, to) : to;
      if (start > at) map.push(at + shift, start + shift, "excluded", reason);
      at = Math.max(at, start);
      if (i >= pages.length || start >= to) break;
      const end = Math.min(((pages.ends[i] as number) / stride) * pageSize, to);
      map.push(at + shift, end + shift, "present", undefined, zeros && pages.targets[i] === AT_ZERO);
      at = end;
    }
  }
  return map.build();
}
