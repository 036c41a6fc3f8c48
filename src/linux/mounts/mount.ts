/**
 * Mounts of a mount namespace, as /proc/PID/mountinfo shows them to a process.
 *
 * Facts: fs/mount.h (`struct mount`, `mnt_namespace`), include/linux/mount.h (MNT_ flags), include/linux/fs.h (SB_ flags),
 * fs/proc_namespace.c (`show_mountinfo`), fs/pnode.c (`get_dominating_id`). A namespace's mounts are a list, and a tree since 6.8
 * (2eea9ce4310d).
 *
 * What a file system says of itself (`super_operations.show_options`, `show_devname`, `show_path`) is said by its code, which
 * can't be run here: `superOptions` are those that every file system has, `source` is what it was mounted from by name.
 */
import { IoSequence, MemtoolError, type Routine, type Sink } from "../../io/index.js";
import { PathResolver } from "../files/path.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { walkRbtree } from "../objects/rbtree.js";
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
import { readStrings } from "../objects/strings.js";
import { needTask, type Task } from "../tasks/task.js";
import { findPlace } from "../types/member-path.js";
import { isIdmapped, mountOptions, propagationOf, superOptions } from "./mount-flags.js";

const MOUNT = record("mount", {
  vfsmount: place("mnt"),
  parent: word("mnt_parent"),
  root: word("mnt.mnt_root"),
  sb: word("mnt.mnt_sb"),
  flags: int("mnt.mnt_flags"),
  // Since 5.12 (a6435940b62f); an idmap instead of a user namespace since 6.2 (256c8aed2b42).
  idmap: maybe(word("mnt.mnt_idmap")),
  userNamespace: maybe(word("mnt.mnt_userns")),
  name: word("mnt_devname"),
  master: word("mnt_master"),
  id: int("mnt_id"),
  group: int("mnt_group_id"),
  // Newer kernels have what was MNT_SHARED and MNT_UNBINDABLE here (fs/mount.h, T_SHARED).
  propagation: maybe(int("mnt_t_flags")),
});
const SUPER_BLOCK = record("super_block", {
  device: int("s_dev"),
  type: word("s_type"),
  subtype: maybe(word("s_subtype")),
  flags: word("s_flags"),
  userNamespace: word("s_user_ns"),
});
const TYPE = record("file_system_type", { name: word("name") });
const NSPROXY = record("nsproxy", { mounts: word("mnt_ns") });
const FS = record("fs_struct", { mount: word("root.mnt"), dentry: word("root.dentry") });

/** MNT_CURSOR, from 5.8 (9f6c61f96f2d) on while mounts were a list: no mount, but where somebody reads the list. */
const CURSOR = 0x1000_0000;
/** Masters of masters that are looked at. */
const MAX_MASTERS = 1024;

/** A mount. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface Mount {
  /** Address of its `struct mount`. */
  readonly address: bigint;
  readonly id: number;
  /** The id of the mount that it is on; its own for the topmost. */
  readonly parent: number | undefined;
  /** The device of its file system, as the kernel numbers it: see `deviceText`. */
  readonly device: number | undefined;
  /** The directory of the file system that is seen there. */
  readonly root: string | undefined;
  /** Where it is, from the root of the process. */
  readonly mountpoint: string | undefined;
  /** Whether the process can reach it: /proc shows no others. `undefined` if that can't be told. */
  readonly reachable: boolean | undefined;
  /** Of the mount: "rw", "nosuid" … */
  readonly options: readonly string[];
  /** The peer group that it shares its mounts with. */
  readonly shared: number | null;
  /** The peer group that it is a slave of. */
  readonly master: number | null | undefined;
  /** The nearest peer group above its master that the process can reach, if that is another one. */
  readonly propagateFrom: number | null;
  readonly unbindable: boolean;
  /** The file system, with its subtype: "ext4", "fuse.sshfs". */
  readonly type: string | undefined;
  /** What was mounted: "/dev/sda1", "proc"; "none" where nothing was named. */
  readonly source: string | undefined;
  /** Of the file system, those that all have: "rw", "sync" … */
  readonly superOptions: readonly string[] | undefined;
  /** Address of its `struct super_block`. */
  readonly superBlock: bigint;
}

