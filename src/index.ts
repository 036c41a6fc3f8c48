/**
 * memtool/core: packets, layers, memory, page tables, dump formats and Linux, on any JavaScript runtime.
 *
 * @module
 */
export * from "./formats/index.js";
export * from "./io/index.js";
export * from "./linux/index.js";
export * from "./memory/index.js";
export * from "./paging/index.js";
export * from "./search/index.js";
export type { SharedWasmMemory, Wasm, WasmMemory } from "./wasm/platform.js";
