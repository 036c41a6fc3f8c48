/**
 * Sockets wherever they lie in memory, found by what they look like: what no table and no open file names is found too, and what was closed.
 *
 * Facts: net/core/sock.c (`sk_free`, `__sk_free`: the memory of a socket that nobody holds any more is freed, and its count of references is 0),
 * include/net/sock.h (SOCK_DEAD), net/ipv4/inet_hashtables.c, net/ipv4/udp.c (`udp_lib_unhash`: what is in no table has port 0), net/unix/af_unix.c
 * (`unix_release_sock`), net/netlink/af_netlink.c, net/ipv4/af_inet.c (`inet_ctl_sock_create`: sockets that the kernel sends by are in no table).
 */
import { type ByteRange, IoSequence, type Routine, type Sink } from "../../io/index.js";
import { tableHolders } from "../files/file-holders.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, listsFunctionsOnly } from "../kernel-data.js";
import { networkNamespaces } from "../net/net-namespaces.js";
import { type KernelSocket, readSockets, type Seen, seenSockets } from "../net/socket.js";
import type { SocketSource } from "../net/socket-tables.js";
import { DamageLog, type DamageOptions, damage, type OnDamage, once } from "../objects/damage.js";
import { attempt } from "../owners/attempt.js";
import { perCpuAreas } from "../per-cpu.js";
import { findCandidates, MAX_CANDIDATES } from "../scan/find-candidates.js";
import { type ObjectHome, objectHomes } from "../scan/object-homes.js";
import { linearOffset, presentRanges } from "../scan/scanned-memory.js";
import { readTasks } from "../tasks/task.js";
import { readProtocols } from "./protocols.js";
import { type WeighedSocket, weighHome, weighSockets } from "./socket-evidence.js";
import { COMMON, socketShape } from "./socket-layout.js";

/**
 * What a socket that was found is.
 *
 * - `listed`: in a table or in a process's open files, and in the table that should have it.
 * - `hidden`: it lives, and its table does not have it; or nothing has it that should.
 * - `kernel`: the kernel's own: it has no file, and is of a kind or in a state that no table has. Also what asked for a connection that waits to be accepted.
 * - `closed`: nobody uses it any more, and its memory is not free yet.
 * - `unsure`: it lives, and what should have it could not be read to its end.
 * - `freed`: what is left of one in memory that is free, or that belongs to something else now.
 * - `copy`: in memory that is in use, but its queues lead elsewhere: somebody's copy of a socket.
 */
export type SocketStatus = "listed" | "hidden" | "kernel" | "closed" | "unsure" | "freed" | "copy";

/** A socket that was found in memory. What is freed may have been written over in part; of that and of copies, what they pointed to is not told. */
export interface ScannedSocket extends KernelSocket {
  /** Physical address of its structure. */
  readonly physical: number;
  readonly status: SocketStatus;
  /** The tables that should have it, could be read to their end, and have not; "files" for a socket whose file no process has open. */
  readonly missedBy: readonly SocketSource[];
  /** What it leads to as its protocol: a symbol such as `tcp_prot`, else its name in quotes. `undefined` for one that looks like no socket. */
  readonly prot: string | undefined;
  /** How many hold it. */
  readonly references: number | undefined;
  /** Name of the slab cache that it lies in; `undefined` outside of slabs. */
  readonly cache: string | undefined;
  /** Facts that speak for a socket, in a few words each; empty for one that a table has and that looks like none. */
  readonly evidence: readonly string[];
  /** Facts that speak against it. */
  readonly against: readonly string[];
}