/** Options of {@link listMounts}. */
export interface MountOptions extends DamageOptions {
  /** The process whose namespace, and whose view of it, is meant; default 1. */
  readonly pid?: number | undefined;
  /** Those that the process can't reach, too; default false. */
  readonly all?: boolean | undefined;
}

/**
 * Mounts of a process's namespace, in the kernel's order.
 *
 * @throws {MemtoolError} `NO_PROCESS`; `NO_NAMESPACE` for a process that has ended.
 */
export function listMounts(kernel: LinuxKernel, options: MountOptions = {}): IoSequence<Mount> {
  return IoSequence.of(kernel.memory.scheduler, mountsRoutine, kernel, options);
}

function* mountsRoutine(sink: Sink<Mount>, kernel: LinuxKernel, options: MountOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const pid = options.pid ?? 1;
  const task = yield* needTask(data, pid, log.report);
  for (const mount of yield* mountsOf(data, task, log.report)) {
    if (options.all === true || mount.reachable !== false) yield sink.emit(mount);
  }
  log.end();
}

/** Every mount of a process's namespace, seen from its root. */
function* mountsOf(data: KernelData, task: Task, report: OnDamage): Routine<Mount[]> {
  const [proxy] = yield* readEach(data, NSPROXY, [task.raw.nsproxy], "an nsproxy", report);
  const [fs] = yield* readEach(data, FS, [task.raw.fs], "an fs_struct", report);
  if (proxy?.mounts === undefined) {
    const why = task.raw.nsproxy === 0n ? "it has ended" : "they can't be read";
    throw new MemtoolError("NO_NAMESPACE", `process ${task.pid ?? "?"} has no namespaces: ${why}`);
  }
  const rows = yield* rowsOf(data, proxy.mounts, report);
  const paths = new PathResolver(data, report);
  const pairs = rows.map(({ vfsmount, root }) => ({ mount: vfsmount, dentry: root }));
  const { mount, dentry } = fs ?? {};
  const root = mount === undefined || dentry === undefined ? undefined : { mount, dentry };
  const found = yield* paths.locate(pairs, root);
  const roots = yield* paths.within(rows.map(({ root }) => root));
  const supers = yield* supersOf(data, rows, report);
  const parents = yield* readEach(
    data,
    MOUNT,
    rows.map(({ parent }) => parent),
    "a mount",
    report,
  );
  const names = yield* readStrings(
    data.memory,
    rows.map(({ name }) => name),
    "the name of a mount",
    report,
  );
  const masters = yield* mastersOf(data, rows, report);
  const noIdmap = yield* symbolAddress(data, "nop_mnt_idmap");
  const firstUsers = yield* symbolAddress(data, "init_user_ns");
  // Where paths can't be compared with the root (the process has none any more), they begin at the namespace's.
  const isReached = (i: number) => {
    const start = found[i]?.start;
    return start === undefined ? undefined : start === "root" || (root === undefined && start === "top");
  };
  const reachedGroups = new Set(rows.filter((_, i) => isReached(i)).map(({ group }) => group));
  return rows.map((row, i) => {
    const sb = supers[i];
    const { shared, unbindable } = propagationOf(row.flags, row.propagation);
    const groups = masters[i];
    const from = groups?.find((group) => reachedGroups.has(group));
    const mapped = isIdmapped(row, sb?.userNamespace, noIdmap, firstUsers);
    return {
      address: row.address,
      id: row.id,
      parent: parents[i]?.id,
      device: sb?.device,
      root: roots[i],
      mountpoint: found[i]?.path,
      reachable: isReached(i),
      options: mapped ? [...mountOptions(row.flags), "idmapped"] : mountOptions(row.flags),
      shared: shared ? row.group : null,
      master: row.master === 0n ? null : groups?.[0],
      propagateFrom: from === undefined || from === groups?.[0] ? null : from,
      unbindable,
      type: sb?.typeName,
      source: row.name === 0n ? "none" : names[i],
      superOptions: sb?.flags === undefined ? undefined : superOptions(Number(sb.flags)),
      superBlock: row.sb,
    };
  });
}

