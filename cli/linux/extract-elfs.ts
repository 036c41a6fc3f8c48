/** `elfs --extract`: each ELF image as a file, and a manifest of what is missing in them. */
import { type FileHandle, mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AddressRanges } from "../../src/io/index.js";
import { type ElfFile, elfFile, type FoundElf } from "../../src/linux/index.js";
import { describeError, statusOf } from "../errors.js";
import { toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import type { Session } from "../session.js";
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
  { field: "pid", title: "PID", right: true, value: ({ elf }) => elf.pid ?? null },
  { field: "start", title: "START", right: true, value: ({ elf }) => elf.start },
  { field: "file", title: "FILE", value: ({ file }) => file },
  { field: "size", title: "SIZE", right: true, value: ({ size }) => size },
  { field: "missing", title: "MISSING", right: true, value: ({ size, bytes }) => size - bytes },
  { field: "path", title: "PATH", value: ({ elf }) => elf.path ?? null },
];

/** The manifest's name: no file of an image has it, as those begin with digits. */
const MANIFEST = "manifest.jsonl";

/** Writes the images into a directory, which is made. Files that are there already stay. @returns the exit status. */
export async function extractElfs(
  session: Session,
  images: readonly FoundElf[],
  directory: string,
  damage: DamageSummary,
  none: string,
): Promise<number> {
  await mkdir(directory, { recursive: true });
  const written: Extracted[] = [];
  let failed = 0;
  for (const [i, elf] of images.entries()) {
    session.progress("writing files", i, images.length);
    const file = elfFile(elf);
    if (file === undefined) continue;
    const name = nameOf(elf);
    try {
      written.push({ ...(await writeElf(file, join(directory, name))), file: name, elf });
    } catch (error) {
      failed++;
      session.warn(`${join(directory, name)} could not be written: ${describeError(error)}`);
    }
  }
  session.clearProgress();
  if (written.length > 0) {
    try {
      const lines = written.map((each) => `${toJson(manifestOf(each))}\n`).join("");
      await writeFile(join(directory, MANIFEST), lines, { flag: "wx" });
    } catch (error) {
      failed++;
      session.warn(`${join(directory, MANIFEST)} could not be written: ${describeError(error)}`);
    }
  }
  const status = await showList(session, written, COLUMNS, damage, images.length === 0 ? none : undefined);
  const partial = written.filter(({ size, bytes }) => bytes < size).length;
  if (partial > 0) {
    session.warn(
      `parts of ${partial} of ${written.length} files are not in memory, and zero in them: ${join(directory, MANIFEST)} lists these`,
    );
  }
  return failed === 0 && partial === 0 ? status : statusOf(written.length > 0, true);
}

/** Writes one; what is missing is a hole of the file. @throws if it is there already, or can't be written. */
async function writeElf(
  { size, pieces }: ElfFile,
  path: string,
): Promise<Pick<Extracted, "size" | "bytes" | "holes" | "changed">> {
  // (Not through a link, and no file that is there.)
  const handle = await open(path, "wx");
  try {
    const there: { start: number; end: number }[] = [];
    let changed = false;
    for await (const piece of pieces) {
      await writeAll(handle, piece.bytes, piece.offset);
      there.push({ start: piece.offset, end: piece.offset + piece.bytes.length });
      changed ||= piece.changed === true;
    }
    await handle.truncate(size);
    const ranges = AddressRanges.from(there);
    const holes: { start: number; end: number }[] = [];
    let at = 0;
    for (let i = 0; i < ranges.length; i++) {
      const start = ranges.starts[i] as number;
      if (start > at) holes.push({ start: at, end: start });
      at = ranges.ends[i] as number;
    }
    if (at < size) holes.push({ start: at, end: size });
    return { size, bytes: ranges.bytes, holes, changed };
  } finally {
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
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
