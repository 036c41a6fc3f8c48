/** memtool/testing: the conformance suite, a dummy machine with page tables, and layers that misbehave. @module */
export {
  DummyMachine,
  type DummyOptions,
  type DummyPage,
  type DummyRights,
} from "../support/dummy-machine.js";
export { counting, delaying, REFUSED, refusing, type Traffic } from "./layers.js";
export { BROKEN_MEMORY, type MemorySourceOptions, memorySource } from "./memory-source.js";
export { packetIoSuite, type Subject } from "./packet-io.js";
export { SOURCE_RULES, sourceSuite, trySourceRule } from "./source/index.js";
export type { SourceRule } from "./source/rule.js";
export type { BadRange, SourceSubject } from "./source/subject.js";
