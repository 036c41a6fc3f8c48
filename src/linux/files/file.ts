/**
 * Open files of processes: by descriptor, and those that a process has without one (its directories, its program).
 *
 * Facts: include/linux/fdtable.h (`struct fdtable`, `files_struct`), include/linux/fs.h (`struct file`, `inode`),
 * include/linux/fs_struct.h; fs/proc/fd.c (`seq_show`) and fs/proc/base.c (`proc_cwd_link`, `proc_exe_link`) for what is shown.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, place, record, type Values, word } from "../objects/record.js";
import { needTasks, type Task } from "../tasks/task.js";
import { CLOSE_ON_EXEC, type FileType, fileFlagNames, fileType } from "./file-flags.js";
import { type FoundPath, PathResolver, shownPath } from "./path.js";

const FILES = record("files_struct", { table: word("fdt"), first: place("fdtab") });
const TABLE = record("fdtable", {
  count: int("max_fds"),
  files: word("fd"),
  closeOnExec: word("close_on_exec"),
  open: word("open_fds"),
});
const FILE = record("file", {
  mount: word("f_path.mnt"),
  dentry: word("f_path.dentry"),
  inode: word("f_inode"),
  flags: int("f_flags"),
  position: int("f_pos"),
});
const INODE = record("inode", {
  mode: int("i_mode"),
  ino: word("i_ino"),
  sb: word("i_sb"),
  device: int("i_rdev"),
});
const SUPER_BLOCK = record("super_block", { device: int("s_dev") });
const FS = record("fs_struct", {
  rootMount: word("root.mnt"),
  rootDentry: word("root.dentry"),
  cwdMount: word("pwd.mnt"),
  cwdDentry: word("pwd.dentry"),
});
const DENTRY = record("dentry", { inode: word("d_inode") });
const MM = record("mm_struct", { exe: maybe(word("exe_file")) });

/** Descriptors that are looked at in a table: more than that is not believed. (fs.nr_open is 2^20 by default.) */
const MAX_DESCRIPTORS = 1 << 22;
/** Descriptors that are read at once: a page of bits, 256 KiB of pointers at most. */
const PIECE = 1 << 15;

/** What a process has without a descriptor: its working and root directories and its program, as `lsof` names them. */
export type FileRole = "cwd" | "rtd" | "txt";

/** An open file of a process. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface OpenFile {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  /** Its descriptor, or what else it is to the process. */
  readonly fd: number | FileRole;
  /** As the links of /proc/PID/fd: a path, or a name such as `pipe:[1234]`. */
  readonly path: string | undefined;
  /** Whether its mount is in no namespace any more (`umount -l`): the path begins there, as the kernel shows it. */
  readonly unmounted: boolean;
  readonly type: FileType | undefined;
  /** Bytes (rounded above 2^53, where only memory itself is read); `null` without a descriptor. */
  readonly position: number | null | undefined;
  /** As `open` takes them, O_CLOEXEC by this descriptor; `null` without a descriptor. */
  readonly flags: number | null | undefined;
  /** Their names. */
  readonly flagNames: readonly string[] | null | undefined;
  readonly inode: bigint | undefined;
  /** The device of its file system, as the kernel numbers it: see `deviceText`. */
  readonly device: number | undefined;
  /** For device files: which. */
  readonly special: number | undefined;
  /** Address of its `struct file`; `null` for directories. */
  readonly file: bigint | null;
}

/** Options of {@link listFiles}. */
export interface OpenFileOptions extends DamageOptions {
  /** Only the process of this number. */
  readonly pid?: number | undefined;
}

/** Open files of every process (those of its first thread, as /proc has them): its directories and program first, then by descriptor. */
export function listFiles(kernel: LinuxKernel, options: OpenFileOptions = {}): IoSequence<OpenFile> {
  return IoSequence.of(kernel.memory.scheduler, filesRoutine, kernel, options);
}

/** A file before its path is known. */
interface Handle {
  readonly fd: number | FileRole;
  readonly file: bigint | null;
  readonly closeOnExec: boolean;
  readonly mount: bigint;
  readonly dentry: bigint;
}

