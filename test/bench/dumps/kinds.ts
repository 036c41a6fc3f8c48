/** The forms of dumps that the group `formats` measures, and the one file of them that is there at a time. */
import { existsSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { nodeEncoders } from "../../../connectors/node-encoders.js";
import { lazy, workPath } from "../work-folder.js";
import { writeAvmlFile, writeKdumpFile, writeSeekable } from "./compressed.js";
import { type Guest, guestOf } from "./guest.js";
import {
  isInBitmap,
  writeElfCore,
  writeLimeFile,
  writeRaw,
  writeStream,
  writeVmware,
  writeWindowsBitmap,
  writeWindowsFull,
} from "./plain.js";
import { compressSnappy } from "./snappy-encoder.js";

/** A form of dump. */
export interface DumpKind {
  readonly name: string;
  /** Of the file. */
  readonly extension?: string;
  /** Writes it, and gives what lies beside it, if anything does. `undefined`: can't be written here. */
  readonly write: ((guest: Guest, path: string) => void) | undefined;
  /** Whether it has a page of RAM; default: all. */
  readonly has?: (page: number) => boolean;
}

const { deflate, zstd } = nodeEncoders;
const seekable = (frame: number) =>
  zstd && ((guest: Guest, path: string) => writeSeekable(guest, path, frame, zstd));

/** In the order in which they are measured. The first is what all others are compared with. */
export const KINDS: readonly DumpKind[] = [
  { name: "raw", write: writeRaw },
  { name: "ELF", write: (guest, path) => writeElfCore(guest, path) },
  { name: "ELF, segments of 16 pages", write: (guest, path) => writeElfCore(guest, path, 16) },
  { name: "LiME", write: writeLimeFile },
  { name: "Windows, full", write: writeWindowsFull },
  { name: "Windows, bitmap", write: writeWindowsBitmap, has: isInBitmap },
  {
    name: "vmem + vmss",
    extension: "vmem",
    write: (guest, path) => writeFileSync(path.replace(/vmem$/, "vmss"), writeVmware(guest, path)),
  },
  { name: "QEMU stream", write: writeStream },
  { name: "kdump, stored", write: (guest, path) => writeKdumpFile(guest, path, undefined) },
  {
    name: "kdump, zlib",
    write: deflate && ((guest, path) => writeKdumpFile(guest, path, { flag: 0x01, encode: deflate })),
  },
  {
    name: "kdump, snappy",
    write: (guest, path) => writeKdumpFile(guest, path, { flag: 0x04, encode: compressSnappy }),
  },
  {
    name: "kdump, zstd",
    write: zstd && ((guest, path) => writeKdumpFile(guest, path, { flag: 0x20, encode: zstd })),
  },
  { name: "AVML 2", write: writeAvmlFile },
  { name: "raw in seekable zstd, 64 KiB", write: seekable(2 ** 16) },
  { name: "raw in seekable zstd, 1 MiB", write: seekable(2 ** 20) },
];

/** Of the guest: `--gib`. */
let gib = 1;

/** Sets the size of the guest, in whole GiB; before any dump of it is asked for. */
export function setGuestSize(value: number): void {
  gib = value;
}

/** The guest whose dumps are measured. */
export const guest: () => Promise<Guest> = lazy(() => guestOf(gib));

/** Bytes on the disk beside what the dumps take. */
const MARGIN = 2 ** 30;

let current: { readonly kind: DumpKind; readonly path: string } | undefined;

/** The guest's raw image, which stays until the process ends. */
export const rawDump: () => Promise<string> = lazy(async () => {
  const path = workPath("guest.raw");
  writeRaw(await guest(), path);
  return path;
});

/**
 * Path of a dump of this kind: that of another kind is deleted.
 *
 * @returns `undefined` where it can't be written. @throws if there is no room for it.
 */
export async function dumpOf(kind: DumpKind): Promise<string | undefined> {
  if (kind.write === undefined) return undefined;
  const { bytes, end } = await guest();
  if (kind.write === writeRaw) return rawDump();
  if (current?.kind === kind) return current.path;
  dropDump();
  const path = workPath(`guest.${kind.extension ?? "dump"}`);
  needRoom(dirname(path), bytes + (existsSync(workPath("guest.raw")) ? 0 : end));
  kind.write(await guest(), path);
  current = { kind, path };
  return path;
}

/** Deletes the dump that is there, but for the raw image. */
export function dropDump(): void {
  if (current !== undefined) rmSync(current.path, { force: true });
  current = undefined;
}

/** @throws if the disk has no room for so many bytes. */
export function needRoom(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= bytes + MARGIN) return;
  throw new Error(
    `${folder} has ${Math.floor((bavail * bsize) / 2 ** 20)} MiB free, and ${Math.ceil((bytes + MARGIN) / 2 ** 20)} ` +
      "are needed: give another folder in TMPDIR, or a smaller guest with --gib",
  );
}
