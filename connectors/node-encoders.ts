import { deflateSync } from "node:zlib";
import type { Encoders } from "../src/formats/index.js";
import { hostWasm } from "./host-wasm.js";
import { zstd } from "./zstd.js";

/** Z_BEST_SPEED, and the level for zstd that makedumpfile has too (`write_kdump_pages_cyclic`). */
const LEVEL = 1;
/** So that what a page compresses to is in one piece, which zlib need not put together. */
const CHUNK = 64 * 1024;

/**
 * The codecs that dumps are written with on Node: zlib (39 µs a page of the fixture) and zstd (28 µs, and as small). Each
 * gives a fresh array.
 */
export const nodeEncoders: Encoders = {
  deflate: (page) => deflateSync(page, { level: LEVEL, chunkSize: Math.min(CHUNK, page.length + 64) }),
  zstd: hostWasm === undefined ? undefined : (page) => zstd().compress(page, LEVEL),
};
