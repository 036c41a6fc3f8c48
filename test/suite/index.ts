/** memtool/testing: the conformance suite and its helpers. @module */
export { counting, delaying, REFUSED, refusing, type Traffic } from "./layers.js";
export { BROKEN_MEMORY, type MemorySourceOptions, memorySource } from "./memory-source.js";
export { packetIoSuite, type Subject } from "./packet-io.js";
