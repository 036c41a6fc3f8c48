/** The bytes of a cached file: a space whose addresses are places in the file, each led to where its byte is. */
import {
  type BoundView,
  type Fault,
  fault,
  type Io,
  OUTSIDE,
  type PacketIo,
  READ_ONLY,
  type Scheduler,
} from "../../io/index.js";
import type { PartialTransfer } from "../../io/requests.js";
import { AddressSpace } from "../../memory/index.js";
import type { SwapAreas } from "../../paging/index.js";
import type { LinuxKernel } from "../kernel.js";
import type { CachedContent, CachedFile, FileRange } from "./cached-file.js";

/** Where bytes of a file are. `zeros`: nowhere, as files in memory have none for them. */
export type FilePart = FileRange &
  (
    | { readonly kind: "memory"; readonly physical: number }
    | { readonly kind: "swap"; readonly area: number; readonly offset: number }
    | { readonly kind: "zeros" }
    | { readonly kind: "missing"; readonly why: "not cached" | "not up to date" | "storage" | "unknown" }
  );

/** The page is on the disk only; or is in memory, and does not hold what its file does. */
const STALE: Fault = fault("not-present", "page", "memory");
const NOT_CACHED: Fault = fault("not-present", "file", "memory");
const SWAPPED: Fault = fault("swapped", "page", "memory");

/**
 * All of a file from its first byte to its size, in parts: ascending, without gaps. (Of a file whose size is not known, up to its last
 * page.)
 */
export function fileParts(file: CachedContent): FilePart[] {
  const known: FilePart[] = [];
  for (const run of file.runs) {
    const { start, end, physical } = run;
    if (run.uptodate) known.push({ start, end, kind: "memory", physical });
    // (tmpfs clears such a page before it is read.)
    else if (file.inMemory) known.push({ start, end, kind: "zeros" });
    else known.push({ start, end, kind: "missing", why: "not up to date" });
  }
  for (const run of file.swapped) known.push({ ...run, kind: "swap" });
  known.sort((a, b) => a.start - b.start);
  const parts: FilePart[] = [];
  let at = 0;
  const gap = (end: number) => {
    if (end <= at) return;
    if (file.inMemory && file.whole) parts.push({ start: at, end, kind: "zeros" });
    else parts.push({ start: at, end, kind: "missing", why: file.dax > 0 ? "storage" : whyOf(file) });
  };
  for (const part of known) {
    // What overlaps is a lie: the first counts, and of the other what is behind it.
    const rest = behind(part, at);
    if (rest === undefined) continue;
    gap(rest.start);
    parts.push(rest);
    at = rest.end;
  }
  gap(file.size ?? at);
  return parts;
}

/** What of a part lies from an offset on. */
function behind(part: FilePart, at: number): FilePart | undefined {
  if (part.start >= at) return part;
  if (part.end <= at) return undefined;
  const ahead = at - part.start;
  if (part.kind === "memory") return { ...part, start: at, physical: part.physical + ahead };
  if (part.kind === "swap") return { ...part, start: at, offset: part.offset + ahead };
  return { ...part, start: at };
}

function whyOf({ whole }: CachedContent): "not cached" | "unknown" {
  return whole ? "not cached" : "unknown";
}

/**
 * The space of a file's bytes: what is not in memory is a hole. Reads go to physical memory, and to swap areas where those are given.
 *
 * @example
 * const text = await cachedFileMemory(linux, file).read(0, file.size);
 */
export function cachedFileMemory(kernel: LinuxKernel, file: CachedFile): AddressSpace<number> {
  return partsMemory(kernel, fileParts(file), file.path ?? `inode ${file.inode ?? "?"}`);
}

/** The space of a file of these parts. @internal */
export function partsMemory(
  kernel: LinuxKernel,
  parts: readonly FilePart[],
  name: string,
): AddressSpace<number> {
  return new AddressSpace<number>(new FileIo(kernel, parts), {
    name,
    addressBits: 53,
    pointerSize: kernel.memory.pointerSize,
    littleEndian: kernel.memory.littleEndian,
  });
}

/**
 * Reads bytes of a file: those that are there, and where the others would be.
 *
 * @param start Of the first byte in the file.
 * @param length That many bytes are allocated: a file's size may be any number.
 */
export function readCachedFile(
  kernel: LinuxKernel,
  file: CachedFile,
  start: number,
  length: number,
): Io<PartialTransfer> {
  return cachedFileMemory(kernel, file).readPartial(start, length);
}

/** The layer. */
class FileIo implements PacketIo<number> {
  readonly scheduler: Scheduler;
  readonly #kernel: LinuxKernel;
  readonly #parts: readonly FilePart[];
  readonly #areas: SwapAreas | undefined;

  constructor(kernel: LinuxKernel, parts: readonly FilePart[]) {
    this.#kernel = kernel;
    this.#parts = parts;
    this.scheduler = kernel.memory.scheduler;
    // (The kernel's own space has no swapped pages; those of processes are told where areas are.)
    const hasSwapped = parts.some(({ kind }) => kind === "swap");
    this.#areas = hasSwapped ? kernel.addressSpace(kernel.root).swap : undefined;
  }

  sendIo(offset: number, view: BoundView): void {
    if (view.direction !== "read") {
      view.fail(READ_ONLY);
      return;
    }
    let at = offset;
    let i = this.#indexAt(offset);
    let rest: BoundView | undefined = view;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const part = this.#parts[i++];
      const room = part === undefined ? piece.length : part.end - at;
      rest = room < piece.length ? piece.split(room) : undefined;
      const { length } = piece;
      if (part === undefined) piece.fail(OUTSIDE);
      else this.#send(part, at - part.start, piece);
      at += length;
    }
  }

  #send(part: FilePart, behind: number, piece: BoundView): void {
    if (part.kind === "memory") {
      this.#kernel.memory.physical.sendIo(part.physical + behind, piece);
    } else if (part.kind === "zeros") {
      piece.transfer(new Uint8Array(piece.length));
    } else if (part.kind === "swap") {
      const area = this.#areas?.(part.area);
      if (area === undefined) piece.fail(SWAPPED);
      else area.sendIo(part.offset + behind, piece);
    } else {
      piece.fail(part.why === "not up to date" ? STALE : NOT_CACHED);
    }
  }

  /** Index of the part that holds an offset. Parts have no gaps. */
  #indexAt(offset: number): number {
    let low = 0;
    let high = this.#parts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#parts[middle] as FilePart).end > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
