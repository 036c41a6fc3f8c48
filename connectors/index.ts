export * from "../src/index.js";
export * from "./connectors.js";
