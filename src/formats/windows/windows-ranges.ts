/**
 * Pages of the crash dumps that debuggers and Windows 10 and later write of a live system (DumpType 8 to 10): behind the
 * header lies another, "RDMP" and "DUMP", then ranges of pages, then the pages in that order.
 *
 * Layout: `RDMP_HEADER64`, `KERNEL_RDMP_HEADER64` and `FULL_RDMP_HEADER64` of kdmp-parser, which found it out by taking such
 * dumps apart: no other description is public.
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError, type Warnings } from "../errors.js";
import { Fields, hasText, readStructure } from "../fields.js";
import type { DumpFile } from "../types.js";
import { MAX_PAGES } from "./windows-header.js";

const HEADER_SIZE = 0x30;
const MARKER = 0x40;
/** A range: page number and count, 64 bits each. */
const ENTRY_SIZE = 16;
const TABLE_CHUNK = ENTRY_SIZE * 65_536;
/** As many ranges as an ELF core may have segments. */
const MAX_RANGES = 4_000_000;

/** Where the ranges and the pages are. */
export interface RangeTable {
  /** File offset and length in bytes of the table. */
  readonly tableAt: number;
  readonly tableBytes: number;
  /** File offset of the first page. */
  readonly dataAt: number;
  /** Pages of all ranges together, behind which what lies in the table is none; `undefined` if zeros end it. */
  readonly pages: number | undefined;
}

/** The type of live dumps whose header counts the pages: the table of others ends with zeros. */
const LIVE_COMPLETE = 10;

/**
 * Finds the table of ranges.
 *
 * @param at File offset of the second header: the size of the first.
 * @throws {FormatError}
 */
export function* findWindowsRanges(file: DumpFile, at: number, dumpType: number): Routine<RangeTable> {
  const header = new Fields(file.name, at, yield* readStructure(file, at, HEADER_SIZE, "RDMP header"));
  if (!(header.u32(0) === MARKER && hasText(header.bytes, "RDMPDUMP", 4))) {
    header.malformed(0, "Signature", '"RDMPDUMP" should be here, where a live dump has its ranges');
  }
  const dataAt = header.size(0x18, "FirstPageOffset");
  const tableAt = at + HEADER_SIZE;
  // The table's size and the pages' place say the same: if they don't agree, no page can be found.
  if (dataAt < tableAt || header.safe(0x10) !== dataAt - at - 0x20) {
    header.malformed(
      0x18,
      "FirstPageOffset",
      `${hex(dataAt)} does not agree with MetadataSize ${hex(header.u64(0x10))}: no page can be found`,
    );
  }
  if (dataAt > file.size) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: at + 0x18, field: "FirstPageOffset" },
      `the pages begin at ${hex(dataAt)}, and the file ends at ${hex(file.size)}; copy the dump again`,
    );
  }
  return {
    tableAt,
    tableBytes: dataAt - tableAt - ((dataAt - tableAt) % ENTRY_SIZE),
    dataAt,
    pages: dumpType === LIVE_COMPLETE ? header.size(0x28, "TotalNumberOfPages") : undefined,
  };
}

/** Reads the ranges, calling `add` for each, up to the first that can't be one. @throws {FormatError} */
export function* readWindowsRanges(
  file: DumpFile,
  { tableAt, tableBytes, pages = Number.POSITIVE_INFINITY }: RangeTable,
  add: (basePage: number, pageCount: number) => void,
  warnings: Warnings,
): Routine<void> {
  let count = 0;
  let sum = 0;
  for (let from = 0; from < tableBytes; from += TABLE_CHUNK) {
    const length = Math.min(TABLE_CHUNK, tableBytes - from);
    const chunk = yield* readStructure(file, tableAt + from, length, "page ranges");
    const fields = new Fields(file.name, tableAt + from, chunk);
    for (let i = 0; i < length; i += ENTRY_SIZE) {
      const basePage = fields.safe(i);
      const pageCount = fields.safe(i + 8);
      if (sum === pages || (basePage === 0 && pages === Number.POSITIVE_INFINITY)) return;
      if (basePage === undefined || pageCount === undefined || basePage + pageCount > MAX_PAGES) {
        warnings.add(
          `range ${count} (page ${hex(fields.u64(i))}, ${fields.u64(i + 8)} pages) is no physical memory: it and those ` +
            "behind it are ignored, since nobody knows where their pages are",
        );
        return;
      }
      if (count === MAX_RANGES) {
        throw new FormatError(
          "UNSUPPORTED_FORMAT",
          { file: file.name, offset: tableAt + from + i, field: "page ranges" },
          `more than ${MAX_RANGES} ranges of pages`,
        );
      }
      if (sum + pageCount > pages) {
        warnings.add(
          `TotalNumberOfPages is ${pages}, and range ${count} (page ${hex(basePage)}, ${pageCount} pages) goes beyond: it and ` +
            "those behind it are ignored",
        );
        return;
      }
      add(basePage, pageCount);
      sum += pageCount;
      count++;
    }
  }
  if (pages !== Number.POSITIVE_INFINITY && sum < pages) {
    warnings.add(
      `TotalNumberOfPages is ${pages}, and the ranges have ${sum} pages together: pages are missing`,
    );
  }
}
