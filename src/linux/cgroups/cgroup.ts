/**
 * Control groups of processes, as /proc/PID/cgroup shows them to a process of the first cgroup namespace.
 *
 * Facts: include/linux/cgroup-defs.h (`struct css_set`, `cgroup`, `cgroup_root`, `cgroup_subsys_state`, CSS_ONLINE), kernel/cgroup/cgroup-internal.h
 * (`struct cgrp_cset_link`), kernel/cgroup/cgroup.c (`proc_cgroup_show`, `cgrp_dfl_root`, `cgroup_subsys`),
 * include/linux/kernfs.h, fs/kernfs/kernfs-internal.h (`struct kernfs_root`).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { DisjointLists } from "../objects/list.js";
import { pointersAt } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import {
  hasStruct,
  int,
  maybe,
  offsetOf,
  place,
  record,
  text,
  type Values,
  word,
} from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { needTasks } from "../tasks/task.js";
import { KernfsPaths } from "./kernfs-path.js";

const TASK = record("task_struct", { set: word("cgroups"), flags: int("flags") });
const SET = record("css_set", { defaultCgroup: maybe(word("dfl_cgrp")) });
const LINK = record("cgrp_cset_link", { cgroup: word("cgrp") });
const CGROUP = record("cgroup", { flags: int("self.flags"), node: word("kn"), root: word("root") });
const ROOT = record("cgroup_root", {
  mask: int("subsys_mask"),
  id: int("hierarchy_id"),
  name: text("name"),
});
/** A controller's part in a group. */
const STATE = record("cgroup_subsys_state", { controller: word("ss") });
const KERNFS = record("cgroup_root", {
  root: word("kf_root"),
  descendants: maybe(int("cgrp.nr_descendants")),
});
const SUPERS = record("kernfs_root", { head: place("supers"), first: word("supers.next") });
const CONTROLLER = record("cgroup_subsys", {
  name: word("name"),
  // Since 4.3 (3e1d2eed39d8): "blkio" is "io" in the second version.
  legacyName: maybe(word("legacy_name")),
});

const ONLINE = 1 << 1;
/** PF_EXITING, include/linux/sched.h. */
const EXITING = 0x4;
/** Bits of `subsys_mask`. */
const MAX_CONTROLLERS = 32;

/** A process's group in one hierarchy. What could not be read is `undefined`; `OnDamage` was told why. */
export interface Cgroup {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  /** The hierarchy's number; 0 is that of version 2. */
  readonly hierarchy: number | undefined;
  /** Of the interface. */
  readonly version: 1 | 2;
  /** The hierarchy's name, as systemd's has one in version 1; else "". */
  readonly name: string | undefined;
  /** The hierarchy's controllers: "memory", "pids" … (/proc leaves out those of version 2.) */
  readonly controllers: readonly string[] | undefined;
  readonly path: string | undefined;
  /** Whether the group was removed while the process, a zombie, is still in it. */
  readonly deleted: boolean | undefined;
  /** Address of its `struct cgroup`. */
  readonly cgroup: bigint;
}

/** Options of {@link listCgroups}. */
export interface CgroupOptions extends DamageOptions {
  /** Only the process of this number. */
  readonly pid?: number | undefined;
}

/**
 * Groups of every process, one for each hierarchy, the newest hierarchy first. That of version 2 is left out if it was never
 * mounted, as the kernel does (or, of a kernel that lists functions only, if it is not mounted and has no groups). Nothing for a
 * kernel without control groups.
 */
export function listCgroups(kernel: LinuxKernel, options: CgroupOptions = {}): IoSequence<Cgroup> {
  return IoSequence.of(kernel.memory.scheduler, cgroupsRoutine, kernel, options);
}

/** A group without the process. */
interface Group {
  readonly address: bigint;
  readonly root: Partial<Values<typeof ROOT.fields>>;
  readonly version: 1 | 2;
  readonly path: string | undefined;
  readonly isOnline: boolean | undefined;
}

