/**
 * memtool, for Node: everything. Open a target with `open`; the rest of the library needs no platform.
 *
 * @module memtool
 */
export * from "../src/index.js";
export * from "./connectors.js";
