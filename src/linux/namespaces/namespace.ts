/**
 * Namespaces: those that processes are in, those above them, and those of the network.
 *
 * Facts: include/linux/nsproxy.h, include/linux/ns_common.h, include/linux/pid_namespace.h, include/linux/user_namespace.h,
 * include/linux/pid.h, include/net/net_namespace.h; fs/proc/namespaces.c and kernel/pid.c (`task_active_pid_ns`) for what
 * /proc/PID/ns shows.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { networkNamespaces } from "../net/net-namespaces.js";
import { DamageLog, type DamageOptions, type OnDamage, once } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, maybe, needStruct, offsetOf, record, type Values, word } from "../objects/record.js";
import { checkLevel, MAX_LEVEL, NUMBER_OF_PID, STRUCT_PID } from "../tasks/inner-numbers.js";
import { needTasks, type Task } from "../tasks/task.js";
import { sizeOf } from "../types/c-type.js";

/** As in /proc/PID/ns. */
export type NamespaceType = "cgroup" | "ipc" | "mnt" | "net" | "pid" | "time" | "user" | "uts";

/** A namespace. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface Namespace {
  readonly type: NamespaceType;
  /** Its inode number: "mnt:[4026531841]" is the one of type `mnt` with that number. */
  readonly inode: number;
  /** Address of its structure. */
  readonly address: bigint;
  /** How deep it is below the first one; `null` for types that have no depth. */
  readonly level: number | null | undefined;
  /** Inode number of the one above it; `null` for the first one, and for types that have none. */
  readonly parent: number | null | undefined;
  /** Inode number of the user namespace that owns it, for a user namespace the one above it; `null` for the first. */
  readonly user: number | null | undefined;
  /** The user who made it, for user namespaces. */
  readonly uid: number | null | undefined;
  /** Processes in it, ascending. */
  readonly pids: readonly number[];
  /** Processes whose children come to be in it, where they are not themselves: `pid_for_children`, `time_for_children`. */
  readonly parentPids: readonly number[];
}

/** Options of {@link listNamespaces}. */
export interface NamespaceOptions extends DamageOptions {
  /** Only those of the process of this number. */
  readonly pid?: number | undefined;
}

const NSPROXY = record("nsproxy", {
  cgroup: maybe(word("cgroup_ns")),
  ipc: word("ipc_ns"),
  mnt: word("mnt_ns"),
  net: word("net_ns"),
  // Since 5.6 (769071ac9f20).
  time: maybe(word("time_ns")),
  timeForChildren: maybe(word("time_ns_for_children")),
  uts: word("uts_ns"),
  // Renamed in 2013 (c2b1df2eb420).
  pidForChildren: word("pid_ns_for_children", "pid_ns"),
});
const TASK = record("task_struct", {
  // Since 4.19 (2c4704756cab) not in an array.
  pid: word("thread_pid", "pids[0].pid"),
});
const PID = record("pid", { level: int("level") });
const NUMBER = record("upid", { namespace: word("ns") });
const CRED = record("cred", { user: word("user_ns") });

/** What every namespace has, whatever its structure. In 3.19 (435d5f4bb2cc) the number came to be in a structure of its own. */
const COMMON = {
  inode: int("ns.inum", "proc_inum"),
  user: maybe(word("user_ns")),
  parent: maybe(word("parent")),
  level: maybe(int("level")),
  uid: maybe(int("owner")),
} as const;

const PLANS = {
  cgroup: record("cgroup_namespace", COMMON),
  ipc: record("ipc_namespace", COMMON),
  mnt: record("mnt_namespace", COMMON),
  net: record("net", COMMON),
  pid: record("pid_namespace", COMMON),
  time: record("time_namespace", COMMON),
  user: record("user_namespace", COMMON),
  uts: record("uts_namespace", COMMON),
} as const;
const TYPES = Object.keys(PLANS) as NamespaceType[];

/** Types that lie in one another: others have members of these names that mean something else. */
const NESTED: ReadonlySet<NamespaceType> = new Set(["pid", "user"]);

/** Namespaces by type and number. Those that no process is in are there if one that is has them above it, or if they are of the network. */
export function listNamespaces(kernel: LinuxKernel, options: NamespaceOptions = {}): IoSequence<Namespace> {
  return IoSequence.of(kernel.memory.scheduler, namespacesRoutine, kernel, options);
}

type Found = Partial<Values<typeof COMMON>>;

/** Who is in a namespace. */
interface Members {
  readonly pids: number[];
  readonly parentPids: number[];
}

/** Namespaces of one type by their address. */
type Seen = Map<bigint, Members>;

