/**
 * Times of files: of every inode that is in memory.
 *
 * Facts: include/linux/fs.h (`struct inode`: `i_atime`, `i_mtime`, `i_ctime`, with two underscores since 6.6 and 6.7 (13bc24457850,
 * 12cd44023651), in parts since 6.11 (3aa63a569c64); I_CTIME_QUERIED since 6.13 (4e40eff0b573)); include/linux/shmem_fs.h, fs/ext4/ext4.h,
 * fs/btrfs/btrfs_inode.h, fs/f2fs/f2fs.h (when a file was made, beside `vfs_inode`).
 */
import type { Routine } from "../../io/index.js";
import { InodeNamer } from "../files/inode.js";
import type { KernelData } from "../kernel-data.js";
import { readModuleTypes } from "../modules/module-types.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, maybe, offsetOf, record, word } from "../objects/record.js";
import { inodeAddresses } from "../pagecache/list-cached-files.js";
import { SECOND } from "../time/clocks.js";
import type { TypeTable } from "../types/type-table.js";

const time = (name: string, part: "sec" | "nsec") =>
  word(`i_${name}_${part}`, `__i_${name}.tv_${part}`, `i_${name}.tv_${part}`);
const TIMES = record("inode", {
  accessed: time("atime", "sec"),
  accessedRest: time("atime", "nsec"),
  modified: time("mtime", "sec"),
  modifiedRest: time("mtime", "nsec"),
  changed: time("ctime", "sec"),
  changedRest: time("ctime", "nsec"),
});

/** Structures that know when a file was made, by the magic number of the file system. */
const MADE = new Map<bigint, { readonly struct: string; readonly module: string }>([
  [0x0102_1994n, { struct: "shmem_inode_info", module: "" }],
  [0xef53n, { struct: "ext4_inode_info", module: "ext4" }],
  [0x9123_683en, { struct: "btrfs_inode", module: "btrfs" }],
  [0xf2f5_2010n, { struct: "f2fs_inode_info", module: "f2fs" }],
]);
/** Says that the time was asked for since it changed. */
const QUERIED = 0x8000_0000n;
/** Inodes that are read at a time. */
const PIECE = 4096;

/** A time that an inode has. */
export interface InodeTime {
  readonly address: bigint;
  /** Nanoseconds since 1970, as the kernel has it. */
  readonly time: bigint;
  /** "accessed", "modified", "changed" (what the inode itself says), "made". */
  readonly what: readonly string[];
  /** As `InodeNamer` has it. */
  readonly name: string;
  /** Whether the nanoseconds are more than a second. */
  readonly isInvalid: boolean;
}

/** Times of all inodes that have a name or are open, those that are equal as one. @internal */
export function* inodeTimes(
  data: KernelData,
  report: OnDamage,
  take: (time: InodeTime) => void,
): Routine<void> {
  const namer = new InodeNamer(data, report);
  const tables = new Map<string, TypeTable | undefined>();
  const addresses = yield* inodeAddresses(data, report);
  for (let from = 0; from < addresses.length; from += PIECE) {
    const inodes = yield* namer.read(addresses.slice(from, from + PIECE));
    const named = yield* namer.name(inodes);
    const rows = yield* readEach(
      data,
      TIMES,
      named.map(({ address }) => address),
      "the times of an inode",
      report,
    );
    const made = yield* madeTimes(
      data,
      named.map(({ address, superBlock }) => ({ address, magic: superBlock?.magic ?? 0n })),
      tables,
      report,
    );
    for (const [i, { address, path, deleted, type, device, fields }] of named.entries()) {
      const row = rows[i];
      // (Sockets, pipes and such have no name, and no times of their own.)
      if (row === undefined || path === undefined || !hasTimes(type)) continue;
      const name = `${path}${deleted ? " (deleted)" : ""} (inode ${fields.number ?? "?"} of ${device ?? "?"})`;
      const found = new Map<bigint, { what: string[]; isInvalid: boolean }>();
      const add = (what: string, seconds: bigint | undefined, rest: bigint | undefined) => {
        if (seconds === undefined || rest === undefined) return;
        const signed = BigInt.asIntN(64, seconds);
        const nanoseconds = BigInt.asUintN(32, rest) & ~QUERIED;
        const at = signed * SECOND + nanoseconds;
        // (What was never set.)
        if (at === 0n) return;
        const same = found.get(at);
        if (same === undefined) found.set(at, { what: [what], isInvalid: nanoseconds >= SECOND });
        else same.what.push(what);
      };
      add("modified", row.modified, row.modifiedRest);
      add("accessed", row.accessed, row.accessedRest);
      add("changed", row.changed, row.changedRest);
      const [seconds, rest] = made[i] ?? [];
      add("made", seconds, rest);
      for (const [at, { what, isInvalid }] of found) take({ address, time: at, what, name, isInvalid });
    }
  }
}

function hasTimes(type: string | undefined): boolean {
  return type === undefined || ["reg", "dir", "link", "chr", "blk", "fifo"].includes(type);
}

/** When files were made, of file systems that keep it: seconds and nanoseconds. */
function* madeTimes(
  data: KernelData,
  inodes: readonly { readonly address: bigint; readonly magic: bigint }[],
  tables: Map<string, TypeTable | undefined>,
  report: OnDamage,
): Routine<(readonly [bigint | undefined, bigint | undefined] | undefined)[]> {
  const found: (readonly [bigint | undefined, bigint | undefined] | undefined)[] = inodes.map(
    () => undefined,
  );
  for (const [magic, { struct, module }] of MADE) {
    const mine = [...inodes.keys()].filter((i) => inodes[i]?.magic === magic);
    if (mine.length === 0) continue;
    if (!tables.has(struct)) tables.set(struct, yield* typesWith(data, struct, module));
    const types = tables.get(struct);
    if (types === undefined) continue;
    const plan = record(struct, {
      seconds: maybe(word("i_otime_sec", "i_crtime.tv_sec")),
      rest: maybe(word("i_otime_nsec", "i_crtime.tv_nsec")),
    });
    const offset = BigInt(offsetOf(types, struct, "vfs_inode"));
    const rows = yield* readEach(
      { types, memory: data.memory },
      plan,
      mine.map((i) => (inodes[i]?.address as bigint) - offset),
      `a ${struct}`,
      report,
    );
    for (const [k, i] of mine.entries()) found[i] = [rows[k]?.seconds, rows[k]?.rest];
  }
  return found;
}

/** The kernel's types, or a module's, that have a structure. */
function* typesWith(data: KernelData, struct: string, module: string): Routine<TypeTable | undefined> {
  if (hasStruct(data.types, struct)) return data.types;
  if (module === "") return undefined;
  try {
    const types = yield* readModuleTypes(data.kernel, module);
    return hasStruct(types, struct) ? types : undefined;
  } catch {
    // The file system is not loaded, or has no types: when files were made is then not told.
    return undefined;
  }
}
