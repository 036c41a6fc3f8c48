/**
 * A swap area in a file: a partition's image, or a swap file as its file system has it. Pages are counted from the file's start,
 * so that the page-table entry's offset times the page size is the offset in the file. (The kernel counts the pages of a swap file
 * on a file system by the file, too: `struct swap_extent` maps them to the disk.)
 *
 * A page whose entry names this area may have a newer copy in RAM: in the swap cache, or compressed by zswap, which keeps pages
 * of an area in RAM until it is full. Neither can be told by the area.
 */
import {
  type BoundView,
  EXCLUDED_REASONS,
  type Fault,
  fault,
  faultState,
  Io,
  type PacketIo,
  READ_ONLY,
  type Routine,
  readPartial,
  type Scheduler,
} from "../../io/index.js";
import { schedulerOf } from "../../io/requests.js";
import { MAX_HEADER_BYTES, parseSwapHeader, SwapFileError, type SwapHeader } from "./swap-header.js";

/** The area has no such page, or none that holds a page of a process: its header, a bad page, beyond its last one. */
const NO_PAGE: Fault = fault("outside", "page", "format");
/** The area has the page, and the file ends before it. */
const CUT_OFF: Fault = fault("excluded", "file", "format", EXCLUDED_REASONS.indexOf("truncated"));

/** Options of {@link openSwapFile}. */
export interface SwapFileOptions {
  /** Bytes of the file. */
  readonly size: number;
  /** For messages. */
  readonly name: string;
  /** Bytes of the machine's pages, if they are known. */
  readonly pageSize?: number | undefined;
}

/**
 * Reads a swap area's header.
 *
 * @param file Takes offsets in bytes.
 * @throws {SwapFileError} for what is no swap area, or a damaged one.
 */
export function openSwapFile(file: PacketIo<number>, options: SwapFileOptions): Io<SwapFile> {
  return Io.of(schedulerOf(file), openRoutine, file, options);
}

function* openRoutine(file: PacketIo<number>, options: SwapFileOptions): Routine<SwapFile> {
  const { name, size, pageSize } = options;
  const length = Math.min(size, MAX_HEADER_BYTES);
  const { bytes, holes } = yield* readPartial(file, 0, length);
  const hole = holes[0];
  if (hole !== undefined) {
    const problem = `its header could not be read (${faultState(hole.fault)} at ${hole.start})`;
    throw new SwapFileError("UNREADABLE_SWAP_AREA", name, problem, faultState(hole.fault));
  }
  return new SwapFile(file, options, parseSwapHeader(name, bytes, pageSize));
}

/** A swap area as a layer over its file: parameters are its bytes, of which those of its pages can be read. */
export class SwapFile implements PacketIo<number> {
  readonly name: string;
  readonly header: SwapHeader;
  readonly scheduler: Scheduler;
  readonly #file: PacketIo<number>;
  /** Bytes of the file. */
  readonly #size: number;

  /** Use {@link openSwapFile}. @internal */
  constructor(file: PacketIo<number>, { name, size }: SwapFileOptions, header: SwapHeader) {
    this.#file = file;
    this.#size = size;
    this.name = name;
    this.header = header;
    this.scheduler = schedulerOf(file);
  }

  /** Bytes of pages that the header promises and the file does not have. */
  get bytesCutOff(): number {
    return Math.max(0, (this.header.lastPage + 1) * this.header.pageSize - this.#size);
  }

  /** Splits the view at bad pages, which can be at most 16,000 times. */
  sendIo(offset: number, view: BoundView): void {
    if (view.direction !== "read") return view.fail(READ_ONLY);
    if (!(offset >= 0 && Number.isSafeInteger(offset))) return view.fail(NO_PAGE);
    let at = offset;
    let rest: BoundView | undefined = view;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const { end, reason } = this.#stretchAt(at);
      const room = end - at;
      rest = room < piece.length ? piece.split(room) : undefined;
      const length = piece.length;
      if (reason === 0) this.#file.sendIo(at, piece);
      else piece.fail(reason);
      at += length;
    }
  }

  /** How far what is at an offset goes, and why it can't be read (0: it can). */
  #stretchAt(at: number): { end: number; reason: Fault } {
    const { pageSize, lastPage, badPages } = this.header;
    const page = Math.floor(at / pageSize);
    if (page === 0) return { end: pageSize, reason: NO_PAGE };
    if (page > lastPage) return { end: Number.POSITIVE_INFINITY, reason: NO_PAGE };
    const next = lowerBound(badPages, page);
    const bad = badPages[next];
    if (bad === page) return { end: (page + 1) * pageSize, reason: NO_PAGE };
    const end = (bad === undefined ? lastPage + 1 : bad) * pageSize;
    if (at >= this.#size) return { end, reason: CUT_OFF };
    return { end: Math.min(end, this.#size), reason: 0 };
  }
}

/** Index of the first that is not below `value`. */
function lowerBound(ascending: Uint32Array, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
