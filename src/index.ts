/**
 * memtool/core: packets, layers, memory, page tables and formats, on any JavaScript runtime.
 *
 * @module
 */
export * from "./io/index.js";
