/** What the system knows of page frames: /proc/kpageflags and /proc/kpagecount, for those who may read them. */
import { closeSync, openSync, readSync } from "node:fs";

/** A page frame of this machine. */
export interface PageFrame {
  /** Names of its flags, as the kernel's documentation has them in lower case: `lru`, `anon`, `ksm`. */
  readonly flags: readonly string[];
  /** How many page-table entries map it. */
  readonly mapCount: number | undefined;
}

/** uapi/linux/kernel-page-flags.h, by bit. */
const FLAGS = [
  "locked",
  "error",
  "referenced",
  "uptodate",
  "dirty",
  "lru",
  "active",
  "slab",
  "writeback",
  "reclaim",
  "buddy",
  "mmap",
  "anon",
  "swapcache",
  "swapbacked",
  "compound-head",
  "compound-tail",
  "huge",
  "unevictable",
  "hwpoison",
  "nopage",
  "ksm",
  "thp",
  "offline",
  "zero-page",
  "idle",
  "pgtable",
];

/** @returns `undefined` where the system does not tell (rights, or a kernel without CONFIG_PROC_PAGE_MONITOR). */
export function readFrame(pfn: number): PageFrame | undefined {
  const flags = readEntry("/proc/kpageflags", pfn);
  if (flags === undefined) return undefined;
  const count = readEntry("/proc/kpagecount", pfn);
  return {
    flags: FLAGS.filter((_, bit) => ((flags >> BigInt(bit)) & 1n) !== 0n),
    mapCount: count === undefined ? undefined : Number(count),
  };
}

function readEntry(path: string, pfn: number): bigint | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    const entry = Buffer.alloc(8);
    return readSync(fd, entry, 0, 8, pfn * 8) === 8 ? entry.readBigUInt64LE() : undefined;
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}