/** Options of {@link scanSockets}. */
export interface ScanSocketsOptions extends DamageOptions {
  /** Physical addresses to look at, half-open and ascending; default all memory that is there. */
  readonly ranges?: readonly ByteRange[] | undefined;
  /** Is told how far it is, in bytes. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Goes through physical memory for sockets, by pointers to the kernel's protocols and what must lie around them, and says of each which
 * tables have it. Sockets that tables or open files have, and that are not found so, are given too. In the order of their physical addresses.
 *
 * @throws {TypesError} for a kernel without types.
 * @example
 * for await (const socket of scanSockets(linux)) {
 *   if (socket.status === "hidden") console.log(socket.protocol, socket.local, socket.missedBy);
 * }
 */
export function scanSockets(
  kernel: LinuxKernel,
  options: ScanSocketsOptions = {},
): IoSequence<ScannedSocket> {
  return IoSequence.of(kernel.memory.scheduler, scanRoutine, kernel, options);
}

/** Bytes that every socket's address is a multiple of (pointers are). */
const stepOf = ({ memory }: KernelData) => memory.pointerSize;

function* scanRoutine(
  sink: Sink<ScannedSocket>,
  kernel: LinuxKernel,
  options: ScanSocketsOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const report = once(log.report);
  const data = yield* kernelData(kernel);
  const read = new Lists();
  if (yield* listsFunctionsOnly(data)) {
    const more =
      "no symbol leads to them: what no process has open can't be told from what is hidden (--symbols FILE)";
    report(damage("the tables of sockets", 0n, "invalid", 0, more));
  }
  const tasks = yield* readTasks(data, { threads: true }, (found) => {
    read.torn("files");
    report(found);
  });
  const seen = yield* seenSockets(data, tableHolders(tasks), report, read);
  const linear = yield* linearOffset(data, seen.keys(), "socket", report);
  const commons = yield* COMMON.on(data.types).read(data.memory, [...seen.keys()]);
  const used = new Set(commons.flatMap(({ value }) => value?.protocol ?? []));
  const protocols = yield* readProtocols(data, [...used], report);
  const namespaces = new Set(yield* networkNamespaces(data, () => {}));
  const ranges = options.ranges ?? (yield* presentRanges(data, report));
  const shape = socketShape(data.types, data.memory.pointerSize, protocols);
  const { physical } = kernel.memory;
  const pass = yield* findCandidates(physical, ranges, shape, stepOf(data), options.onProgress);
  if (pass.stopped !== undefined) {
    const more = `more than ${MAX_CANDIDATES} places look like sockets; the rest of memory was not looked at`;
    report(damage("physical memory", BigInt(pass.stopped), "too long", 0, more));
  }
  const context = { protocols, namespaces, listed: seen, linear };
  const weighed = yield* weighSockets(data, pass.found, context);
  const cpus = yield* attempt("the CPUs", report, perCpuAreas(data, report));
  const homes = yield* objectHomes(data, weighed, cpus, linear, report);
  const rows: Row[] = weighed.map((each, i) => {
    const home = homes[i] as ObjectHome;
    weighHome(each, home);
    return { address: each.address, told: judge(each, home, seen.get(each.address), read) };
  });
  for (const row of yield* unlike(data, seen, rows)) rows.push(row);
  yield* emitAll(sink, data, rows, seen, report);
  log.end();
}

/** Which tables can be said to miss something. */
class Lists {
  readonly #visited = new Set<SocketSource>();
  readonly #torn = new Set<SocketSource | undefined>();

  visited(source: SocketSource): void {
    this.#visited.add(source);
  }

  torn(source: SocketSource | undefined): void {
    this.#torn.add(source);
  }

