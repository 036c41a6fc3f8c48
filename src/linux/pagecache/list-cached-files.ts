/**
 * Files that have pages in memory: every inode of every file system, and those that only a process still has.
 *
 * Facts: fs/super.c (`super_blocks`), include/linux/fs.h (`s_inodes`, `i_sb_list`; `s_list`), fs/inode.c (`inode_sb_list_add`: what
 * `new_inode` makes is on the list of its file system until it is thrown out, whether it has a name or not), block/bdev.c (the inodes
 * of block devices are those of a file system of their own).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { type InodeFields, InodeNamer, type NamedInode } from "../files/inode.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage, once } from "../objects/damage.js";
import { DisjointLists, walkList } from "../objects/list.js";
import { readEach } from "../objects/read-each.js";
import { offsetOf, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { findPageArray, type PageArray } from "../pages/index.js";
import { needTasks, readTasks } from "../tasks/task.js";
import type { CachedFile, CachedName, CachedRun, FileRange } from "./cached-file.js";
import { mappingUsers } from "./mapping-users.js";
import { readContent, sizeOfInode } from "./read-content.js";

const SPACE = record("address_space", { host: word("host") });
const INODE = record("inode", { sb: word("i_sb") });
const TYPE = record("file_system_type", { name: word("name") });
const NSPROXY = record("nsproxy", { mounts: word("mnt_ns") });

/** Inodes that are read at a time. */
const PIECE = 4096;

/** Options of {@link listCachedFiles}. */
export interface CachedFileOptions extends DamageOptions {
  /** Only files that this process has open or maps. */
  readonly pid?: number | undefined;
  /** Only files of which this holds; asked before the pages of a file are looked at. */
  readonly where?: ((file: CachedName) => boolean) | undefined;
  /** Files that a process has open or maps too of which nothing is in memory; default false. */
  readonly empty?: boolean | undefined;
}

/**
 * Files that have pages in memory, a file system after the other in the kernel's order. Names are those of process 1's mounts where it
 * has that file system mounted, else of others, else from the root of the file system.
 *
 * @throws {MemtoolError} `NO_PROCESS`; `NO_PAGES`, if nothing tells where page structures are. @throws {TypesError}
 */
export function listCachedFiles(
  kernel: LinuxKernel,
  options: CachedFileOptions = {},
): IoSequence<CachedFile> {
  return IoSequence.of(kernel.memory.scheduler, cachedFilesRoutine, kernel, options);
}

function* cachedFilesRoutine(
  sink: Sink<CachedFile>,
  kernel: LinuxKernel,
  options: CachedFileOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const report = once(log.report);
  const data = yield* kernelData(kernel);
  const array = yield* findPageArray(data, report);
  if (options.pid !== undefined) yield* needTasks(data, options.pid, report);
  const tasks = yield* readTasks(data, {}, report);
  const users = yield* mappingUsers(data, tasks, report);
  const init = tasks.find(({ pid }) => pid === 1);
  const [proxy] = yield* readEach(data, NSPROXY, [init?.raw.nsproxy], "an nsproxy", report);
  const lister = new Lister(data, array, users, new InodeNamer(data, report, proxy?.mounts), options, report);
  if (options.pid === undefined) {
    const systems = yield* superBlocks(data, users, report);
    const lists = new InodeLists(data, report);
    const known = new Set(systems);
    for (const sb of systems) {
      for (const piece of pieces(yield* lists.of(sb))) yield* lister.list(sink, piece, { sb, known });
    }
    for (const piece of pieces(lister.others)) yield* lister.list(sink, piece);
  }
  // What is on no list.
  const spaces = yield* readEach(data, SPACE, [...users.keys()], "an address_space", report);
  yield* lister.list(
    sink,
    spaces.map((space) => space?.host ?? 0n),
  );
  log.end();
}

