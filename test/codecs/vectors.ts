/**
 * What the C libraries compressed blocks to, so that the decoders meet real encoders' output where there are none.
 * `MEMTOOL_MAKE_VECTORS=1 npx vitest run test/codecs/vectors.test.ts` makes vectors.json anew.
 */
import { readFileSync } from "node:fs";
import { makeBlock } from "./blocks.js";
import type { Library } from "./libraries.js";

export const VECTORS = "test/codecs/vectors.json";

/** A line of vectors.json. */
export interface Vector {
  readonly library: Library;
  readonly level: number;
  /** Of `makeBlock`. */
  readonly kind: string;
  readonly length: number;
  readonly seed: number;
  readonly base64: string;
}

/** The vectors of a library, with the blocks that they decompress to. */
export function vectorsOf(library: Library): { name: string; compressed: Uint8Array; block: Uint8Array }[] {
  const vectors: Vector[] = JSON.parse(readFileSync(VECTORS, "utf8"));
  return vectors
    .filter((vector) => vector.library === library)
    .map(({ level, kind, length, seed, base64 }) => ({
      name: `${length} bytes of ${kind}, level ${level}`,
      compressed: new Uint8Array(Buffer.from(base64, "base64")),
      block: makeBlock(kind, length, seed),
    }));
}