  isWhole(source: SocketSource): boolean {
    if (this.#torn.has(source) || !this.#visited.has(source)) return false;
    return source === "files" || !this.#torn.has(undefined);
  }
}

/** What is told of a socket beside what its structure holds. */
type Told = Pick<
  ScannedSocket,
  "physical" | "status" | "missedBy" | "prot" | "references" | "cache" | "evidence" | "against"
>;

interface Row {
  readonly address: bigint;
  readonly told: Told;
}

function judge(socket: WeighedSocket, home: ObjectHome, known: Seen | undefined, read: Lists): Told {
  const { common, physical, protocol, isOwn, verdict } = socket;
  const wanted = wantedBy(socket);
  const lacking = wanted.filter((source) => known?.sources.has(source) !== true);
  const missed = lacking.filter((source) => read.isWhole(source));
  const told = (status: SocketStatus, missedBy: readonly SocketSource[] = []): Told => ({
    physical,
    status,
    missedBy,
    prot: protocol.label,
    references: common.references,
    cache: home.cache,
    evidence: verdict.holds,
    against: verdict.against,
  });
  if (known !== undefined) {
    return told(missed.some((source) => source !== "files") ? "hidden" : "listed", missed);
  }
  if (isOwn === false) return told(home.isFree === true ? "freed" : "copy");
  if (home.isFree === true) return told("freed");
  if (home.kind === "other" && isOwn !== true) return told("copy");
  if (common.references <= 0) return told("freed");
  if (missed.length > 0) return told("hidden", missed);
  if (lacking.length > 0) return told("unsure");
  return told(isDead(socket) ? "closed" : "kernel");
}

/** `SOCK_DEAD`: its file is closed. */
function isDead({ whole }: WeighedSocket): boolean {
  return whole !== undefined && (whole.flags & 1n) !== 0n;
}

const CLOSE = 7;
const LISTEN = 10;

/** Where a socket should be. */
function wantedBy(socket: WeighedSocket): SocketSource[] {
  const table = tableOf(socket);
  const wanted: SocketSource[] = table === undefined ? [] : [table];
  if (socket.hasFile) wanted.push("files");
  return wanted;
}

function tableOf(socket: WeighedSocket): SocketSource | undefined {
  const { common, protocol, kind, hasFile, isAnswered, portid } = socket;
  const family = protocol.name.replace(/v6$/, "");
  // (The request is taken from the table when the connection, which is there then, waits to be accepted.)
  if (kind !== "whole") return isAnswered ? undefined : "established";
  // (A connection goes on when its file is closed; all others are taken from their tables then.)
  if (family === "TCP") {
    return common.state === LISTEN ? "listening" : common.state === CLOSE ? undefined : "established";
  }
  if (isDead(socket)) return undefined;
  switch (family) {
    case "UDP":
      return common.number === 0 ? undefined : "udp";
    case "UDP-Lite":
    case "UDPLITE":
      return common.number === 0 ? undefined : "udplite";
    case "PING":
      return common.number === 0 ? undefined : "ping";
    case "RAW":
      // (The kernel's own, that it sends by, are in none.)
      return hasFile ? "raw" : undefined;
    case "PACKET":
      return "packet";
    case "UNIX":
    case "UNIX-STREAM":
    case "UNIX-DGRAM":
      return "unix";
    case "NETLINK":
      // (What is not bound has no number, nor have the kernel's own.)
      return (portid ?? 0) === 0 ? undefined : "netlink";
    default:
      return undefined;
  }
}

/** What tables or files have, and was not found by its looks. */
function* unlike(data: KernelData, seen: ReadonlyMap<bigint, Seen>, rows: readonly Row[]): Routine<Row[]> {
  const found = new Set(rows.map(({ address }) => address));
  const others: Row[] = [];
  for (const address of seen.keys()) {
    if (found.has(address)) continue;
    const place = yield* data.memory.translate(address);
    if (!("physical" in place)) continue;
    const told: Told = {
      physical: Number(place.physical),
      status: "listed",
      missedBy: [],
      prot: undefined,
      references: undefined,
      cache: undefined,
      evidence: [],
      against: ["it does not look like a socket"],
    };
    others.push({ address, told });
  }
  return others;
}

function* emitAll(
  sink: Sink<ScannedSocket>,
  data: KernelData,
  rows: Row[],
  seen: ReadonlyMap<bigint, Seen>,
  report: OnDamage,
): Routine<void> {
  rows.sort((a, b) => a.told.physical - b.told.physical);
  const isDead = ({ told }: Row) => told.status === "freed" || told.status === "copy";
  const sockets = new Map<bigint, KernelSocket>();
  const take = function* (some: readonly Row[], tell: OnDamage): Routine<void> {
    const wanted = new Map(some.map(({ address }) => [address, seen.get(address) ?? NOWHERE]));
    for (const socket of yield* readSockets(data, wanted, tell)) sockets.set(socket.address, socket);
  };
  yield* take(
    rows.filter((row) => !isDead(row)),
    report,
  );
  // (What they point to is no longer theirs.)
  yield* take(rows.filter(isDead), () => {});
  for (const row of rows) {
    const socket = sockets.get(row.address);
    if (socket === undefined) continue;
    yield sink.emit({ ...(isDead(row) ? withoutPointers(socket) : socket), ...row.told });
  }
}

const NOWHERE: Seen = { sources: new Set(), owners: [] };

function withoutPointers(socket: KernelSocket): KernelSocket {
  const path = socket.path === null ? null : undefined;
  const inode = socket.inode === null ? null : undefined;
  return { ...socket, path, inode, uid: undefined, namespace: undefined, netlink: null };
}
