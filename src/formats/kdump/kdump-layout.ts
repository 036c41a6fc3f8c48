/** What `kdump.ts` has found out about a dump, for the layer that reads its pages (`kdump-pages.ts`) and for its map. */
import type { ExcludedReason } from "../../io/index.js";
import { firstEndingAfter } from "../../io/ranges.js";
import type { PageBitmap } from "../bitmap.hot.js";
import type { CodecName, Decoder, DumpFile, PagesDecoder } from "../types.js";

/** How pages are compressed. */
export interface Codec {
  readonly name: CodecName;
  readonly decode: Decoder;
}

/** A file of the dump: the only one, or one of those that it was split into. */
export interface KdumpPart {
  readonly file: DumpFile;
  /** Pages that are read from it: from `start` to `end` (exclusive). */
  readonly start: number;
  readonly end: number;
  /** File offset of its first page descriptor. */
  readonly descriptorsAt: number;
  /** File offset behind the last of them, where pages' bytes begin. */
  readonly bodiesAt: number;
  /** Rank, among `stored` pages, of the one that its first descriptor is of. */
  readonly firstRank: number;
  /** Descriptors that lie in the file. */
  readonly described: number;
  /** Pages from here on, up to `end`, have no descriptor, because the file ends before it. */
  readonly describedEnd: number;
  /** Why pages that it should hold are not there: it was cut, or whoever wrote it ran out of space. */
  readonly lack: ExcludedReason;
}

/** The files of a dump, by page. */
export class KdumpParts {
  /** Ascending and disjoint; at least one. */
  readonly list: readonly KdumpPart[];
  readonly #ends: Float64Array;
  #last: KdumpPart;

  /** @param list Ascending and disjoint; at least one. */
  constructor(list: readonly KdumpPart[]) {
    this.list = list;
    this.#ends = Float64Array.from(list, ({ end }) => end);
    this.#last = list[0] as KdumpPart;
  }

  /** The file that a page is read from, for pages that are `stored`. */
  of(pfn: number): KdumpPart {
    const last = this.#last;
    if (pfn >= last.start && pfn < last.end) return last;
    const part = this.list[firstEndingAfter(this.#ends, pfn)] ?? last;
    this.#last = part;
    return part;
  }
}

/** What the pages' layer has to know of the dump. Pages count from `base`. */
export interface KdumpLayout {
  /** Bytes of a page in the files. */
  readonly blockSize: number;
  /** Physical address of page 0, a multiple of the block size. */
  readonly base: number;
  /** Byte order of page descriptors. */
  readonly littleEndian: boolean;
  readonly parts: KdumpParts;
  /** Pages that have a descriptor in the files that are here; beyond its length there is no RAM. */
  readonly stored: PageBitmap;
  /** The same in all files that the dump was split into; `undefined` if all are here. */
  readonly anywhere: PageBitmap | undefined;
  /** Pages that are RAM; `undefined` if the files can't tell. */
  readonly ram: PageBitmap | undefined;
  /** Why pages that are RAM were left out. */
  readonly reason: ExcludedReason;
  /** The codec of a page with these flags of its descriptor; `undefined` where there is none. */
  codec(flags: number): Codec | undefined;
  /** Decompresses many pages together. */
  readonly many: PagesDecoder | undefined;
}

/** Why a page that has no bytes here is missing; `undefined`: there is no RAM. */
export function whyMissing(layout: KdumpLayout, pfn: number): ExcludedReason | undefined {
  const { stored, anywhere, ram } = layout;
  if (!(pfn >= 0 && pfn < stored.length)) return undefined;
  if (stored.has(pfn)) return layout.parts.of(pfn).lack;
  if (anywhere?.has(pfn) === true) return "other file";
  return ram === undefined || ram.has(pfn) ? layout.reason : undefined;
}

/** Where pages end that miss for the same reason as `pfn`, or sooner; looks no further than `limit`. */
export function missingEnd(layout: KdumpLayout, pfn: number, limit: number): number {
  const { stored, anywhere, ram } = layout;
  if (!(pfn < stored.length)) return Number.POSITIVE_INFINITY;
  let end = stored.runEnd(pfn, limit);
  if (stored.has(pfn)) return Math.min(end, layout.parts.of(pfn).end);
  if (anywhere !== undefined) end = anywhere.runEnd(pfn, end);
  return ram === undefined ? end : ram.runEnd(pfn, end);
}
