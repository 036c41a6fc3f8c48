/** Opened files: where they lie, and which inode they are. Facts: include/linux/fs.h (`struct file`, `inode`), include/linux/kdev_t.h. */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { int, record, word } from "../objects/record.js";
import { deviceText } from "./file-flags.js";
import { PathResolver } from "./path.js";

const FILE = record("file", {
  mount: word("f_path.mnt"),
  dentry: word("f_path.dentry"),
  inode: word("f_inode"),
});
const INODE = record("inode", { number: word("i_ino"), superBlock: word("i_sb") });
const SUPER_BLOCK = record("super_block", { device: int("s_dev") });

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
  const files = yield* readEach(data, FILE, pointers, "a struct file", report);
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
