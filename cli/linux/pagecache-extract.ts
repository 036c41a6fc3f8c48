/** Cached files, written to files or to standard output. */
import { ExtractError, type ExtractedFile, ExtractFolder } from "../../connectors/extract-folder.js";
import { faultState, MemtoolError } from "../../src/io/index.js";
import {
  type CachedFile,
  type CachedName,
  cachedFileMemory,
  fileParts,
  type LinuxKernel,
} from "../../src/linux/index.js";
import type { Session } from "../session.js";
import { isOverLimit, limitText } from "./extract-limit.js";

/** Bytes that are read at a time. */
const PIECE = 1 << 20;

/**
 * A file gets the length that its inode says up to here; a longer one ends with the last byte that is in memory. (A hole takes no room, but
 * whoever copies the file on would write it all: and an inode may say anything.)
 */
const MAX_LENGTH = 2 ** 40;

/** Bytes of a file that were not written, and why not. */
export interface MissingRange {
  readonly start: number;
  readonly end: number;
  readonly why: string;
}

/** A file that was written. */
export interface Extracted {
  readonly file: CachedFile;
  /** Below the folder; `undefined` if it could not be made. */
  readonly name: string | undefined;
  readonly written: number;
  /** Ascending. */
  readonly missing: readonly MissingRange[];
  readonly error: string | undefined;
  /** Whether no file may be written after it. */
  readonly isLast: boolean;
}

/** Something of a file. */
type Piece =
  | { readonly at: number; readonly bytes: Uint8Array }
  | { readonly start: number; readonly end: number; readonly why: string };

/**
 * Writes files below a folder, one after the other, until there are no more or the limit is reached.
 *
 * @param note Is told of each.
 */
export async function* extractFiles(
  kernel: LinuxKernel,
  files: AsyncIterable<CachedFile>,
  path: string,
  maxBytes: number | undefined,
  note: (file: Extracted) => void,
): AsyncGenerator<Extracted> {
  let folder: ExtractFolder | undefined;
  for await (const file of files) {
    folder ??= new ExtractFolder(path, maxBytes);
    const extracted = await extractFile(kernel, file, folder);
    note(extracted);
    yield extracted;
    if (extracted.isLast) return;
  }
}

async function extractFile(kernel: LinuxKernel, file: CachedFile, folder: ExtractFolder): Promise<Extracted> {
  const missing: MissingRange[] = [];
  let written = 0;
  let out: ExtractedFile | undefined;
  let error: string | undefined;
  let isLast = false;
  try {
    out = folder.create(extractName(file));
    for await (const piece of piecesOf(kernel, file)) {
      if ("why" in piece) {
        addMissing(missing, piece);
      } else {
        out.write(piece.at, piece.bytes);
        written += piece.bytes.length;
      }
    }
    if (file.size !== undefined && file.size <= MAX_LENGTH) out.resize(file.size);
    out.close();
  } catch (cause) {
    // Of a full disk, the next file has none of either.
    if (!(cause instanceof ExtractError) || cause.code === "NO_SPACE") throw cause;
    isLast = isOverLimit(cause);
    error = isLast ? limitText(cause) : cause.message;
  } finally {
    out?.abandon();
  }
  return { file, name: out?.relative, written, missing, error, isLast };
}

/** What it is called below the folder. */
function extractName({ path, blockDevice, device, inode }: CachedName): string {
  if (path !== undefined) return path;
  return typeof blockDevice === "string"
    ? `block-device-${blockDevice}`
    : `inode-${device ?? "?"}-${inode ?? "?"}`;
}

/**
 * Writes the one file that there is to standard output.
 *
 * @param fill Stands for what is missing.
 * @returns whether nothing was.
 * @throws {MemtoolError} `NO_FILE`, `MANY_FILES`, or `HOLE` before the first byte that is missing.
 */
export async function writeRaw(
  session: Session,
  kernel: LinuxKernel,
  files: AsyncIterable<CachedFile>,
  fill: number | undefined,
  none: string,
): Promise<boolean> {
  let found: CachedFile | undefined;
  for await (const file of files) {
    if (found !== undefined) {
      throw new MemtoolError(
        "MANY_FILES",
        `more than one file matches: ${found.path ?? "?"} (inode ${found.inode}), ${file.path ?? "?"} (inode ${file.inode}); --inode tells them apart`,
      );
    }
    found = file;
  }
  if (found === undefined) throw new MemtoolError("NO_FILE", none);
  session.clearProgress();
  let whole = true;
  for await (const piece of piecesOf(kernel, found)) {
    if (!("why" in piece)) {
      await session.out.bytes(piece.bytes);
      continue;
    }
    const { start, end, why } = piece;
    if (fill === undefined && why !== ZEROS) {
      throw new MemtoolError(
        "HOLE",
        `stopped at 0x${start.toString(16)}: ${end - start} bytes are missing (${why}); --fill BYTE writes that byte for each, --extract leaves holes`,
      );
    }
    if (end > MAX_LENGTH) {
      throw new MemtoolError(
        "TOO_LARGE",
        `stopped at 0x${start.toString(16)}: the inode says that the file has ${found.size} bytes; --extract leaves what is not there out`,
      );
    }
    whole &&= why === ZEROS;
    const filler = new Uint8Array(Math.min(PIECE, end - start)).fill(why === ZEROS ? 0 : (fill ?? 0));
    for (let left = end - start; left > 0; left -= filler.length) {
      await session.out.bytes(left < filler.length ? filler.subarray(0, left) : filler);
    }
  }
  return whole;
}

/** Zeros that nothing in memory stands for: they need not be written to a file. */
const ZEROS = "zeros";

/** A file from its first byte to its last, in order. */
async function* piecesOf(kernel: LinuxKernel, file: CachedFile): AsyncGenerator<Piece> {
  const memory = cachedFileMemory(kernel, file);
  for (const part of fileParts(file)) {
    if (part.kind === "missing") yield { start: part.start, end: part.end, why: part.why };
    else if (part.kind === "zeros") yield { start: part.start, end: part.end, why: ZEROS };
    if (part.kind === "missing" || part.kind === "zeros") continue;
    for (let at = part.start; at < part.end; at += PIECE) {
      const { bytes, holes } = await memory.readPartial(at, Math.min(PIECE, part.end - at));
      let from = 0;
      for (const hole of holes) {
        if (hole.start > from) yield { at: at + from, bytes: bytes.subarray(from, hole.start) };
        yield { start: at + hole.start, end: at + hole.end, why: faultState(hole.fault) };
        from = hole.end;
      }
      if (from < bytes.length) yield { at: at + from, bytes: bytes.subarray(from) };
    }
  }
}

function addMissing(missing: MissingRange[], piece: MissingRange): void {
  if (piece.why === ZEROS) return;
  const last = missing.at(-1);
  if (last !== undefined && last.end === piece.start && last.why === piece.why) {
    missing[missing.length - 1] = { ...last, end: piece.end };
  } else {
    missing.push(piece);
  }
}
