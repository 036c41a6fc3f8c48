/** Where the compressed chunks of a file lie and what they decompress to, for `chunk-io.ts`. */
import type { Fault, Routine } from "../../io/index.js";
import { firstEndingAfter } from "../../io/ranges.js";

/**
 * Chunks that decompress to one stretch of bytes, without gaps: columns. Positions count decompressed bytes, of the whole
 * file.
 */
export interface ChunkTable {
  /** Position of the first chunk's first byte. */
  readonly start: number;
  /** Position behind each chunk's last byte, ascending. */
  readonly ends: Float64Array;
  /** File offset of each chunk. */
  readonly offsets: Float64Array;
  /** Bytes of each chunk in the file. */
  readonly sizes: Uint32Array;
  /** Why there is nothing at positions behind the last chunk. */
  readonly fault: Fault;
}

/** A file's chunks, in groups of which each has a table of its own, so that it may be read when it is first needed. */
export interface ChunkGroups {
  /** For messages: the format. */
  readonly name: string;
  /** Number of the group that holds a position, which is one that some group holds. */
  groupAt(position: number): number;
  /** Position behind the group's last byte. */
  endOf(group: number): number;
  /** The group's chunks. @throws only if the file can't be read: damage is in the table. */
  load(group: number): Routine<ChunkTable>;
  /**
   * Decompresses a chunk.
   *
   * @param stored All bytes of it in the file; valid only during the call.
   * @param length What the table says that it decompresses to.
   * @returns      That many bytes, fresh; another number of them is refused.
   * @throws       anything for what does not decompress, or has another sum than it says.
   */
  decode(stored: Uint8Array, length: number): Uint8Array;
}

/** Growing columns of a table. */
export class ChunkTableBuilder {
  readonly start: number;
  #ends = new Float64Array(64);
  #offsets = new Float64Array(64);
  #sizes = new Uint32Array(64);
  length = 0;

  /** @param start Position of the first chunk. */
  constructor(start: number) {
    this.start = start;
  }

  /** Position behind the last chunk. */
  get end(): number {
    return this.length === 0 ? this.start : (this.#ends[this.length - 1] as number);
  }

  /** Adds a chunk. @param length What it decompresses to: at least a byte. @param size Bytes of it in the file. */
  push(length: number, offset: number, size: number): void {
    if (this.length === this.#ends.length) {
      const capacity = 2 * this.length;
      const ends = new Float64Array(capacity);
      const offsets = new Float64Array(capacity);
      const sizes = new Uint32Array(capacity);
      ends.set(this.#ends);
      offsets.set(this.#offsets);
      sizes.set(this.#sizes);
      this.#ends = ends;
      this.#offsets = offsets;
      this.#sizes = sizes;
    }
    const end = this.end + length;
    this.#ends[this.length] = end;
    this.#offsets[this.length] = offset;
    this.#sizes[this.length] = size;
    this.length++;
  }

  /** The table of the first `count` chunks. */
  build(fault: Fault, count = this.length): ChunkTable {
    return {
      start: this.start,
      ends: this.#ends.slice(0, count),
      offsets: this.#offsets.slice(0, count),
      sizes: this.#sizes.slice(0, count),
      fault,
    };
  }
}

/** The chunk that holds a position, which is not below the table's start; the number of chunks if none does. */
export function chunkAt({ ends }: ChunkTable, position: number): number {
  return firstEndingAfter(ends, position);
}
