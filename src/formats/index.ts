/** Dump formats: layers that turn physical addresses into offsets of a file. Start with `open-dump.ts`. @module */

export { type RearrangedFile, rearrange } from "./containers/flattened.js";
export { FORMATS } from "./detect.js";
export { FormatError, type FormatErrorCode, type FormatErrorPlace } from "./errors.js";
export { abiOf } from "./notes/registers.js";
export { detectFormat, dumpFile, openDump } from "./open-dump.js";
export { parseRawMap } from "./raw/raw-map.js";
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
