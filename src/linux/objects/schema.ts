/**
 * What the compiler knows of the kernel's commonest structures, for completion and types of values. It is no layout: where a member
 * lies, and whether it is there, is the kernel's own BTF's to say. Other structures and members work as well; their values are `any`.
 *
 * Add to it by declaration merging: `declare module "memtool" { interface KernelStructs { my_struct: { member: number } } }`.
 *
 * Facts: include/linux/sched.h, mm_types.h, fs.h, dcache.h, path.h, cred.h, module.h, net/sock.h, mount.h of Linux 6.1 to 6.12.
 */
import type { ObjectApi } from "./object-api.js";

/** A pointer to something. */
export interface Ptr<T> {
  readonly pointerTo: T;
}
/** A structure or union by name. */
export interface StructOf<N extends string> {
  readonly struct: N;
}
/** An array. */
export interface ArrayOf<T> {
  readonly arrayOf: T;
}

type List = StructOf<"list_head">;
type HNode = StructOf<"hlist_node">;
type Id = { val: number };

/** Members of structures: `number` and `bigint` for integers of up to 32 and of 64 bits, `string` for text. */
export interface KernelStructs {
  list_head: { next: Ptr<List>; prev: Ptr<List> };
  hlist_head: { first: Ptr<HNode> };
  hlist_node: { next: Ptr<HNode>; pprev: Ptr<Ptr<HNode>> };
  llist_head: { first: Ptr<StructOf<"llist_node">> };
  llist_node: { next: Ptr<StructOf<"llist_node">> };
  rb_root: { rb_node: Ptr<StructOf<"rb_node">> };
  rb_root_cached: { rb_root: StructOf<"rb_root">; rb_leftmost: Ptr<StructOf<"rb_node">> };
  rb_node: {
    __rb_parent_color: bigint;
    rb_left: Ptr<StructOf<"rb_node">>;
    rb_right: Ptr<StructOf<"rb_node">>;
  };
  xarray: { xa_flags: number; xa_head: Ptr<unknown> };
  idr: { idr_rt: StructOf<"xarray">; idr_base: number; idr_next: number };
  maple_tree: { ma_root: Ptr<unknown>; ma_flags: number };
  atomic_t: { counter: number };
  refcount_struct: { refs: StructOf<"atomic_t"> };
  kref: { refcount: StructOf<"refcount_struct"> };
  kuid_t: Id;
  kgid_t: Id;
  task_struct: {
    __state: number;
    flags: number;
    pid: number;
    tgid: number;
    prio: number;
    exit_state: number;
    exit_code: number;
    comm: string;
    tasks: List;
    children: List;
    sibling: List;
    thread_node: List;
    thread_group: List;
    start_time: bigint;
    start_boottime: bigint;
    utime: bigint;
    stime: bigint;
    real_parent: Ptr<StructOf<"task_struct">>;
    parent: Ptr<StructOf<"task_struct">>;
    group_leader: Ptr<StructOf<"task_struct">>;
    mm: Ptr<StructOf<"mm_struct">>;
    active_mm: Ptr<StructOf<"mm_struct">>;
    cred: Ptr<StructOf<"cred">>;
    real_cred: Ptr<StructOf<"cred">>;
    fs: Ptr<StructOf<"fs_struct">>;
    files: Ptr<StructOf<"files_struct">>;
    nsproxy: Ptr<StructOf<"nsproxy">>;
    signal: Ptr<StructOf<"signal_struct">>;
    thread_pid: Ptr<StructOf<"pid">>;
    stack: Ptr<unknown>;
  };
  signal_struct: {
    nr_threads: number;
    thread_head: List;
    group_exit_code: number;
    pids: ArrayOf<Ptr<StructOf<"pid">>>;
    tty: Ptr<StructOf<"tty_struct">>;
  };
  pid: { level: number; numbers: ArrayOf<StructOf<"upid">> };
  upid: { nr: number; ns: Ptr<StructOf<"pid_namespace">> };
  pid_namespace: {
    idr: StructOf<"idr">;
    level: number;
    parent: Ptr<StructOf<"pid_namespace">>;
    child_reaper: Ptr<StructOf<"task_struct">>;
    ns: StructOf<"ns_common">;
  };
  ns_common: { inum: number };
  nsproxy: {
    uts_ns: Ptr<StructOf<"uts_namespace">>;
    ipc_ns: Ptr<StructOf<"ipc_namespace">>;
    mnt_ns: Ptr<StructOf<"mnt_namespace">>;
    pid_ns_for_children: Ptr<StructOf<"pid_namespace">>;
    net_ns: Ptr<StructOf<"net">>;
  };
  cred: {
    uid: StructOf<"kuid_t">;
    gid: StructOf<"kgid_t">;
    suid: StructOf<"kuid_t">;
    sgid: StructOf<"kgid_t">;
    euid: StructOf<"kuid_t">;
    egid: StructOf<"kgid_t">;
    fsuid: StructOf<"kuid_t">;
    fsgid: StructOf<"kgid_t">;
  };
  mm_struct: {
    mm_mt: StructOf<"maple_tree">;
    mmap: Ptr<StructOf<"vm_area_struct">>;
    pgd: Ptr<unknown>;
    map_count: number;
    total_vm: bigint;
    start_code: bigint;
    end_code: bigint;
    start_data: bigint;
    end_data: bigint;
    start_brk: bigint;
    brk: bigint;
    start_stack: bigint;
    arg_start: bigint;
    arg_end: bigint;
    env_start: bigint;
    env_end: bigint;
    exe_file: Ptr<StructOf<"file">>;
    owner: Ptr<StructOf<"task_struct">>;
  };
  vm_area_struct: {
    vm_start: bigint;
    vm_end: bigint;
    vm_mm: Ptr<StructOf<"mm_struct">>;
    vm_flags: bigint;
    vm_pgoff: bigint;
    vm_file: Ptr<StructOf<"file">>;
    vm_next: Ptr<StructOf<"vm_area_struct">>;
  };
  fs_struct: { root: StructOf<"path">; pwd: StructOf<"path">; umask: number };
  files_struct: { fdt: Ptr<StructOf<"fdtable">>; next_fd: number };
  fdtable: { max_fds: number; fd: Ptr<Ptr<StructOf<"file">>>; open_fds: Ptr<bigint> };
  file: {
    f_path: StructOf<"path">;
    f_inode: Ptr<StructOf<"inode">>;
    f_op: Ptr<StructOf<"file_operations">>;
    f_flags: number;
    f_mode: number;
    f_pos: bigint;
    private_data: Ptr<unknown>;
  };
  path: { mnt: Ptr<StructOf<"vfsmount">>; dentry: Ptr<StructOf<"dentry">> };
  dentry: {
    d_parent: Ptr<StructOf<"dentry">>;
    d_name: StructOf<"qstr">;
    d_inode: Ptr<StructOf<"inode">>;
    d_sb: Ptr<StructOf<"super_block">>;
    d_flags: number;
  };
  qstr: { hash: number; len: number; name: Ptr<number> };
  inode: {
    i_mode: number;
    i_ino: bigint;
    i_size: bigint;
    i_uid: StructOf<"kuid_t">;
    i_gid: StructOf<"kgid_t">;
    i_rdev: number;
    i_sb: Ptr<StructOf<"super_block">>;
    i_mapping: Ptr<StructOf<"address_space">>;
    i_nlink: number;
  };
  address_space: { host: Ptr<StructOf<"inode">>; i_pages: StructOf<"xarray">; nrpages: bigint };
  super_block: {
    s_list: List;
    s_dev: number;
    s_magic: bigint;
    s_id: string;
    s_root: Ptr<StructOf<"dentry">>;
    s_type: Ptr<StructOf<"file_system_type">>;
  };
  vfsmount: { mnt_root: Ptr<StructOf<"dentry">>; mnt_sb: Ptr<StructOf<"super_block">>; mnt_flags: number };
  mount: {
    mnt_parent: Ptr<StructOf<"mount">>;
    mnt_mountpoint: Ptr<StructOf<"dentry">>;
    mnt: StructOf<"vfsmount">;
    mnt_mounts: List;
    mnt_child: List;
    mnt_id: number;
    mnt_ns: Ptr<StructOf<"mnt_namespace">>;
    mnt_devname: Ptr<number>;
  };
  module: { list: List; name: string; state: string | number; source_list: List; num_symtab: number };
  net: { list: List; ns: StructOf<"ns_common">; dev_base_head: List };
  socket: { state: string | number; type: number; sk: Ptr<StructOf<"sock">>; file: Ptr<StructOf<"file">> };
  sock: {
    sk_protocol: number;
    sk_type: number;
    sk_socket: Ptr<StructOf<"socket">>;
    __sk_common: StructOf<"sock_common">;
  };
  sock_common: { skc_family: number; skc_state: number; skc_num: number; skc_dport: number };
  page: { flags: bigint; _refcount: StructOf<"atomic_t"> };
}

