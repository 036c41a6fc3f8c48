/**
 * The mapped ranges of processes: what /proc/PID/maps shows, and how many of their pages are there.
 *
 * Facts: include/linux/mm_types.h (`struct vm_area_struct`, `mm_struct`), include/linux/mm.h (VM_…), fs/proc/task_mmu.c
 * (`show_map_vma`), mm/mmap.c (`special_mapping_name`), arch/x86/entry/vsyscall/vsyscall_64.c (`gate_vma`).
 */
import { hex, IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { walkChain } from "../objects/list.js";
import { walkMapleTrees } from "../objects/maple-tree.js";
import { readEach } from "../objects/read-each.js";
import {
  int,
  maybe,
  needStruct,
  offsetOf,
  place,
  type Row,
  record,
  type Values,
  word,
} from "../objects/record.js";
import { findPlace } from "../types/member-path.js";
import { readTasks, type Task } from "./task.js";
import { userEnd } from "./user-end.js";
import { type NamedVma, nameVmas } from "./vma-names.js";
import { countPages, type PageCounts } from "./vma-pages.js";

const READ = 0x1n;
const WRITE = 0x2n;
const EXECUTE = 0x4n;
/** May be shared: what /proc shows as `s`. (VM_SHARED is not set where a shared file can't be written.) */
const MAY_SHARE = 0x80n;

/** @internal */
export const VMA = record("vm_area_struct", {
  start: word("vm_start"),
  end: word("vm_end"),
  flags: word("vm_flags"),
  pageOffset: word("vm_pgoff"),
  file: word("vm_file"),
  ops: word("vm_ops"),
  privateData: word("vm_private_data"),
  // Since 5.17 (9a10064f5625).
  anonName: maybe(word("anon_name")),
});

/** @internal */
export const MM_RANGES = record("mm_struct", {
  // Since 6.1 (763ecb035029); before, a list.
  tree: maybe(place("mm_mt")),
  list: maybe(word("mmap")),
  startBrk: word("start_brk"),
  brk: word("brk"),
  startStack: word("start_stack"),
  // x86's; bit 1 says that the vsyscall page is in this address space, since 5.15 (1c1ae5ff8a8f).
  contextFlags: maybe(int("context.flags")),
});

/** A mapped range of a process. */
export interface Vma extends PageCounts {
  /** The process's number. */
  readonly pid: number | undefined;
  /** Name of the process. */
  readonly comm: string | undefined;
  /** From `start` to `end` (exclusive). */
  readonly start: bigint;
  readonly end: bigint;
  /** As in /proc/PID/maps: `rw-p`; the last letter is `s` for what may be shared. */
  readonly rights: string;
  /** Bytes from the beginning of the file; 0n without a file. */
  readonly offset: bigint;
  /** Path of the file, or what /proc shows instead: `[heap]`, `[stack]`, `[vdso]`, `[anon:name]`; "" for nothing. */
  readonly path: string | undefined;
  /** Of the file. */
  readonly inode: bigint | undefined;
  /** Of the file's file system: `8:1`; as /proc, in decimal. */
  readonly device: string | undefined;
  /** VM_… as they are. */
  readonly flags: bigint;
  /** Address of its `vm_area_struct`. */
  readonly address: bigint;
}

/** Options of {@link listVmas}. */
export interface VmaOptions extends DamageOptions {
  /** Only this process's. */
  readonly pid?: number | undefined;
  /** Whether to count pages, which takes a pass over each page table; default true. */
  readonly pages?: boolean | undefined;
}

/** Mapped ranges of all processes, or of one, ascending by address within each. */
export function listVmas(kernel: LinuxKernel, options: VmaOptions = {}): IoSequence<Vma> {
  return IoSequence.of(kernel.memory.scheduler, vmasRoutine, kernel, options);
}

/** Ranges of one process. @internal */
export interface TaskVmas {
  readonly task: Task;
  readonly mm: Partial<Values<typeof MM_RANGES.fields>>;
  readonly rows: readonly Row<Values<typeof VMA.fields>>[];
}

function* vmasRoutine(sink: Sink<Vma>, kernel: LinuxKernel, options: VmaOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const tasks = yield* readTasks(data, { pid: options.pid }, log.report);
  const found = yield* readVmas(data, tasks, log.report);
  const named = yield* nameVmas(data, found, log.report);
  for (const [i, { task, rows }] of found.entries()) {
    const ranges = (named[i] as NamedVma[]).filter((_, k) => rows[k]?.value !== undefined);
    const counts = yield* countPages(kernel, task, ranges, options.pages !== false, log.report);
    for (const [k, range] of ranges.entries()) {
      yield sink.emit({ ...vmaOf(data, task, range), ...(counts[k] as PageCounts) });
    }
  }
  log.end();
}

/** As in /proc/PID/maps. @internal */
export function vmaRights(flags: bigint): string {
  const letter = (bit: bigint, yes: string, no = "-") => ((flags & bit) === 0n ? no : yes);
  return letter(READ, "r") + letter(WRITE, "w") + letter(EXECUTE, "x") + letter(MAY_SHARE, "s", "p");
}

function vmaOf({ kernel }: KernelData, task: Task, range: NamedVma): Omit<Vma, keyof PageCounts> {
  const { value, address } = range;
  const { flags } = value;
  const pageSize = BigInt(kernel.vmcoreinfo.pageSize ?? 4096);
  return {
    pid: task.tgid,
    comm: task.comm,
    start: value.start,
    end: value.end,
    rights: vmaRights(flags),
    offset: value.file === 0n ? 0n : BigInt.asUintN(64, value.pageOffset * pageSize),
    path: range.path,
    inode: range.inode,
    device: range.device,
    flags,
    address,
  };
}

/** The ranges of each of some processes, ascending; processes without memory of their own have none. @internal */
export function* readVmas(data: KernelData, tasks: readonly Task[], report: OnDamage): Routine<TaskVmas[]> {
  const { types, memory } = data;
  const mms = yield* readEach(
    data,
    MM_RANGES,
    tasks.map(({ mm }) => mm),
    "an mm_struct",
    report,
  );
  const users = tasks.flatMap((task, i) => {
    const mm = mms[i];
    return mm === undefined ? [] : [{ task, mm }];
  });
  const addresses = yield* vmaAddresses(data, users, report);
  const gate = yield* gateVma(data);
  const all = yield* VMA.on(types).read(memory, addresses.flat());
  let at = 0;
  return users.map(({ task, mm }, i) => {
    const rows = all.slice(at, at + (addresses[i] as bigint[]).length);
    at += rows.length;
    for (const { address, value, fault } of rows) {
      if (value === undefined)
        report(damage(`a mapped range of process ${task.tgid}`, address, "unreadable", fault));
    }
    const sane = inOrder(data, task, rows, report);
    const hasGate = gate !== undefined && (mm.contextFlags === undefined || (mm.contextFlags & 2) !== 0);
    return { task, mm, rows: hasGate ? [...sane, gate] : sane };
  });
}

/** Those that can be ranges: of whole pages, not empty, and each behind the one before. The others are reported. */
function inOrder(
  { kernel }: KernelData,
  task: Task,
  rows: readonly Row<Values<typeof VMA.fields>>[],
  report: OnDamage,
): Row<Values<typeof VMA.fields>>[] {
  const pageSize = BigInt(kernel.vmcoreinfo.pageSize ?? 4096);
  // (What leads into the kernel's half would give its memory out as the process's.)
  const most = userEnd(kernel);
  let last = 0n;
  return rows.filter(({ address, value }) => {
    if (value === undefined) return false;
    const { start, end } = value;
    const isWhole = start % pageSize === 0n && end % pageSize === 0n;
    if (start < end && start >= last && end <= most && isWhole) {
      last = end;
      return true;
    }
    const what = `a mapped range of process ${task.tgid}`;
    report(
      damage(
        what,
        address,
        "invalid",
        0,
        `from ${hex(start)} to ${hex(end)}, ${end > most ? "which is the kernel's part" : `behind what ends at ${hex(last)}`}`,
      ),
    );
    return false;
  });
}

/** Addresses of the structures: of all processes side by side where they are trees. */
function* vmaAddresses(
  data: KernelData,
  users: readonly { task: Task; mm: TaskVmas["mm"] }[],
  report: OnDamage,
): Routine<bigint[][]> {
  const { types, memory } = data;
  if (findPlace(needStruct(types, "mm_struct"), "mm_mt") !== undefined) {
    const trees = users.map(({ mm }) => mm.tree as bigint);
    return yield* walkMapleTrees(memory, types, trees, "the tree of mapped ranges", report);
  }
  const next = offsetOf(types, "vm_area_struct", "vm_next");
  const found: bigint[][] = [];
  for (const { task, mm } of users) {
    const what = `the mapped ranges of process ${task.tgid}`;
    found.push(yield* walkChain(memory, mm.list ?? 0n, what, report, next));
  }
  return found;
}

/** x86-64's page of old system calls, which no tree of a process has; `undefined` where there is none. */
function* gateVma(data: KernelData): Routine<Row<Values<typeof VMA.fields>> | undefined> {
  const address = yield* symbolAddress(data, "gate_vma");
  if (address === undefined || data.kernel.architecture !== "x86_64") return undefined;
  const [row] = yield* VMA.on(data.types).read(data.memory, [address]);
  if (row?.value === undefined || row.value.start >= row.value.end) return undefined;
  // Without it (vsyscall=none), its rights are still those of a page that is never there.
  const mode = yield* symbolAddress(data, "vsyscall_mode");
  if (mode === undefined) return row;
  const { bytes, holes } = yield* data.memory.readPartial(mode, 4);
  // enum { EMULATE, XONLY, NONE }
  return holes.length === 0 && bytes[0] === 2 ? undefined : row;
}
