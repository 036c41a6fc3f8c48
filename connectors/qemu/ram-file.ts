/** RAM that lies in a file: its file, opened past the process. */
import { closeSync, fstatSync, openSync, readdirSync, statfsSync, statSync } from "node:fs";
import type { ProcessMap } from "../proc/maps.js";

/** Bytes of the process's memory that are a file's. */
export interface FileStretch {
  /** To open. */
  readonly path: string;
  /** Of the file, for telling files apart. */
  readonly inode: number;
  /** In the file, of the first byte. */
  readonly offset: number;
}

/** Its pages can be mapped and not written (linux/magic.h). */
const HUGETLBFS = 0x958458f6;

/**
 * The file that a stretch of a process's memory is a shared mapping of, where it can be opened.
 *
 * @returns `undefined` where it is none, or of a file that can't be reached (another user's, in another place, of huge pages).
 */
export function fileOfStretch(
  pid: number,
  maps: readonly ProcessMap[],
  address: number,
  length: number,
): FileStretch | undefined {
  const start = BigInt(address);
  const map = maps.find((one) => one.start <= start && start < one.end);
  if (map === undefined || !map.shared || map.inode === 0 || start + BigInt(length) > map.end)
    return undefined;
  const path = reach(pid, map);
  return path === undefined
    ? undefined
    : { path, inode: map.inode, offset: Number(map.offset + (start - map.start)) };
}

/** A path that leads to the mapping's very file: its own, the system's link to it, or one of the process's open files. */
function reach(pid: number, map: ProcessMap): string | undefined {
  const range = `${map.start.toString(16)}-${map.end.toString(16)}`;
  const ways = [map.path, `/proc/${pid}/map_files/${range}`];
  return ways.find((path) => isFile(path, map.inode)) ?? openFileOf(pid, map.inode);
}

function openFileOf(pid: number, inode: number): string | undefined {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder)
      .map((fd) => `${folder}/${fd}`)
      .find((path) => isFile(path, inode));
  } catch {
    return undefined;
  }
}

function isFile(path: string, inode: number): boolean {
  if (!path.startsWith("/")) return false;
  try {
    const stats = statSync(path);
    if (!stats.isFile() || stats.ino !== inode || statfsSync(path).type === HUGETLBFS) return false;
    const fd = openSync(path, "r");
    try {
      return fstatSync(fd).ino === inode;
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}