/** Addresses of every inode that is on the list of its file system, or that a process has open or maps; each once. @internal */
export function* inodeAddresses(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const tasks = yield* readTasks(data, {}, report);
  const users = yield* mappingUsers(data, tasks, report);
  const found = new Set<bigint>();
  const lists = new InodeLists(data, report);
  for (const sb of yield* superBlocks(data, users, report)) {
    for (const inode of yield* lists.of(sb)) found.add(inode);
  }
  const spaces = yield* readEach(data, SPACE, [...users.keys()], "an address_space", report);
  for (const space of spaces) if (space?.host !== undefined && space.host !== 0n) found.add(space.host);
  return [...found];
}

/** Addresses of every `struct super_block`. */
function* superBlocks(
  data: KernelData,
  users: ReadonlyMap<bigint, unknown>,
  report: OnDamage,
): Routine<bigint[]> {
  const head = yield* symbolAddress(data, "super_blocks");
  const offset = BigInt(offsetOf(data.types, "super_block", "s_list"));
  if (head !== undefined) {
    const nodes = yield* walkList(data.memory, head, "the list of file systems", report);
    return nodes.map((node) => node - offset);
  }
  // The list goes through every one of them, and its head, which alone lies in the image.
  const spaces = yield* readEach(data, SPACE, [...users.keys()], "an address_space", report);
  const hosts = spaces.map((space) => space?.host);
  const inodes = yield* readEach(data, INODE, hosts, "an inode", report);
  const first = inodes.find((inode) => inode?.sb !== undefined && inode.sb !== 0n)?.sb;
  if (first === undefined) {
    const why = "no symbol super_blocks, and no open file (--symbols System.map)";
    report(damage("the list of file systems", 0n, "unreadable", 0, why));
    return [];
  }
  const nodes = yield* walkList(data.memory, first + offset, "the list of file systems", report);
  const { searchRanges } = data.kernel;
  const isHead = (node: bigint) => searchRanges.some(({ start, end }) => start <= node && node < end);
  return [first, ...nodes.filter((node) => !isHead(node)).map((node) => node - offset)];
}

/** Addresses of the inodes of file systems, each once. @internal */
export class InodeLists {
  readonly #lists: DisjointLists;
  readonly #head: bigint;
  readonly #node: bigint;

  constructor({ types, memory }: KernelData, report: OnDamage) {
    this.#lists = new DisjointLists(memory, "the inodes of a file system", report);
    this.#head = BigInt(offsetOf(types, "super_block", "s_inodes"));
    this.#node = BigInt(offsetOf(types, "inode", "i_sb_list"));
  }

  /** Those on the list of a file system. */
  *of(sb: bigint): Routine<bigint[]> {
    return (yield* this.#lists.walk(sb + this.#head)).map((node) => node - this.#node);
  }
}

function* pieces(addresses: readonly bigint[]): Iterable<readonly bigint[]> {
  for (let from = 0; from < addresses.length; from += PIECE) yield addresses.slice(from, from + PIECE);
}

/** The file system whose list inodes are from, and all that there are. */
interface Origin {
  readonly sb: bigint;
  readonly known: ReadonlySet<bigint>;
}

/** Lists inodes, each once. */
class Lister {
  /** Inodes on the list of another file system than their own: where lists are mixed up, they may be on no other. */
  readonly others: bigint[] = [];
  readonly #data: KernelData;
  readonly #array: PageArray;
  readonly #users: ReadonlyMap<bigint, ReadonlySet<number>>;
  readonly #namer: InodeNamer;
  readonly #options: CachedFileOptions;
  readonly #report: OnDamage;
  readonly #seen = new Set<bigint>();
  readonly #taken = new Set<bigint>();
  readonly #types = new Map<bigint, string | undefined>();

  constructor(
    data: KernelData,
    array: PageArray,
    users: ReadonlyMap<bigint, ReadonlySet<number>>,
    namer: InodeNamer,
    options: CachedFileOptions,
    report: OnDamage,
  ) {
    this.#data = data;
    this.#array = array;
    this.#users = users;
    this.#namer = namer;
    this.#options = options;
    this.#report = report;
  }

