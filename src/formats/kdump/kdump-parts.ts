/**
 * The files of a kdump dump that was split (`makedumpfile --split`): each holds the pages of one range, and all of the
 * headers, notes and bitmaps. In any order, flattened or not, and not necessarily all.
 *
 * What must agree: makedumpfile's `store_splitting_info` compares `struct disk_dump_header`. That is all zeros where a
 * hypervisor's dump was split, but for sizes, so notes and bitmaps (`kdump-bitmaps.ts`) are compared too.
 */
import { hex, type Routine } from "../../io/index.js";
import type { PageWindow } from "../bitmap.hot.js";
import { isFlattened, rearrange } from "../containers/flattened.js";
import { FormatError, Warnings } from "../errors.js";
import { readLeniently, readStructure } from "../fields.js";
import type { DumpFile } from "../types.js";
import type { FileOfPages } from "./kdump-bitmaps.js";
import { type FilePart, isKdump, type KdumpHeader, readKdumpHeader } from "./kdump-header.js";

/** VMCOREINFO and notes longer than this are cut. */
const MAX_NOTES = 64 * 2 ** 20;

/** A file of a dump, its header, and the texts beside its pages. */
export interface OpenedFile {
  readonly file: DumpFile;
  readonly header: KdumpHeader;
  readonly vmcoreinfo: Uint8Array;
  readonly notes: Uint8Array;
  /** Whether both could be read. */
  readonly complete: boolean;
}

/** Reads a file's headers and notes. @throws {FormatError} */
export function* openKdumpFile(file: DumpFile, warnings: Warnings): Routine<OpenedFile> {
  const header = yield* readKdumpHeader(file, warnings);
  const vmcoreinfo = yield* readPart(file, header.vmcoreinfo, "vmcoreinfo", warnings);
  const notes = yield* readPart(file, header.notes, "note", warnings);
  const complete = vmcoreinfo.missing === 0 && notes.missing === 0;
  // What is missing of a text reads as zeros: it ends there.
  const text = vmcoreinfo.bytes.subarray(0, Math.max(0, vmcoreinfo.bytes.length - vmcoreinfo.missing));
  return { file, header, vmcoreinfo: text, notes: notes.bytes, complete };
}

function* readPart(
  file: DumpFile,
  part: FilePart,
  field: "vmcoreinfo" | "note",
  warnings: Warnings,
): Routine<{ readonly bytes: Uint8Array; readonly missing: number }> {
  const { offset, size } = part;
  if (offset === 0 || size === 0) return { bytes: new Uint8Array(0), missing: 0 };
  if (size > MAX_NOTES) warnings.add(`size_${field} is ${size}: only the first ${MAX_NOTES} bytes are read`);
  const { bytes, missing } = yield* readLeniently(file, offset, Math.min(size, MAX_NOTES));
  if (missing > 0) {
    warnings.add(
      `offset_${field} ${hex(offset)}, size_${field} ${size}: ${missing} bytes of it are not in the file`,
    );
  }
  return { bytes, missing };
}

/**
 * Opens the other files of a dump that was split, and checks that they are of the same dump.
 *
 * @returns all files with the pages that are read from each, ascending and disjoint, the first among them.
 * @throws {FormatError} naming the file that is none of the dump's, or can't be opened.
 */
export function* openParts(
  first: OpenedFile,
  others: readonly DumpFile[],
  warnings: Warnings,
): Routine<{ readonly files: readonly OpenedFile[]; readonly ranges: readonly PageWindow[] }> {
  const { part } = first.header;
  if (part === undefined) {
    const other = others[0];
    if (other !== undefined) {
      refuse(first.file, `it is a whole dump, so ${other.name} can't be a part of it; open it alone`);
    }
    return { files: [first], ranges: [{ start: 0, end: first.header.maxPages }] };
  }
  const all = [first];
  for (const given of others) {
    const file = yield* unflattened(given, warnings);
    const own = new Warnings();
    const opened = yield* openKdumpFile(file, own);
    // What is said of the first file need not be said of all.
    for (const warning of own.list()) {
      if (!warnings.list().includes(warning)) warnings.add(`${file.name}: ${warning}`);
    }
    checkSame(first, opened);
    all.push(opened);
  }
  return arrange(all, warnings);
}