function* filesRoutine(sink: Sink<OpenFile>, kernel: LinuxKernel, options: OpenFileOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const paths = new PathResolver(data, log.report);
  const tasks = yield* needTasks(data, options.pid, log.report);
  for (const task of tasks) {
    for (const each of yield* openFiles(
      data,
      task,
      yield* placesOf(data, task, log.report),
      paths,
      log.report,
    )) {
      yield sink.emit(each);
    }
    const descriptors = new Descriptors(data, task, log.report);
    for (;;) {
      const piece = yield* descriptors.next();
      if (piece === undefined) break;
      for (const each of yield* openFiles(data, task, piece, paths, log.report)) yield sink.emit(each);
    }
  }
  log.end();
}

/** Its directories and its program. */
function* placesOf(data: KernelData, task: Task, report: OnDamage): Routine<Handle[]> {
  const [fs] = yield* readEach(data, FS, [task.raw.fs], "an fs_struct", report);
  const [mm] = yield* readEach(data, MM, [task.mm], "an mm_struct", report);
  const found: Handle[] = [];
  if (fs !== undefined) {
    const none = { file: null, closeOnExec: false };
    const { cwdMount = 0n, cwdDentry = 0n, rootMount = 0n, rootDentry = 0n } = fs;
    found.push({ fd: "cwd", mount: cwdMount, dentry: cwdDentry, ...none });
    found.push({ fd: "rtd", mount: rootMount, dentry: rootDentry, ...none });
  }
  if (mm?.exe !== undefined && mm.exe !== 0n) {
    const [exe] = yield* readEach(data, FILE, [mm.exe], "a file", report);
    const { mount = 0n, dentry = 0n } = exe ?? {};
    found.push({ fd: "txt", file: mm.exe, closeOnExec: false, mount, dentry });
  }
  return found;
}

/** A table that can be listed: the rest of it may be missing. */
type Table = Partial<Values<typeof TABLE.fields>> & { readonly files: bigint };

/** The table of a process's descriptors, a piece at a time. @internal */
export class Descriptors {
  readonly #data: KernelData;
  readonly #task: Task;
  readonly #report: OnDamage;
  #table: Table | undefined;
  #next = 0;
  #count = -1;

  constructor(data: KernelData, task: Task, report: OnDamage) {
    this.#data = data;
    this.#task = task;
    this.#report = report;
  }

