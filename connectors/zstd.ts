/**
 * Zstandard in Node: the WebAssembly of the package `@bokuweb/zstd-wasm`, read and compiled when the first page needs it
 * (4 ms), so that a dump without such pages does not pay for it.
 *
 * Microseconds a page of the fixture, on Node 20 and 24: this takes 11 and 8 to decompress and 28 and 20 to compress.
 * Node's own zlib has Zstandard since 22.15; it takes 14 and 27, since it makes a stream for each call, so there would be
 * two ways for one thing. fzstd, in JavaScript, takes 95, and sees less damage: of 2,000 frames with one bit flipped it
 * refused 291, this 738 (the others hold no checksum, and decompress to another page).
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ZstdModule } from "../src/codecs/zstd-module.js";
import { MemtoolError } from "../src/io/index.js";
import { hostWasm } from "./host-wasm.js";

const PACKAGE = "@bokuweb/zstd-wasm";

let loaded: ZstdModule | MemtoolError | undefined;

/** The library. @throws {MemtoolError} `NO_ZSTD` if the package is not there, or can't be compiled; each time. */
export function zstd(): ZstdModule {
  loaded ??= load();
  if (loaded instanceof MemtoolError) throw loaded;
  return loaded;
}

/** After a call of it was cut off (`breakOnSigint` of `node:vm`), its memory may be in any state: the next call loads it anew. */
export function forgetZstd(): void {
  loaded = undefined;
}

function load(): ZstdModule | MemtoolError {
  try {
    if (hostWasm === undefined) throw new Error("this runtime has no WebAssembly");
    // What the package gives to `require` lies beside the WebAssembly.
    const path = join(dirname(createRequire(import.meta.url).resolve(PACKAGE)), "zstd.wasm");
    return new ZstdModule(hostWasm, new hostWasm.Module(new Uint8Array(readFileSync(path))));
  } catch (cause) {
    return new MemtoolError("NO_ZSTD", `zstd: ${PACKAGE} can't be used: ${(cause as Error).message}`, {
      cause,
    });
  }
}
