/** Pages of Windows crash dumps that lie in runs, one behind the other, with nothing in between. */
import { hex, type PacketIo } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import type { Warnings } from "../errors.js";
import { AT_TRUNCATED, Intervals, layIntervals, mapOfPieces, NO_MEMORY, PieceIo } from "../pieces.js";
import type { DumpFile } from "../types.js";
import { WINDOWS_PAGE } from "./windows-header.js";

/** What a dump's pages are read by. */
export interface WindowsMemory {
  readonly io: PacketIo<number>;
  readonly map: () => PhysicalMap;
  /** Pages that the dump has, or should. */
  readonly pages: number;
  /** File offset at which they end. */
  readonly dataEnd: number;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** Pages that lie one run after the other. */
export class RunPieces {
  readonly #file: DumpFile;
  readonly #pieces = new Intervals();
  pages = 0;
  /** File offset behind the last one. */
  at: number;
  /** Physical memory that lies beyond the end of the file, in bytes. */
  missing = 0;
  #lastEnd = 0;
  disordered = false;

  constructor(file: DumpFile, at: number) {
    this.#file = file;
    this.at = at;
  }

  add(basePage: number, pageCount: number): void {
    const start = basePage * WINDOWS_PAGE;
    const size = pageCount * WINDOWS_PAGE;
    const inFile = Math.max(0, Math.min(size, this.#file.size - this.at));
    if (inFile > 0) this.#pieces.push(start, start + inFile, this.at);
    if (inFile < size) this.#pieces.push(start + inFile, start + size, AT_TRUNCATED);
    if (start < this.#lastEnd) this.disordered = true;
    this.#lastEnd = start + size;
    this.missing += size - inFile;
    this.pages += pageCount;
    // 43 runs of 2^52 bytes and 4,000,000 ranges of pages can add up to more than a double counts; all beyond the file.
    this.at = Math.min(this.at + size, Number.MAX_SAFE_INTEGER);
  }

  /** @param what They are called in warnings: `run` or `range`. */
  done(what: string, warnings: Warnings): WindowsMemory {
    if (this.missing > 0) {
      warnings.add(
        `the file ends at ${hex(this.#file.size)}, before the last page: ${this.missing} bytes of physical memory are ` +
          "missing; copy the dump again",
      );
    }
    if (this.disordered) {
      warnings.add(
        `${what}s of pages are out of order or overlap, as Windows does not write them: of pages that are there twice, ` +
          "the first is read",
      );
    }
    const pieces = layIntervals(this.#pieces, "first");
    let map: PhysicalMap | undefined;
    return {
      io: new PieceIo(this.#file, pieces, NO_MEMORY),
      map: () => {
        map ??= mapOfPieces(pieces);
        return map;
      },
      pages: this.pages,
      dataEnd: this.at,
      details: { pages: this.pages },
    };
  }
}