  /** `undefined` once there are no more. */
  *next(): Routine<Handle[] | undefined> {
    if (this.#count < 0) yield* this.#open();
    if (this.#next >= this.#count || this.#table === undefined) return undefined;
    const from = this.#next;
    const count = Math.min(PIECE, this.#count - from);
    this.#next += count;
    return yield* this.#piece(this.#table, from, count);
  }

  *#open(): Routine<void> {
    this.#count = 0;
    const [files] = yield* readEach(
      this.#data,
      FILES,
      [this.#task.raw.files],
      "a files_struct",
      this.#report,
    );
    const [fdtable] = yield* readEach(this.#data, TABLE, [files?.table], "an fdtable", this.#report);
    if (fdtable?.files === undefined) return;
    this.#table = { ...fdtable, files: fdtable.files };
    const { count, open, closeOnExec } = this.#table;
    const table = files?.table as bigint;
    // A first, small table lies in the files_struct; of others, the two bitmaps lie one behind the other (`alloc_fdtable`).
    const isFirst = table === files?.first;
    const bits = open === undefined || closeOnExec === undefined ? undefined : 8 * Number(closeOnExec - open);
    const room = isFirst ? 8 * this.#data.memory.pointerSize : (bits ?? count ?? 0);
    this.#count = Math.max(0, Math.min(count ?? room, room, MAX_DESCRIPTORS));
    if (count === undefined || this.#count === count) return;
    const more = `${count} descriptors can't be: ${this.#count} are looked at`;
    this.#report(damage("an fdtable", table, "too long", 0, more));
  }

  *#piece(table: Table, from: number, count: number): Routine<Handle[] | undefined> {
    const { memory } = this.#data;
    const what = `the descriptors of process ${this.#task.pid ?? "?"}`;
    const open = yield* bitsAt(memory, table.open, from, count);
    const closing = yield* bitsAt(memory, table.closeOnExec, from, count);
    const { pointerSize: size } = memory;
    const slots = yield* memory.readPartial(
      BigInt.asUintN(64, table.files + BigInt(from * size)),
      count * size,
    );
    for (const hole of [...(open?.holes ?? []), ...(closing?.holes ?? []), ...slots.holes]) {
      this.#report(damage(what, table.files, "unreadable", hole.fault));
    }
    // Nothing of it is there: what is behind it is none either.
    const missing = slots.holes.reduce((sum, { start, end }) => sum + end - start, 0);
    if (missing === count * size) this.#count = 0;
    const known = (at: number) => !slots.holes.some(({ start, end }) => start <= at && at < end);
    const handles: Handle[] = [];
    for (const [i, pointer] of pointersIn(memory, slots.bytes).entries()) {
      // A slot may hold a file that is being opened or closed: the bits say which are. Where they are missing, all are.
      if (pointer === 0n || !known(i * size)) continue;
      if (open?.holes.length === 0 && !bit(open.bytes, i)) continue;
      const isClosing = closing?.holes.length === 0 && bit(closing.bytes, i);
      handles.push({ fd: from + i, file: pointer, closeOnExec: isClosing, mount: 0n, dentry: 0n });
    }
    return handles;
  }
}

/** A piece of one of a table's bitmaps; `undefined` if nobody knows where it is. */
function* bitsAt(memory: AddressSpace, at: bigint | undefined, from: number, count: number) {
  if (at === undefined) return undefined;
  return yield* memory.readPartial(BigInt.asUintN(64, at + BigInt(from / 8)), Math.ceil(count / 8));
}

/** Bits of the kernel's `unsigned long`s, on little-endian machines. */
function bit(bytes: Uint8Array, at: number): boolean {
  return (((bytes[at >>> 3] as number) >>> (at & 7)) & 1) === 1;
}

/** Reads what descriptors and directories lead to. */
function* openFiles(
  data: KernelData,
  task: Task,
  handles: readonly Handle[],
  paths: PathResolver,
  report: OnDamage,
): Routine<OpenFile[]> {
  if (handles.length === 0) return [];
  const files = yield* readEach(
    data,
    FILE,
    handles.map(({ file }) => file ?? undefined),
    "a file",
    report,
  );
  const pairs = handles.map((handle, i) => {
    const { mount = 0n, dentry = 0n } = files[i] ?? handle;
    return { mount, dentry };
  });
  const found = yield* paths.locate(pairs);
  const dentries = yield* readEach(
    data,
    DENTRY,
    handles.map(({ file }, i) => (file === null ? pairs[i]?.dentry : undefined)),
    "a dentry",
    report,
  );
  const inodes = yield* readEach(
    data,
    INODE,
    handles.map((_, i) => files[i]?.inode ?? dentries[i]?.inode),
    "an inode",
    report,
  );
  const supers = yield* readEach(
    data,
    SUPER_BLOCK,
    inodes.map((inode) => inode?.sb),
    "a super_block",
    report,
  );
  return handles.map(({ fd, file, closeOnExec }, i) => {
    const inode = inodes[i];
    const type = inode?.mode === undefined ? undefined : fileType(inode.mode);
    const isNumbered = typeof fd === "number";
    const flags = flagsOf(files[i]?.flags, closeOnExec);
    return {
      pid: task.pid,
      comm: task.comm,
      fd,
      path: shownPath(found[i] as FoundPath),
      unmounted: found[i]?.start === "detached",
      type,
      position: isNumbered ? files[i]?.position : null,
      flags: isNumbered ? flags : null,
      flagNames: !isNumbered
        ? null
        : flags === undefined
          ? undefined
          : fileFlagNames(flags, data.kernel.architecture),
      inode: inode?.ino,
      device: supers[i]?.device,
      special: type === "chr" || type === "blk" ? inode?.device : undefined,
      file,
    };
  });
}

function flagsOf(flags: number | undefined, closeOnExec: boolean): number | undefined {
  if (flags === undefined) return undefined;
  return ((flags & ~CLOSE_ON_EXEC) | (closeOnExec ? CLOSE_ON_EXEC : 0)) >>> 0;
}