type MountRow = Values<typeof MOUNT.fields> & { readonly address: bigint };

/** What the namespace holds. */
function* rowsOf(data: KernelData, namespace: bigint, report: OnDamage): Routine<MountRow[]> {
  const { types, memory } = data;
  const type = needStruct(types, "mnt_namespace");
  const isTree = findPlace(type, "mounts.rb_node") !== undefined;
  const head = namespace + BigInt(offsetOf(types, "mnt_namespace", isTree ? "mounts" : "list"));
  const what = "the mounts of a namespace";
  const nodes = isTree
    ? yield* walkRbtree(memory, head, what, report)
    : yield* walkList(memory, head, what, report);
  const node = BigInt(offsetOf(types, "mount", isTree ? "mnt_node" : "mnt_list"));
  const rows = yield* MOUNT.on(types).read(
    memory,
    nodes.map((each) => each - node),
  );
  return readable(rows, report).filter(({ flags }) => isTree || (flags & CURSOR) === 0);
}

function readable(rows: readonly Row<Values<typeof MOUNT.fields>>[], report: OnDamage): MountRow[] {
  const found: MountRow[] = [];
  for (const { address, value, fault } of rows) {
    if (value === undefined) report(damage("a mount", address, "unreadable", fault));
    else found.push({ address, ...value });
  }
  return found;
}

type Super = Partial<Values<typeof SUPER_BLOCK.fields>> & { readonly typeName: string | undefined };

/** The file systems of mounts. */
function* supersOf(
  data: KernelData,
  rows: readonly MountRow[],
  report: OnDamage,
): Routine<(Super | undefined)[]> {
  const pointers = rows.map(({ sb }) => sb);
  const supers = yield* readEach(data, SUPER_BLOCK, pointers, "a super_block", report);
  const typePointers = supers.map((sb) => sb?.type);
  const types = yield* readEach(data, TYPE, typePointers, "a file_system_type", report);
  const strings = [...types.map((type) => type?.name), ...supers.map((sb) => sb?.subtype)];
  const names = yield* readStrings(data.memory, strings, "the name of a file system", report);
  return supers.map((sb, i) => {
    if (sb === undefined) return undefined;
    const name = names[i];
    const subtype = names[supers.length + i];
    const hasSubtype = name !== undefined && subtype !== undefined && subtype !== "";
    return { ...sb, typeName: hasSubtype ? `${name}.${subtype}` : name };
  });
}

/** For each mount the peer groups of its master, of that one's, and so on, as far as they can be read. */
function* mastersOf(data: KernelData, rows: readonly MountRow[], report: OnDamage): Routine<number[][]> {
  const groups: number[][] = rows.map(() => []);
  const seen = rows.map(({ address }) => new Set([address]));
  let next = rows.map(({ master }) => master);
  for (let level = 0; level < MAX_MASTERS && next.some((each) => each !== 0n); level++) {
    const masters: (Partial<Values<typeof MOUNT.fields>> | undefined)[] = yield* readEach(
      data,
      MOUNT,
      next,
      "the master of a mount",
      report,
    );
    next = masters.map((master, i) => {
      if (master?.group !== undefined) groups[i]?.push(master.group);
      if (master?.master === undefined) return 0n;
      if (seen[i]?.has(master.master) === true) {
        report(damage("the masters of a mount", master.master, "loop"));
        return 0n;
      }
      seen[i]?.add(master.master);
      return master.master;
    });
  }
  return groups;
}
