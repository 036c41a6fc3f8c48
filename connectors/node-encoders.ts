import { deflateSync } from "node:zlib";
import type { Encoders } from "../src/formats/index.js";

/** Z_BEST_SPEED, as makedumpfile has it (`write_kdump_pages_cyclic`). */
const LEVEL = 1;
/** So that what a page compresses to is in one piece, which zlib need not put together. */
const CHUNK = 64 * 1024;

/** The codecs that dumps are written with on Node: zlib. */
export const nodeEncoders: Encoders = {
  deflate: (page) => deflateSync(page, { level: LEVEL, chunkSize: Math.min(CHUNK, page.length + 64) }),
};
