/** Writers of dump formats: memory in, a file out. Start with `writer.ts` and `plan.ts`. @module */
export { DumpFacts } from "./dump-facts.js";
export { ElfWriter } from "./elf-writer.js";
export {
  type EncodePages,
  type KdumpCompression,
  KdumpWriter,
  type KdumpWriterOptions,
} from "./kdump-writer.js";
export { LimeWriter } from "./lime-writer.js";
export { DumpPlan, type DumpPlanOptions, type KeptRange } from "./plan.js";
export { RawWriter } from "./raw-writer.js";
export type { DumpSink } from "./sink.js";
export type { DumpWriter, WrittenDump } from "./writer.js";
