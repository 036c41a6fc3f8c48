/** `elfs --extract`: each ELF image as a file, and a manifest of what is missing in them. */
import { join } from "node:path";
import { ExtractError, type ExtractedFile, ExtractFolder } from "../../connectors/extract-folder.js";
import { AddressRanges } from "../../src/io/index.js";
import { type ElfFile, elfFile, type FoundElf } from "../../src/linux/index.js";
import { statusOf } from "../errors.js";
import { toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import type { Session } from "../session.js";
import { isOverLimit, limitText } from "./extract-limit.js";
import { type DamageSummary, type ListColumn, showList } from "./listing.js";

/** A file that was written. */
interface Extracted {
  readonly file: string;
  readonly elf: FoundElf;
  readonly size: number;
  readonly bytes: number;
  /** Offsets, half-open. */
  readonly holes: readonly { readonly start: number; readonly end: number }[];
  /** Whether the header or the dynamic section are not as in memory: see `elfFile`. */
  readonly changed: boolean;
}

const COLUMNS: readonly ListColumn<Extracted>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ elf }) => elf.pid ?? null },
  { field: "start", type: "address", title: "START", right: true, value: ({ elf }) => elf.start },
  { field: "file", title: "FILE", value: ({ file }) => file },
  { field: "size", type: "integer", title: "SIZE", right: true, value: ({ size }) => size },
  {
    field: "missing",
    type: "integer",
    title: "MISSING",
    right: true,
    value: ({ size, bytes }) => size - bytes,
  },
  { field: "path", title: "PATH", value: ({ elf }) => elf.path ?? null },
];

/** The manifest's name: no file of an image has it, as those begin with digits. */
const MANIFEST = "manifest.jsonl";

/** Where images are written. */
interface Destination {
  readonly directory: string;
  /** Default: as of `ExtractFolder`. */
  readonly maxBytes: number | undefined;
}

/** Writes the images into a directory, which is made. Files that are there already stay. @returns the exit status. */
export async function extractElfs(
  session: Session,
  images: readonly FoundElf[],
  { directory, maxBytes }: Destination,
  damage: DamageSummary,
  none: string,
): Promise<number> {
  const folder = new ExtractFolder(directory, maxBytes);
  const written: Extracted[] = [];
  let failed = 0;
  /** @returns whether more may be written. @throws what is no trouble of one file. */
  const fail = (error: unknown): boolean => {
    if (!(error instanceof ExtractError) || error.code === "NO_SPACE") throw error;
    failed++;
    const isOver = isOverLimit(error);
    session.warn(isOver ? limitText(error) : error.message);
    return !isOver;
  };
  for (const [i, elf] of images.entries()) {
    session.progress("writing files", i, images.length);
    const file = elfFile(elf);
    if (file === undefined) continue;
    try {
      const { error, ...each } = await writeElf(file, folder.create(nameOf(elf)));
      written.push({ ...each, elf });
      if (error !== undefined && !fail(error)) break;
    } catch (error) {
      if (!fail(error)) break;
    }
  }
  session.clearProgress();
  const manifest = written.length === 0 ? undefined : writeManifest(directory, written, fail);
  const status = await showList(session, written, COLUMNS, damage, images.length === 0 ? none : undefined);
  const partial = written.filter(({ size, bytes }) => bytes < size).length;
  if (partial > 0) {
    const where = manifest === undefined ? "" : `: ${manifest} lists these`;
    session.warn(
      `parts of ${partial} of ${written.length} files are not in memory, or were not written, and zero in them${where}`,
    );
  }
  return failed === 0 && partial === 0 ? status : statusOf(written.length > 0, true);
}

/** @returns where it is; `undefined` if it could not be written. */
function writeManifest(
  directory: string,
  written: readonly Extracted[],
  fail: (error: unknown) => boolean,
): string | undefined {
  // (Of the images' limit, nothing may be left, and what is missing in them must be told all the same.)
  const folder = new ExtractFolder(directory);
  let file: ExtractedFile | undefined;
  try {
    file = folder.create(MANIFEST);
    let at = 0;
    for (const each of written) {
      const line = Buffer.from(`${toJson(manifestOf(each))}\n`);
      file.write(at, line);
      at += line.length;
    }
    file.close();
    return join(directory, file.relative);
  } catch (error) {
    fail(error);
    return undefined;
  } finally {
    file?.abandon();
  }
}

/**
 * Writes one, and closes it; what is missing is a hole of the file.
 *
 * @returns also an error, behind which what is told of the file is still true.
 */
async function writeElf(
  { size, pieces }: ElfFile,
  out: ExtractedFile,
): Promise<Omit<Extracted, "elf"> & { readonly error: ExtractError | undefined }> {
  const there: { start: number; end: number }[] = [];
  let changed = false;
  let error: ExtractError | undefined;
  try {
    try {
      for await (const piece of pieces) {
        out.write(piece.offset, piece.bytes);
        there.push({ start: piece.offset, end: piece.offset + piece.bytes.length });
        changed ||= piece.changed === true;
      }
    } catch (cause) {
      if (!(cause instanceof ExtractError) || !isOverLimit(cause)) throw cause;
      error = cause;
    }
    out.resize(size);
    out.close();
  } finally {
    out.abandon();
  }
  const ranges = AddressRanges.from(there);
  const holes: { start: number; end: number }[] = [];
  let at = 0;
  for (let i = 0; i < ranges.length; i++) {
    const start = ranges.starts[i] as number;
    if (start > at) holes.push({ start: at, end: start });
    at = ranges.ends[i] as number;
  }
  if (at < size) holes.push({ start: at, end: size });
  return { file: out.relative, size, bytes: ranges.bytes, holes, changed, error };
}

/** A name that leads nowhere else, whatever the target calls the file: its process, its place, and what is harmless of its name. */
function nameOf({ pid, base, path, soname, kind }: FoundElf): string {
  const own =
    path === undefined || path.startsWith("[")
      ? undefined
      : path.replace(/ \(deleted\)$/, "").replace(/^.*\//, "");
  const name = (own ?? soname ?? kind).replace(/[^A-Za-z0-9._+-]/g, "_").slice(0, 100);
  return `${pid ?? 0}-${hex(base).slice(2)}-${name}`;
}

function manifestOf({ file, elf, size, bytes, holes, changed }: Extracted): Record<string, unknown> {
  return {
    file,
    pid: elf.pid ?? null,
    start: hex(elf.start),
    end: hex(elf.end),
    kind: elf.kind,
    buildId: elf.buildId ?? null,
    path: elf.path ?? null,
    found: elf.how,
    size,
    missing: size - bytes,
    holes,
    changed,
  };
}
