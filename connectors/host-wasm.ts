import type { Wasm } from "../src/wasm/platform.js";

/** This host's WebAssembly, for `TableCacheOptions.wasm`; `undefined` where there is none (`node --jitless`). */
export const hostWasm = (globalThis as { readonly WebAssembly?: Wasm }).WebAssembly;
