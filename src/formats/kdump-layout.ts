/** What `kdump.ts` has found out about a file, for the layer that reads its pages (`kdump-pages.ts`). */
import type { ExcludedReason } from "../io/index.js";
import type { PageBitmap } from "./bitmap.hot.js";
import type { CodecName, Decoder, PagesDecoder } from "./types.js";

/** `struct page_desc`: offset (i64), size (u32), flags (u32), page flags (u64). */
export const DESCRIPTOR_SIZE = 24;

/** How pages are compressed. */
export interface Codec {
  readonly name: CodecName;
  readonly decode: Decoder;
}

/** What the pages' layer has to know of the file. */
export interface KdumpLayout {
  /** Bytes of a page in this file. */
  readonly blockSize: number;
  /** File offset of the first page descriptor. */
  readonly descriptorsAt: number;
  /** Pages that have a descriptor; beyond its length there is no RAM. */
  readonly stored: PageBitmap;
  /** Pages that are RAM; `undefined` if the file can't tell. */
  readonly ram: PageBitmap | undefined;
  /** Pages from here on have no descriptor because the file ends before it. */
  readonly truncatedFrom: number;
  /** Why pages that are RAM were left out. */
  readonly reason: ExcludedReason;
  /** The codec of a page with these flags of its descriptor; `undefined` where there is none. */
  codec(flags: number): Codec | undefined;
  /** Decompresses many pages together. */
  readonly many: PagesDecoder | undefined;
}
