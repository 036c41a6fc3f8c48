import { inflateSync } from "node:zlib";
import type { Decoders } from "../src/formats/index.js";

/** The codecs that Node brings: zlib. Output beyond the page's size is refused before it is allocated. */
export const nodeDecoders: Decoders = {
  // A chunk that the page does not fill: zlib then sees its end at once, without a second chunk to look for more.
  inflate: (input, outputLength) =>
    inflateSync(input, { maxOutputLength: outputLength, chunkSize: outputLength + 1 }),
};
