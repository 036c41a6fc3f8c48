/**
 * A guest of any size, made of the shipped dump: its pages that are there, one after another, again and again, laid out
 * as QEMU's `pc` machine does (what does not fit below 3 GiB is at 4 GiB). So nothing but some 60 MiB is kept, and what
 * must be at an address is known without a dump.
 */
import { fixture } from "../fixture.js";

export const PAGE = 4096;
const GIB = 2 ** 30;
const MIB = 2 ** 20;

/** Physical addresses (`end` exclusive) and the byte of RAM that is at `start`. */
export interface GuestRange {
  readonly start: number;
  readonly end: number;
  readonly from: number;
}

/** See the module's comment. */
export class Guest {
  /** Bytes of RAM. */
  readonly bytes: number;
  readonly ranges: readonly GuestRange[];
  /** What RAM repeats: whole MiB. */
  readonly tile: Uint8Array;
  /** The first word of each of the tile's pages. */
  readonly #words: Uint32Array;

  /** @param gib Whole GiB. */
  constructor(gib: number, tile: Uint8Array) {
    this.bytes = gib * GIB;
    this.tile = tile;
    this.#words = new Uint32Array(tile.buffer, tile.byteOffset, tile.length / 4);
    this.ranges =
      gib < 4
        ? [{ start: 0, end: this.bytes, from: 0 }]
        : [
            { start: 0, end: 3 * GIB, from: 0 },
            { start: 4 * GIB, end: this.bytes + GIB, from: 3 * GIB },
          ];
  }

  /** The end of its physical memory. */
  get end(): number {
    return (this.ranges[this.ranges.length - 1] as GuestRange).end;
  }

  /** Physical address of a byte of RAM. */
  addressOf(byte: number): number {
    const { start, from } = this.ranges.findLast((range) => range.from <= byte) as GuestRange;
    return start + byte - from;
  }

  /** The word at a byte of RAM. */
  wordAt(byte: number): number {
    return this.#words[(byte % this.tile.length) / 4] as number;
  }

  /** The bytes of RAM from one to another, in pieces that lie in the tile. */
  *pieces(from: number, to: number): Generator<Uint8Array> {
    for (let at = from; at < to; ) {
      const start = at % this.tile.length;
      const piece = this.tile.subarray(start, Math.min(this.tile.length, start + to - at));
      yield piece;
      at += piece.length;
    }
  }

  /** What is made of each `size` bytes of the tile, once: `size` divides a MiB. */
  chunks<T>(size: number, make: (bytes: Uint8Array) => T): (byte: number) => T {
    const made: T[] = [];
    return (byte) => {
      const at = byte % this.tile.length;
      made[at / size] ??= make(this.tile.subarray(at, at + size));
      return made[at / size] as T;
    };
  }
}

/** A guest of so many GiB. */
export async function guestOf(gib: number): Promise<Guest> {
  const { ram, present } = await fixture();
  const count = present.reduce((sum, each) => sum + each, 0);
  const tile = new Uint8Array(Math.floor((count * PAGE) / MIB) * MIB);
  let at = 0;
  for (let page = 0; page < present.length && at < tile.length; page++) {
    if (present[page] === 0) continue;
    tile.set(ram.subarray(page * PAGE, (page + 1) * PAGE), at);
    at += PAGE;
  }
  return new Guest(gib, tile);
}