/** The file itself, or, if it is flattened, the one that it stands for. */
function* unflattened(file: DumpFile, warnings: Warnings): Routine<DumpFile> {
  const head = yield* readStructure(file, 0, Math.min(16, file.size), "first bytes");
  if (isFlattened(head)) {
    const inner = yield* rearrange(file);
    for (const text of inner.warnings) warnings.add(`${file.name}: ${text}`);
    return inner;
  }
  if (!isKdump(head)) refuse(file, "it is no kdump file, so it can't be a part of one; leave it out");
  return file;
}

/** @throws {FormatError} if the files are not of one dump. */
function checkSame(first: OpenedFile, other: OpenedFile): void {
  const [a, b] = [first.header, other.header];
  if (b.part === undefined)
    refuse(other.file, "it is a whole dump, and none of the files of one that was split; leave it out");
  const said = (header: KdumpHeader) => ({
    signature: header.signature,
    header_version: header.version,
    layout: header.abi.name,
    "byte order": header.littleEndian ? "little-endian" : "big-endian",
    release: header.release,
    machine: header.machine,
    timestamp: header.time.join("."),
    block_size: header.blockSize,
    sub_hdr_size: header.subBlocks,
    bitmap_blocks: header.bitmapBlocks,
    max_mapnr: header.maxPages,
    dump_level: header.dumpLevel,
  });
  const [ofFirst, ofOther] = [said(a), said(b)];
  for (const name of Object.keys(ofFirst) as (keyof typeof ofFirst)[]) {
    if (ofFirst[name] === ofOther[name]) continue;
    refuse(
      other.file,
      `its ${name} is ${ofOther[name]}, and that of ${first.file.name} is ${ofFirst[name]}: ` +
        "they are files of different dumps; leave it out",
    );
  }
  for (const what of ["vmcoreinfo", "notes"] as const) {
    if (!first.complete || !other.complete || equal(first[what], other[what])) continue;
    refuse(
      other.file,
      `its ${what} differ from those of ${first.file.name}: they are files of different dumps; leave it out`,
    );
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function refuse(file: DumpFile, problem: string): never {
  throw new FormatError("MALFORMED_DUMP", { file: file.name }, problem);
}

/** Puts files in the order of their pages; what two of them have is read from the one that begins first. */
function arrange(
  all: readonly OpenedFile[],
  warnings: Warnings,
): { files: OpenedFile[]; ranges: PageWindow[] } {
  const files: OpenedFile[] = [];
  const ranges: PageWindow[] = [];
  let at = 0;
  for (const opened of [...all].sort((a, b) => rangeOf(a).start - rangeOf(b).start)) {
    const { start, end } = rangeOf(opened);
    const { name } = opened.file;
    if (start < at && end > start) {
      const before = (files[files.length - 1] as OpenedFile).file.name;
      warnings.add(
        end <= at
          ? `${name} has no page that ${before} and those before it don't have (pages ${hex(start)} to ${hex(end)}): ` +
              "it is not used"
          : `${name} and ${before} both have pages ${hex(start)} to ${hex(at)}, which are read from the latter`,
      );
      if (end <= at) continue;
    }
    const from = Math.max(start, at);
    files.push(opened);
    ranges.push({ start: from, end: Math.max(from, end) });
    at = Math.max(at, end);
  }
  return { files, ranges };
}

function rangeOf(opened: OpenedFile): PageWindow {
  return opened.header.part as PageWindow;
}

/** Files and ranges as `readBitmaps` takes them. */
export function filesOfPages(files: readonly OpenedFile[]): FileOfPages[] {
  return files.map(({ file, header }) => ({
    file,
    range: header.part ?? { start: 0, end: header.maxPages },
  }));
}