function* namespacesRoutine(
  sink: Sink<Namespace>,
  kernel: LinuxKernel,
  options: NamespaceOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const { pid } = options;
  // (Some of what tasks have was read with them.)
  const report = once(log.report);
  const tasks = yield* needTasks(data, pid, report);
  const seen = yield* namespacesOfTasks(data, tasks, report);
  if (pid === undefined) {
    for (const net of yield* networkNamespaces(data, report)) see(seen.net, net);
  }
  const found = yield* readAll(data, seen, pid === undefined, report);
  for (const type of TYPES) {
    const inodeOf = (kind: NamespaceType, address: bigint | undefined) =>
      address === undefined ? undefined : address === 0n ? null : found[kind].get(address)?.inode;
    const list = [...seen[type]].flatMap(([address, members]) => {
      const each = found[type].get(address);
      // (Without its number, nobody knows it.)
      return each?.inode === undefined ? [] : [{ address, each, inode: each.inode, ...members }];
    });
    for (const { address, each, inode, pids, parentPids } of list.sort((a, b) => a.inode - b.inode)) {
      const isNested = NESTED.has(type);
      const above = isNested ? inodeOf(type, each.parent) : null;
      yield sink.emit({
        type,
        inode,
        address,
        level: isNested ? each.level : null,
        parent: above,
        user: type === "user" ? above : inodeOf("user", each.user),
        uid: type === "user" ? each.uid : null,
        pids: pids.sort((a, b) => a - b),
        parentPids: parentPids.filter((parent) => !pids.includes(parent)).sort((a, b) => a - b),
      });
    }
  }
  log.end();
}

function see(seen: Seen, address: bigint | undefined, pid?: number, isForChildren = false): void {
  if (address === undefined || address === 0n) return;
  let members = seen.get(address);
  if (members === undefined) {
    members = { pids: [], parentPids: [] };
    seen.set(address, members);
  }
  if (pid !== undefined) (isForChildren ? members.parentPids : members.pids).push(pid);
}

function* namespacesOfTasks(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<Record<NamespaceType, Seen>> {
  const seen = Object.fromEntries(TYPES.map((type) => [type, new Map()])) as Record<NamespaceType, Seen>;
  const proxies = yield* readEach(
    data,
    NSPROXY,
    tasks.map(({ raw }) => raw.nsproxy),
    "an nsproxy",
    report,
  );
  const creds = yield* readEach(
    data,
    CRED,
    tasks.map(({ raw }) => raw.realCred),
    "a cred",
    report,
  );
  const pidNamespaces = yield* pidNamespacesOf(data, tasks, report);
  for (const [i, { pid }] of tasks.entries()) {
    see(seen.pid, pidNamespaces[i], pid);
    see(seen.user, creds[i]?.user, pid);
    const proxy = proxies[i];
    if (proxy === undefined) continue;
    for (const type of ["cgroup", "ipc", "mnt", "net", "time", "uts"] as const) {
      see(seen[type], proxy[type], pid);
    }
    see(seen.pid, proxy.pidForChildren, pid, true);
    see(seen.time, proxy.timeForChildren, pid, true);
  }
  return seen;
}

/** The innermost namespace that each process has a number in; `undefined` for one that has none any more (it has ended). */
function* pidNamespacesOf(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<(bigint | undefined)[]> {
  const { types } = data;
  const addresses = tasks.map(({ address }) => address);
  const pointers = (yield* readEach(data, TASK, addresses, "a task_struct", report)).map((task) => task?.pid);
  const pids = yield* readEach(data, PID, pointers, STRUCT_PID, report);
  const size = BigInt(sizeOf(needStruct(types, "upid")));
  const first = BigInt(offsetOf(types, "pid", "numbers"));
  const places = pids.map((pid, i) => {
    const address = pointers[i] as bigint;
    const level = checkLevel(address, pid?.level, report);
    return level === undefined ? undefined : address + first + BigInt(level) * size;
  });
  const numbers = yield* readEach(data, NUMBER, places, NUMBER_OF_PID, report);
  return numbers.map((number) => number?.namespace);
}

/**
 * Reads namespaces, and those above them.
 *
 * @param more Whether those above are to be listed, too, or are only asked for their numbers.
 */
function* readAll(
  data: KernelData,
  seen: Record<NamespaceType, Seen>,
  more: boolean,
  report: OnDamage,
): Routine<Record<NamespaceType, Map<bigint, Found>>> {
  const found = Object.fromEntries(TYPES.map((type) => [type, new Map()])) as Record<
    NamespaceType,
    Map<bigint, Found>
  >;
  const users = new Set<bigint>();
  // User namespaces come last, as all others have one.
  for (const type of [...TYPES.filter((each) => each !== "user"), "user"] as NamespaceType[]) {
    const plan = PLANS[type];
    if (!hasStruct(data.types, plan.struct)) continue;
    let next = [...seen[type].keys()];
    if (type === "user") next = [...new Set([...next, ...users])];
    for (let level = 0; next.length > 0 && level <= MAX_LEVEL; level++) {
      const rows = yield* readEach(data, plan, next, `a ${type} namespace`, report);
      const above = new Set<bigint>();
      for (const [i, row] of rows.entries()) {
        const address = next[i] as bigint;
        if (row === undefined) continue;
        found[type].set(address, row);
        if (more) see(seen[type], address);
        if (type !== "user" && row.user !== undefined) users.add(row.user);
        if (NESTED.has(type) && row.parent !== undefined) above.add(row.parent);
      }
      next = [...above].filter((each) => each !== 0n && !found[type].has(each));
    }
  }
  return found;
}