/** Types of the kernel's variables, as names of types. */
export interface KernelVariables {
  init_task: StructOf<"task_struct">;
  init_mm: StructOf<"mm_struct">;
  init_pid_ns: StructOf<"pid_namespace">;
  init_nsproxy: StructOf<"nsproxy">;
  init_net: StructOf<"net">;
  modules: List;
  super_blocks: List;
}

/** What the schema does not know: nobody checks its use. */
// biome-ignore lint/suspicious/noExplicitAny: that is what it is for.
export type Unlisted = any;

type IsAny<T> = 0 extends 1 & T ? true : false;
type StructMembers<N> = N extends keyof KernelStructs ? KernelStructs[N] : Record<never, never>;

/** What `$.read()` gives of a description. */
export type ValueOf<T> =
  IsAny<T> extends true
    ? Unlisted
    : unknown extends T
      ? Unlisted
      : T extends Ptr<unknown>
        ? bigint
        : T extends StructOf<infer N>
          ? { readonly [K in keyof StructMembers<N>]: ValueOf<StructMembers<N>[K]> } & {
              readonly [member: string]: Unlisted;
            }
          : T extends ArrayOf<infer E>
            ? ValueOf<E>[]
            : T;

/** The members of an object, which are objects. */
type Members<T> =
  IsAny<T> extends true
    ? { readonly [member: string]: Unlisted }
    : unknown extends T
      ? { readonly [member: string]: Unlisted }
      : T extends StructOf<infer N>
        ? { readonly [K in keyof StructMembers<N>]: KernelObject<StructMembers<N>[K]> } & {
            readonly [member: string]: Unlisted;
          }
        : T extends Ptr<infer P>
          ? P extends StructOf<string>
            ? Members<P>
            : { readonly [index: number]: KernelObject<P> }
          : T extends ArrayOf<infer E>
            ? { readonly [index: number]: KernelObject<E>; readonly length: number }
            : T extends string
              ? { readonly [index: number]: KernelObject<number>; readonly length: number }
              : unknown;

