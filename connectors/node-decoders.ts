import { inflateSync } from "node:zlib";
import type { Decoders } from "../src/formats/index.js";

/** The codecs that Node brings: zlib. Output beyond the page's size is refused before it is allocated. */
export const nodeDecoders: Decoders = {
  inflate: (input, outputLength) => inflateSync(input, { maxOutputLength: outputLength }),
};