  /** @param origin The list that they are from, and whose file system they must be of. */
  *list(sink: Sink<CachedFile>, addresses: readonly bigint[], origin?: Origin): Routine<void> {
    const fresh = [...new Set(addresses)].filter((address) => address !== 0n && !this.#seen.has(address));
    const kept = new Map<bigint, InodeFields>();
    const wrong: bigint[] = [];
    for (const [address, fields] of yield* this.#namer.read(fresh)) {
      const { superBlock = origin?.sb } = fields;
      if (origin !== undefined && superBlock !== undefined && superBlock !== origin.sb) {
        wrong.push(address);
        if (origin.known.has(superBlock)) this.others.push(address);
        continue;
      }
      this.#seen.add(address);
      if (this.#isWanted(fields)) kept.set(address, fields);
    }
    if (wrong[0] !== undefined) {
      const more = wrong.length === 1 ? "" : `, and so are ${wrong.length - 1} more`;
      this.#report(damage("an inode", wrong[0], "mismatch", 0, `it is of another file system${more}`));
    }
    for (const inode of yield* this.#namer.name(kept)) {
      const name = yield* this.#nameOf(inode);
      if (this.#options.where?.(name) === false) continue;
      const file = yield* this.#fileOf(inode, name);
      if (file.runs.length + file.swapped.length + file.dax > 0 || this.#options.empty === true) {
        yield sink.emit(file);
      }
    }
  }

  #isWanted({ own = 0n, firstPage, mode }: InodeFields): boolean {
    const users = this.#users.get(own);
    const { pid, empty } = this.#options;
    if (pid !== undefined && users?.has(pid) !== true) return false;
    if (firstPage !== 0n) return true;
    // (Pipes, sockets and such have no pages ever.)
    const isFile = mode === undefined || (mode >>> 12) % 16 === 8;
    return empty === true && isFile && users !== undefined;
  }

  *#nameOf({ address, fields, superBlock, ...name }: NamedInode): Routine<CachedName> {
    return {
      path: name.path,
      deleted: name.deleted,
      inode: fields.number,
      device: name.device,
      fileSystem: yield* this.#typeName(superBlock?.type),
      type: name.type,
      blockDevice: name.blockDevice,
      size: sizeOfInode(fields, address, this.#report),
      links: fields.links,
      pids: [...(this.#users.get(fields.own ?? 0n) ?? [])].sort((a, b) => a - b),
      address,
    };
  }

  *#typeName(type: bigint | undefined): Routine<string | undefined> {
    if (type === undefined) return undefined;
    if (!this.#types.has(type)) {
      const [row] = yield* readEach(this.#data, TYPE, [type], "a file_system_type", this.#report);
      const what = "the name of a file system";
      const [name] = yield* readStrings(this.#data.memory, [row?.name], what, this.#report, MAX_NAME);
      this.#types.set(type, name);
    }
    return this.#types.get(type);
  }

  *#fileOf({ address, fields, superBlock }: NamedInode, name: CachedName): Routine<CachedFile> {
    const what = `the pages of inode ${name.inode ?? "?"} (${name.path ?? `at 0x${address.toString(16)}`})`;
    const magic = superBlock?.magic;
    const content = yield* readContent(
      this.#data,
      this.#array,
      fields,
      name.size,
      magic,
      what,
      this.#report,
      this.#taken,
    );
    const ranges = joined(content.runs.filter(({ uptodate }) => uptodate));
    const cached = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    return { ...name, ...content, cached, ranges };
  }
}

/** Longer names of file systems there are none. */
const MAX_NAME = 64;
function joined(runs: readonly CachedRun[]): FileRange[] {
  const found: { start: number; end: number }[] = [];
  for (const { start, end } of runs) {
    const last = found.at(-1);
    if (last !== undefined && last.end === start) last.end = end;
    else found.push({ start, end });
  }
  return found;
}
