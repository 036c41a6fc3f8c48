import { decompressLzo1x } from "../src/codecs/lzo1x.js";
import { decompressSnappy } from "../src/codecs/snappy.js";
import type { Decoders } from "../src/formats/index.js";
import { inflateZlib } from "./deflate-streams.js";
import { hostWasm } from "./host-wasm.js";
import { zstd } from "./zstd.js";

/**
 * The codecs of dumps on Node. Each gives a fresh array: what it gave before stays as it is.
 *
 * LZO and snappy are our own; zlib is Node's (see `deflate-streams.ts`); for zstd see `zstd.ts`. Output beyond the page's size is refused before it is allocated.
 *
 * Not fflate or pako: they took 2 and 4 times as long, and fflate checks no Adler-32 (of 3,000 pages with one bit
 * flipped, it gave 1,847 wrong ones without an error; zlib none).
 *
 * Of the 8 µs that a page of the fixture takes here, inflating is 3 to 4: the rest is the stream object that each call
 * makes and closes (whose memory also makes V8 collect garbage). No public call of Node's inflates at once with one that is
 * there already, and a decoder of our own in JavaScript took 18 µs, 4 of them for the tables of the codes alone.
 */
export const nodeDecoders: Decoders = {
  inflate: inflateZlib,
  lzo: decompressLzo1x,
  snappy: decompressSnappy,
  zstd: hostWasm === undefined ? undefined : (input, outputLength) => zstd().decompress(input, outputLength),
};