function* cgroupsRoutine(sink: Sink<Cgroup>, kernel: LinuxKernel, options: CgroupOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const { pid } = options;
  const tasks = yield* needTasks(data, pid, log.report);
  if (!hasStruct(data.types, "css_set")) return log.end();
  const raws = yield* readEach(
    data,
    TASK,
    tasks.map(({ address }) => address),
    "a task_struct",
    log.report,
  );
  const sets = [...new Set(raws.map((raw) => raw?.set))].filter(
    (set) => set !== undefined && set !== 0n,
  ) as bigint[];
  const groups = yield* groupsOfSets(data, sets, log.report);
  const controllers = yield* controllerNames(data, sets, log.report);
  for (const [i, task] of tasks.entries()) {
    const raw = raws[i];
    if (raw?.set === undefined) continue;
    for (const { address, root, version, path, isOnline } of groups.get(raw.set) ?? []) {
      const isZombieOfOld = version === 1 && ((raw.flags ?? 0) & EXITING) !== 0;
      yield sink.emit({
        pid: task.pid,
        comm: task.comm,
        hierarchy: root.id ?? (version === 2 ? 0 : undefined),
        version,
        name: root.name,
        controllers: root.mask === undefined ? undefined : controllersIn(root.mask, controllers, version),
        // Of a zombie, the first version's hierarchies show no group.
        path: isZombieOfOld ? "/" : path,
        deleted: version === 2 ? (isOnline === undefined ? undefined : !isOnline) : false,
        cgroup: address,
      });
    }
  }
  log.end();
}

/** The groups of sets of them: tasks with the same groups share a set. */
function* groupsOfSets(
  data: KernelData,
  sets: readonly bigint[],
  report: OnDamage,
): Routine<Map<bigint, Group[]>> {
  const { types, memory } = data;
  const head = BigInt(offsetOf(types, "css_set", "cgrp_links"));
  const node = BigInt(offsetOf(types, "cgrp_cset_link", "cgrp_link"));
  const rows = yield* readEach(data, SET, sets, "a css_set", report);
  const ofSets: bigint[][] = [];
  const lists = new DisjointLists(memory, "the groups of a css_set", report);
  for (const [i, set] of sets.entries()) {
    const nodes = yield* lists.walk(set + head);
    const links = yield* readEach(
      data,
      LINK,
      nodes.map((each) => each - node),
      "a cgrp_cset_link",
      report,
    );
    const pointers = new Set(links.map((link) => link?.cgroup));
    pointers.add(rows[i]?.defaultCgroup);
    ofSets.push([...pointers].filter((each) => each !== undefined && each !== 0n) as bigint[]);
  }
  const known = yield* readGroups(data, [...new Set(ofSets.flat())], report);
  const found = new Map<bigint, Group[]>();
  for (const [i, set] of sets.entries()) {
    const groups = (ofSets[i] as bigint[]).flatMap((address) => known.get(address) ?? []);
    found.set(
      set,
      groups.sort((a, b) => (b.root.id ?? 0) - (a.root.id ?? 0)),
    );
  }
  return found;
}

function* readGroups(
  data: KernelData,
  addresses: readonly bigint[],
  report: OnDamage,
): Routine<Map<bigint, Group>> {
  const cgroups = yield* readEach(data, CGROUP, addresses, "a cgroup", report);
  const rootPointers = cgroups.map((cgroup) => cgroup?.root);
  const roots = yield* readEach(data, ROOT, rootPointers, "a cgroup_root", report);
  const paths = yield* new KernfsPaths(data, report).resolve(cgroups.map((cgroup) => cgroup?.node));
  const defaultRoot = yield* symbolAddress(data, "cgrp_dfl_root");
  const isDefault = (address: bigint | undefined, root: { readonly id?: number } | undefined) =>
    defaultRoot === undefined ? root?.id === 0 : address === defaultRoot;
  const second = rootPointers.find((each, i) => isDefault(each, roots[i]));
  const isSecondVisible = yield* isVisible(data, second, report);
  const found = new Map<bigint, Group>();
  for (const [i, address] of addresses.entries()) {
    const cgroup = cgroups[i];
    const root = roots[i] ?? {};
    // Without that, which version it is of is unknown.
    const mark = defaultRoot === undefined ? root.id : cgroup?.root;
    if (cgroup === undefined || mark === undefined) continue;
    const version = mark === (defaultRoot ?? 0) ? 2 : 1;
    if (version === 2 && isSecondVisible === false) continue;
    const isOnline = cgroup.flags === undefined ? undefined : (cgroup.flags & ONLINE) !== 0;
    found.set(address, { address, root, version, path: paths[i], isOnline });
  }
  return found;
}

