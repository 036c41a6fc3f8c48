/**
 * Raw memory images: bytes without a header. Physical address = file offset, or as a map that is given says.
 *
 * QEMU's `memory-backend-file` stores RAM without the PCI hole below 4 GiB, and LiME's raw format stores the ranges of
 * System RAM one after the other: neither says so in the file, so the map comes from whoever opens it.
 */
import { HIGH } from "../../io/address.js";
import { type Column, type ColumnIo, sendColumn, sendRecords } from "../../io/column.js";
import {
  type Address,
  type BoundView,
  defaultScheduler,
  Io,
  type PacketIo,
  type Routine,
  type Scheduler,
} from "../../io/index.js";
import { PhysicalMap } from "../../memory/physical-map.js";
import { Warnings } from "../errors.js";
import { AT_TRUNCATED, Intervals, layIntervals, mapOfPieces, NO_MEMORY, PieceIo } from "../pieces.js";
import type { DumpFile, DumpImage, Format, FormatContext, RawRange } from "../types.js";
import { bytesCovered } from "./raw-map.js";
import { type ZeroRanges, zeroMap } from "./raw-zeros.js";

/** What is opened when nothing else is recognised. */
export const raw: Format = { name: "raw", takesMap: true, detect: () => true, open: openRaw };

// biome-ignore lint/correctness/useYield: a raw image has no headers to wait for.
export function* openRaw(file: DumpFile, context?: FormatContext): Routine<DumpImage> {
  const ranges = context?.memoryMap;
  if (ranges !== undefined) return openMapped(file, ranges);
  const pieces = new Intervals();
  pieces.push(0, file.size, 0);
  return {
    format: "raw",
    description: "raw memory image (physical address = file offset)",
    io: new RawIo(file),
    map: PhysicalMap.single(0, file.size),
    ...zerosOf(file, pieces),
    notes: { cpus: [] },
    warnings: [],
    details: { bytes: file.size },
  };
}

function openMapped(file: DumpFile, ranges: readonly RawRange[]): DumpImage {
  const warnings = new Warnings();
  const pieces = piecesOf(file, ranges, warnings);
  const count = ranges.length === 1 ? "1 range" : `${ranges.length} ranges`;
  return {
    format: "raw",
    description: `raw memory image (${count} by the memory map that was given)`,
    io: new PieceIo(file, pieces, NO_MEMORY),
    map: mapOfPieces(pieces),
    ...zerosOf(file, pieces),
    notes: { cpus: [] },
    warnings: warnings.list(),
    details: { bytes: file.size, mapRanges: ranges.length },
  };
}

/** Where each address is in the file. What the map puts beyond its end is left out as truncated. */
function piecesOf(file: DumpFile, ranges: readonly RawRange[], warnings: Warnings): Intervals {
  const pieces = new Intervals();
  let missing = 0;
  for (const { start, end, offset } of ranges) {
    const there = Math.min(end - start, Math.max(0, file.size - offset));
    if (there > 0) pieces.push(start, start + there, offset);
    if (start + there < end) pieces.push(start + there, end, AT_TRUNCATED);
    missing += end - start - there;
  }
  if (missing > 0) {
    warnings.add(
      `the memory map reaches beyond the end of the file: ${missing} bytes of it are missing (the file has ` +
        `${file.size}); the file is cut short, or the map is another machine's`,
    );
  }
  const unused = file.size - bytesCovered(ranges, file.size);
  if (unused > 0) {
    warnings.add(
      `${unused} bytes of the file are in no range of the memory map, and can't be read through it`,
    );
  }
  return layIntervals(pieces, "first");
}

/** `mapWithZeros` of an image, where the file tells of its holes. */
function zerosOf(file: DumpFile, pieces: Intervals): Pick<DumpImage, "mapWithZeros"> {
  const { zeroRanges } = file;
  if (zeroRanges === undefined) return {};
  const scheduler = file.scheduler ?? defaultScheduler;
  return { mapWithZeros: () => Io.of(scheduler, readZeros, pieces, zeroRanges) };
}

// biome-ignore lint/correctness/useYield: the file system answers at once.
function* readZeros(pieces: Intervals, zeroRanges: () => ZeroRanges): Routine<PhysicalMap> {
  return zeroMap(pieces, zeroRanges());
}

/** The file, with what lies beyond its end `outside`. */
class RawIo implements PacketIo<number>, ColumnIo {
  readonly #file: DumpFile;

  constructor(file: DumpFile) {
    this.#file = file;
  }

  get scheduler(): Scheduler | undefined {
    return this.#file.scheduler;
  }

  sendIo(address: number, view: BoundView): void {
    const room = this.#file.size - address;
    if (!(address >= 0 && room > 0)) return view.fail(NO_MEMORY);
    if (view.length > room) view.split(room).fail(NO_MEMORY);
    this.#file.sendIo(address, view);
  }

  sendColumn(column: Column, from: number, view: BoundView): void {
    const { words, size } = column;
    const last = this.#file.size - size;
    const until = 2 * (from + view.length / size);
    for (let i = 2 * from; i < until; i += 2) {
      if ((words[i + 1] as number) * HIGH + (words[i] as number) > last) {
        sendRecords(this as PacketIo<Address>, column, from, view);
        return;
      }
    }
    sendColumn(this.#file, column, from, view);
  }
}
