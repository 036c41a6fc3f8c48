/**
 * Holes of the file system in a file: ranges that are zero and take no room on the disk, told by lseek(2) with SEEK_DATA
 * and SEEK_HOLE (Linux since 3.1, macOS since 10.13). Node has no lseek, so it is called through the optional package
 * `ffi-rs`, where that is installed.
 */
import { fstatSync } from "node:fs";
import { type Ffi, LIBC, loadFfi } from "./ffi.js";

/** A range of file offsets, `end` exclusive. */
export interface FileHole {
  readonly start: number;
  readonly end: number;
}

/** lseek(2): the new offset, or -1 if there is none (ENXIO: nothing but a hole from `offset` on) or it can't tell. */
export type Seek = (fd: number, offset: number, whence: number) => number;

/** SEEK_DATA and SEEK_HOLE: Linux has them in include/uapi/linux/fs.h, macOS in sys/unistd.h. */
const WHENCE: Readonly<Record<string, { readonly data: number; readonly hole: number }>> = {
  linux: { data: 3, hole: 4 },
  darwin: { data: 4, hole: 3 },
};

/**
 * Holes that are told; the rest of the file then counts as data. A call through `ffi-rs` takes some 10 µs and a hole two
 * of them, so this takes two seconds at most.
 */
const MAX_HOLES = 65_536;
/** Of `stat`'s `blocks`, whatever the file system's are (sys/stat.h). */
const BLOCK = 512;

/** Tells holes, ascending. May be called again and again; tells of none once the file is closed. */
export type Holes = () => Iterable<FileHole>;

/**
 * What tells the holes of an open file.
 *
 * @param fd      Its offset is changed: positioned reads and writes don't mind.
 * @param loadSeek What to call; `undefined` where there is none. For tests.
 * @returns       `undefined` where nothing can be told: the file takes as much room as it has bytes, or the platform
 *                has no such call, or the package `ffi-rs` is not there.
 */
export async function holesOf(
  fd: number,
  loadSeek: () => Promise<Seek | undefined> = loadFfiSeek,
  platform: string = process.platform,
): Promise<Holes | undefined> {
  const whence = WHENCE[platform];
  const { size, blocks, dev, ino } = fstatSync(fd);
  if (whence === undefined || blocks * BLOCK >= size) return undefined;
  const seek = await loadSeek();
  if (seek === undefined) return undefined;
  return () => {
    try {
      const now = fstatSync(fd);
      if (now.dev !== dev || now.ino !== ino) return [];
    } catch {
      return [];
    }
    return findHoles(fd, size, seek, whence);
  };
}

function findHoles(
  fd: number,
  size: number,
  seek: Seek,
  { data, hole }: { readonly data: number; readonly hole: number },
): FileHole[] {
  const holes: FileHole[] = [];
  for (let at = 0; at < size && holes.length < MAX_HOLES; ) {
    const start = seek(fd, at, hole);
    // Each file has a hole at its end, so a failure is one of the call.
    if (!(start >= at && start < size)) break;
    const next = seek(fd, start, data);
    const end = next < 0 ? size : Math.min(next, size);
    // ENXIO says that no data follow; any other failure comes to the call before just as well.
    if (end <= start) break;
    holes.push({ start, end });
    at = end;
  }
  return holes;
}

/** Loading it takes 13 to 80 ms, so it is done for those who ask. */
async function loadFfiSeek(): Promise<Seek | undefined> {
  let ffi: Ffi;
  try {
    ffi = await loadFfi();
  } catch {
    return undefined;
  }
  const { I32, I64 } = ffi.DataType;
  return (fd, offset, whence) =>
    ffi.load({
      library: LIBC,
      funcName: "lseek",
      retType: I64,
      paramsType: [I32, I64, I32],
      paramsValue: [fd, offset, whence],
    }) as number;
}
