/** Dump formats: layers that turn physical addresses into offsets of a file. Start with `open-dump.ts`. @module */
export { FORMATS } from "./detect.js";
export { FormatError, type FormatErrorCode, type FormatErrorPlace } from "./errors.js";
export { type RearrangedFile, rearrange } from "./flattened.js";
export { detectFormat, dumpFile, openDump } from "./open-dump.js";
export { parseRawMap } from "./raw-map.js";
export { abiOf } from "./registers.js";
export type {
  Architecture,
  CodecName,
  CpuState,
  Decoder,
  Decoders,
  DumpFile,
  DumpImage,
  DumpNotes,
  Encoder,
  Encoders,
  Format,
  FormatContext,
  OpenDumpOptions,
  PagesDecoder,
  RawNote,
  RawRange,
  UsePages,
} from "./types.js";
export * from "./write/index.js";
