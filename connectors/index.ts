/** memtool: everything, for Node. @module */
export * from "../src/index.js";
export * from "./connectors.js";
