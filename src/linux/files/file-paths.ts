/**
 * Opened files: where they lie, and which inode they are.
 *
 * Facts: include/linux/fs.h (`struct file`, `inode`, FMODE_BACKING, `file_user_path`, `file_user_inode`), fs/file_table.c
 * (`struct backing_file`), include/linux/kdev_t.h.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, needStruct, offsetOf, record, word } from "../objects/record.js";
import { findPlace } from "../types/member-path.js";
import { deviceText } from "./file-flags.js";
import { PathResolver } from "./path.js";

const FILE = record("file", {
  mount: word("f_path.mnt"),
  dentry: word("f_path.dentry"),
  inode: word("f_inode"),
  mode: int("f_mode"),
});
const INODE = record("inode", { number: word("i_ino"), superBlock: word("i_sb") });
const SUPER_BLOCK = record("super_block", { device: int("s_dev") });

/**
 * FMODE_BACKING, since 6.5 (62d53c4a1dfe): what overlayfs maps is a file of a file system below, in a `struct backing_file` that
 * tells where the user found it. Until 6.7 (def3ae83da02), the file itself said that, and `backing_file` where it really is.
 */
const BACKING = 0x200_0000;
const BACKING_FILE = record("backing_file", {
  mount: word("user_path.mnt"),
  dentry: word("user_path.dentry"),
});
const DENTRY = record("dentry", { inode: word("d_inode") });

/** A file that is open, or mapped. @internal */
export interface OpenFile {
  readonly path: string | undefined;
  readonly inode: bigint | undefined;
  /** Major and minor number of its file system: `8:1`. */
  readonly device: string | undefined;
}

/** Reads the files of pointers to `struct file`; `undefined` for null and for what can't be read. @internal */
export function* readFiles(
  data: KernelData,
  pointers: readonly bigint[],
  report: OnDamage,
): Routine<(OpenFile | undefined)[]> {
  const files = yield* seenFiles(data, pointers, report);
  const inodes = yield* readEach(
    data,
    INODE,
    files.map((file) => file?.inode),
    "an inode",
    report,
  );
  const supers = yield* readEach(
    data,
    SUPER_BLOCK,
    inodes.map((inode) => inode?.superBlock),
    "a super_block",
    report,
  );
  const resolver = new PathResolver(data, report);
  const known = files.filter((file) => file !== undefined);
  const paths = yield* resolver.resolve(known.map(({ mount = 0n, dentry = 0n }) => ({ mount, dentry })));
  const pathOf = new Map(known.map((file, i) => [file, paths[i]]));
  return files.map((file, i) =>
    file === undefined
      ? undefined
      : { path: pathOf.get(file), inode: inodes[i]?.number, device: deviceOf(supers[i]?.device) },
  );
}

function deviceOf(device: number | undefined): string | undefined {
  return device === undefined ? undefined : deviceText(device);
}

/** Files as the user sees them: those that back others, by what they back. */
function* seenFiles(data: KernelData, pointers: readonly bigint[], report: OnDamage) {
  const { types } = data;
  const files = yield* readEach(data, FILE, pointers, "a struct file", report);
  const isBacking = files.map((file) => ((file?.mode ?? 0) & BACKING) !== 0);
  if (!isBacking.includes(true) || !hasStruct(types, "backing_file")) return files;
  if (findPlace(needStruct(types, "backing_file"), "user_path") === undefined) return files;
  const inner = BigInt(offsetOf(types, "backing_file", "file"));
  const outer = pointers.map((pointer, i) => (isBacking[i] ? BigInt.asUintN(64, pointer - inner) : 0n));
  const seen = yield* readEach(data, BACKING_FILE, outer, "a backing_file", report);
  const dentries = yield* readEach(
    data,
    DENTRY,
    seen.map((each) => each?.dentry),
    "a dentry",
    report,
  );
  return files.map((file, i) => {
    const path = seen[i];
    if (!isBacking[i]) return file;
    // (Whose path can't be read has none: its own is one of a file system below.)
    return path === undefined ? undefined : { ...path, inode: dentries[i]?.inode ?? 0n };
  });
}
