/**
 * What the numbers of open files mean: flags, and types of inodes.
 *
 * Facts: include/uapi/asm-generic/fcntl.h and, where an architecture has its own numbers, arch/arm64/include/uapi/asm/fcntl.h;
 * include/uapi/linux/stat.h; fs/proc/fd.c (`seq_show`) for which flags are shown.
 */
import type { KernelArch } from "../arch/kernel-arch.js";

/** O_CLOEXEC: kept a descriptor, not a file. */
export const CLOSE_ON_EXEC = 0o2000000;
/** By the lowest two bits. */
const ACCESS = ["O_RDONLY", "O_WRONLY", "O_RDWR"] as const;

const COMMON: readonly (readonly [number, string])[] = [
  [0o100, "O_CREAT"],
  [0o200, "O_EXCL"],
  [0o400, "O_NOCTTY"],
  [0o1000, "O_TRUNC"],
  [0o2000, "O_APPEND"],
  [0o4000, "O_NONBLOCK"],
  [0o20000, "O_ASYNC"],
  [0o1000000, "O_NOATIME"],
  [CLOSE_ON_EXEC, "O_CLOEXEC"],
  [0o10000000, "O_PATH"],
];

/** x86, RISC-V and most others. */
const GENERIC: readonly (readonly [number, string])[] = [
  [0o40000, "O_DIRECT"],
  [0o100000, "O_LARGEFILE"],
  [0o200000, "O_DIRECTORY"],
  [0o400000, "O_NOFOLLOW"],
];

const ARM: readonly (readonly [number, string])[] = [
  [0o40000, "O_DIRECTORY"],
  [0o100000, "O_NOFOLLOW"],
  [0o200000, "O_DIRECT"],
  [0o400000, "O_LARGEFILE"],
];

/** O_SYNC holds O_DSYNC's bit, and O_TMPFILE O_DIRECTORY's: they are told by both bits. */
const DSYNC = 0o10000;
const SYNC = 0o4010000;
const TMPFILE = 0o20000000;

/** Names of `open`'s flags that are set, the access mode first; a number for bits without a name. */
export function fileFlagNames(flags: number, architecture: KernelArch["architecture"]): string[] {
  const names: string[] = [ACCESS[flags & 3] ?? "O_ACCMODE"];
  let rest = flags & ~3;
  for (const [bit, name] of [...COMMON, ...(architecture === "aarch64" ? ARM : GENERIC)]) {
    if ((rest & bit) === 0) continue;
    names.push(name);
    rest &= ~bit;
  }
  if ((rest & SYNC) === SYNC) names.push("O_SYNC");
  else if ((rest & DSYNC) !== 0) names.push("O_DSYNC");
  if ((rest & TMPFILE) !== 0) names.push("O_TMPFILE");
  rest &= ~(SYNC | TMPFILE);
  if (rest !== 0) names.push(`0${(rest >>> 0).toString(8)}`);
  return names;
}

/** What an open file is: as `find -type` has it, by a word. `anon`: an inode without a type, as eventfd's. */
export type FileType = "reg" | "dir" | "chr" | "blk" | "fifo" | "sock" | "link" | "anon";

/** By the highest four bits of a mode. */
const TYPES: Readonly<Record<number, FileType>> = {
  1: "fifo",
  2: "chr",
  4: "dir",
  6: "blk",
  8: "reg",
  10: "link",
  12: "sock",
};

/** The type of an inode by its `i_mode`. */
export function fileType(mode: number): FileType {
  return TYPES[(mode >>> 12) & 0xf] ?? "anon";
}

/** A device's numbers as /proc shows them. @param device The kernel's own `dev_t` (include/linux/kdev_t.h: 12 bits, 20 bits). */
export function deviceText(device: number): string {
  return `${device >>> 20}:${device & 0xf_ffff}`;
}
