import { type ColumnIo, sendColumn } from "../io/column.js";
import { defaultScheduler, Io, type PacketIo, type Routine, readPartial } from "../io/index.js";
import { checkSize, formatNamed, formatOf, HEAD_SIZE } from "./detect.js";
import { FormatError } from "./errors.js";
import { readStructure } from "./fields.js";
import { raw } from "./raw/raw.js";
import { checkRawMap } from "./raw/raw-map.js";
import type { DumpFile, DumpImage, Format, FormatContext, OpenDumpOptions } from "./types.js";

/** Containers in containers: kdump in flattened is one. */
const MAX_DEPTH = 4;

/** A file of a known size as formats want it. @param size Bytes. */
export function dumpFile(io: PacketIo<number>, size: number, name: string): DumpFile & ColumnIo {
  return {
    name,
    size,
    scheduler: io.scheduler,
    sendIo: (offset, view) => io.sendIo(offset, view),
    sendColumn: (column, from, view) => sendColumn(io, column, from, view),
  };
}

/**
 * The name of a file's format, by its content.
 *
 * @throws {FormatError} for an empty file, and for formats that memtool knows and does not read.
 */
export function detectFormat(file: DumpFile): Io<string> {
  return Io.of(file.scheduler ?? defaultScheduler, detectRoutine, file);
}

function* detectRoutine(file: DumpFile): Routine<string> {
  checkSize(file);
  return (yield* detect(file)).name;
}

/**
 * Opens a memory dump of any supported format.
 *
 * Reads its headers and indexes, no more; what the file claims is checked against its size first. What can't be read
 * of a damaged file is a warning or a hole where the rest can be, else an error.
 *
 * @throws {FormatError} naming file, offset, field and what to do.
 */
export function openDump(file: DumpFile, options: OpenDumpOptions = {}): Io<DumpImage> {
  return Io.of(file.scheduler ?? defaultScheduler, openRoutine, file, options, 0);
}

function* openRoutine(file: DumpFile, options: OpenDumpOptions, depth: number): Routine<DumpImage> {
  checkSize(file);
  if (depth === MAX_DEPTH) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name },
      `more than ${MAX_DEPTH} containers in each other`,
    );
  }
  const { format, parts = [], ...inner } = options;
  const chosen = format === undefined ? yield* detect(file) : formatNamed(file, format);
  const other = parts[0];
  if (other !== undefined && chosen.takesParts !== true) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name },
      `a dump of the format ${chosen.name} is one file; ${other.name} can't be a part of it`,
    );
  }
  if (inner.memoryMap !== undefined) {
    if (chosen.takesMap !== true) {
      throw new FormatError(
        "BAD_MEMORY_MAP",
        { file: file.name },
        `a memory map is for raw images and QEMU's streams, and this is a dump of the format ${chosen.name}, which says ` +
          "itself where its memory lies: leave the map out, or force the format raw",
      );
    }
    checkRawMap(inner.memoryMap, file.name);
  }
  // What is forced is the outermost format: a container's content is still detected.
  const context: FormatContext = {
    ...inner,
    parts,
    reopen: (content, others = []) => openRoutine(content, { ...inner, parts: others }, depth + 1),
  };
  return yield* chosen.open(file, context);
}

/** The format by what can be read of the first bytes; but what is known by nothing (`raw`) only by all of them. */
function* detect(file: DumpFile): Routine<Format> {
  const size = Math.min(HEAD_SIZE, file.size);
  const { bytes, holes } = yield* readPartial(file, 0, size);
  const readable = holes[0]?.start ?? size;
  const found = readable === 0 ? raw : formatOf(file, bytes.subarray(0, readable));
  // For its error.
  if (found === raw && readable < size) yield* readStructure(file, 0, size, "first bytes");
  return found;
}
