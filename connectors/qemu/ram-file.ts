/** RAM that lies in a file: its file, opened past the process. */
import { closeSync, constants, fstatSync, openSync, readdirSync, statfsSync, statSync } from "node:fs";
import type { ProcessMap } from "../proc/maps.js";

/** Bytes of the process's memory that are a file's. */
export interface FileStretch {
  /** Of the file, open for reading; who has it closes it. */
  readonly descriptor: number;
  /** For telling files apart: no other one that is there has the same. */
  readonly identity: string;
  /** In the file, of the first byte. */
  readonly offset: number;
}

/** Its pages can be mapped and not written (linux/magic.h). */
const HUGETLBFS = 0x958458f6;
const { O_NOCTTY, O_NONBLOCK, O_RDONLY } = constants;

/**
 * The file that a stretch of a process's memory is a shared mapping of, where it can be opened.
 *
 * The system's own link to it leads to no other file, but only root may follow it. A file that is found by its path, or among the
 * process's open files, must have the device and the inode that the list of mappings tells. File systems that show their files under
 * another device than that (btrfs, overlayfs) are not matched by it, and such RAM is read out of the process.
 *
 * @param devices As `parseDevices` gives them, for the addresses of `maps`.
 * @returns `undefined` where it is none, or of a file that can't be reached (another user's, of huge pages).
 */
export function fileOfStretch(
  pid: number,
  maps: readonly ProcessMap[],
  devices: ReadonlyMap<bigint, bigint>,
  address: number,
  length: number,
): FileStretch | undefined {
  const start = BigInt(address);
  const map = maps.find((one) => one.start <= start && start < one.end);
  if (map === undefined || !map.shared || map.inode === 0 || start + BigInt(length) > map.end)
    return undefined;
  const file = openFileOf(pid, map, devices.get(map.start));
  return file && { ...file, offset: Number(map.offset + (start - map.start)) };
}

type OpenedFile = Omit<FileStretch, "offset">;

function openFileOf(pid: number, map: ProcessMap, device: bigint | undefined): OpenedFile | undefined {
  const linked = openIfFile(`/proc/${pid}/map_files/${map.start.toString(16)}-${map.end.toString(16)}`);
  // (An inode's number that a double does not hold is no proof.)
  if (linked !== undefined || device === undefined || !Number.isSafeInteger(map.inode)) return linked;
  const identity = `${device}:${map.inode}`;
  for (const path of waysTo(pid, map)) {
    const file = openIfFile(path);
    if (file?.identity === identity) return file;
    if (file !== undefined) closeSync(file.descriptor);
  }
  return undefined;
}

/** Its path where the process is, which may have a file system of its own; and the process's open files. */
function* waysTo(pid: number, map: ProcessMap): Generator<string, void, void> {
  if (map.path.startsWith("/")) yield `/proc/${pid}/root${map.path}`;
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) yield `/proc/${pid}/fd/${fd}`;
  } catch {
    // Another user's.
  }
}

function openIfFile(path: string): OpenedFile | undefined {
  let descriptor: number;
  try {
    // To open and close what is no file may do something to whoever uses it. (It may be another by then: then it does not block.)
    if (!statSync(path).isFile()) return undefined;
    descriptor = openSync(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return undefined;
  }
  const stats = fstatSync(descriptor, { bigint: true });
  if (stats.isFile() && statfsSync(ownPath(descriptor)).type !== HUGETLBFS)
    return { descriptor, identity: `${stats.dev}:${stats.ino}` };
  closeSync(descriptor);
  return undefined;
}

/** A path that leads to the very file of a descriptor of this program, whatever lies at its own path by now. */
export function ownPath(descriptor: number): string {
  return `/proc/self/fd/${descriptor}`;
}