/** Whether version 2's hierarchy was ever mounted; `undefined` if nothing tells. */
function* isVisible(
  data: KernelData,
  root: bigint | undefined,
  report: OnDamage,
): Routine<boolean | undefined> {
  const said = yield* flagOf(data, "cgrp_dfl_visible");
  if (said !== undefined || root === undefined || !hasStruct(data.types, "kernfs_root")) return said;
  // Where no symbol names that variable: whether it is mounted now, or somebody made groups in it.
  const [hierarchy] = yield* readEach(data, KERNFS, [root], "a cgroup_root", report);
  const [supers] = yield* readEach(data, SUPERS, [hierarchy?.root], "a kernfs_root", report);
  if (supers?.first === undefined) return undefined;
  return supers.first !== supers.head || (hierarchy?.descendants ?? 0) > 0;
}

/** A `bool` of the kernel's; `undefined` if it has no such variable, or it can't be read. */
function* flagOf(data: KernelData, symbol: string): Routine<boolean | undefined> {
  const address = yield* symbolAddress(data, symbol);
  if (address === undefined) return undefined;
  const { bytes, holes } = yield* data.memory.readPartial(address, 1);
  return holes.length > 0 ? undefined : bytes[0] !== 0;
}

/** Names of controllers by their bit, in both versions. */
type ControllerNames = readonly (readonly [name: string | undefined, legacy: string | undefined])[];

function* controllerNames(
  data: KernelData,
  sets: readonly bigint[],
  report: OnDamage,
): Routine<ControllerNames> {
  const array = yield* symbolAddress(data, "cgroup_subsys");
  const ids = data.types.find("enum", "cgroup_subsys_id");
  const said = ids?.kind === "enum" ? ids.constant("CGROUP_SUBSYS_COUNT") : undefined;
  if (said === undefined) return [];
  const count = Math.min(Number(said), MAX_CONTROLLERS);
  const pointers =
    array === undefined
      ? yield* controllersOfSets(data, sets, count, report)
      : yield* controllersAt(data, "cgroup_subsys", array, count, report);
  const rows = yield* readEach(data, CONTROLLER, pointers, "a cgroup_subsys", report);
  const strings = [...rows.map((row) => row?.name), ...rows.map((row) => row?.legacyName ?? row?.name)];
  const names = yield* readStrings(data.memory, strings, "the name of a controller", report);
  return rows.map((_, i) => [names[i], names[rows.length + i]] as const);
}

/** An array of pointers, by the bit of what they point to; none if it can't be read. */
function* controllersAt(
  data: KernelData,
  what: string,
  array: bigint,
  count: number,
  report: OnDamage,
): Routine<bigint[]> {
  const pointers = yield* pointersAt(data.memory, array, count);
  if (typeof pointers !== "number") return pointers;
  report(damage(what, array, "unreadable", pointers));
  return [];
}

/** Controllers by way of the groups of a process, which has a part of each of them. */
function* controllersOfSets(
  data: KernelData,
  sets: readonly bigint[],
  count: number,
  report: OnDamage,
): Routine<bigint[]> {
  const at = BigInt(offsetOf(data.types, "css_set", "subsys"));
  for (const set of sets) {
    const parts = yield* controllersAt(data, "a css_set", set + at, count, report);
    if (parts.length === 0) continue;
    const states = yield* readEach(data, STATE, parts, "a cgroup_subsys_state", report);
    return states.map((state) => state?.controller ?? 0n);
  }
  return [];
}

function controllersIn(mask: number, names: ControllerNames, version: 1 | 2): string[] {
  const found: string[] = [];
  for (let bit = 0; bit < MAX_CONTROLLERS; bit++) {
    if (((mask >>> bit) & 1) === 0) continue;
    const [name, legacy] = names[bit] ?? [];
    found.push((version === 1 ? legacy : name) ?? `controller ${bit}`);
  }
  return found;
}
