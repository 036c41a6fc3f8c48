/**
 * memtool, for Node: everything. Open a target with `open`; the rest of the library needs no platform.
 *
 * @module memtool
 */
export * from "../src/index.js";
export * from "./connectors.js";
// (The core has one that takes what a platform does for it.)
export { search } from "./search-machine.js";