/** An object of the kernel: its members are properties, and objects themselves; everything else is under `$`. */
export type KernelObject<T = Unlisted> = { readonly $: ObjectApi<T> } & Members<T>;

type Trim<S extends string> = S extends ` ${infer R}` ? Trim<R> : S extends `${infer R} ` ? Trim<R> : S;

/** Names of integers of up to 32 bits, and of those of 64. (`long` is shorter on 32-bit machines; its values are numbers there.) */
type Narrow =
  | "char"
  | "short"
  | "int"
  | "unsigned char"
  | "unsigned short"
  | "unsigned int"
  | "u8"
  | "u16"
  | "u32"
  | "s32";
type Wide = "u64" | "s64" | "unsigned long long" | "long long";

/** What a type's name means, as far as the schema goes; `any` otherwise. */
export type TypeOfName<S extends string> = string extends S
  ? Unlisted
  : S extends `${infer T}*`
    ? Ptr<TypeOfName<Trim<T>>>
    : S extends `struct ${infer N}`
      ? N extends keyof KernelStructs
        ? StructOf<N>
        : Unlisted
      : S extends keyof KernelStructs
        ? StructOf<S>
        : S extends Narrow
          ? number
          : S extends Wide
            ? bigint
            : Unlisted;

/** What a path of members leads to, as far as the schema goes. */
type Step<T, K extends string> =
  IsAny<T> extends true
    ? Unlisted
    : T extends Ptr<infer P>
      ? Step<P, K>
      : T extends StructOf<infer N>
        ? K extends keyof StructMembers<N>
          ? StructMembers<N>[K]
          : Unlisted
        : Unlisted;
/** The description at the end of a path. */
export type AtPath<T, P extends string> = P extends `${string}[${string}`
  ? Unlisted
  : P extends `${infer H}.${infer R}`
    ? AtPath<Step<T, H>, R>
    : Step<T, P>;

/** Names of members that the schema knows. */
type KnownPaths<T> =
  T extends Ptr<infer P>
    ? KnownPaths<P>
    : T extends StructOf<infer N>
      ? keyof StructMembers<N> & string
      : never;

/** Any path; completion offers the members that the schema knows. */
export type PathOf<T> = KnownPaths<T> | (string & Record<never, never>);

/** Values by path. */
export type FieldValues<T, P extends string> = { readonly [K in P]: ValueOf<AtPath<T, K>> };
