/**
 * Connections that netfilter tracks: what /proc/net/nf_conntrack shows, of every network namespace.
 *
 * Facts: include/net/netfilter/nf_conntrack.h (`struct nf_conn`), include/net/netfilter/nf_conntrack_tuple.h,
 * net/netfilter/nf_conntrack_core.c (`nf_conntrack_hash`), net/netfilter/nf_conntrack_standalone.c (`ct_seq_show`),
 * include/uapi/linux/netfilter/nf_conntrack_common.h (IPS_*), nf_conntrack_tcp.h (`enum tcp_conntrack`).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { readModules } from "../modules/module-parts.js";
import { nodesOf } from "../net/buckets.js";
import { ipv4Text, ipv6Text } from "../net/names.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { readWhole } from "../objects/read-each.js";
import { int, maybe, offsetOf, raw, record, type Values, word } from "../objects/record.js";
import { dataOfPart, variableOfPart } from "./module-parts.js";
import { NFPROTO, netfilterFamily } from "./names.js";

const TUPLE = {
  family: int("tuple.src.l3num"),
  protocol: int("tuple.dst.protonum"),
  direction: int("tuple.dst.dir"),
  source: raw("tuple.src.u3"),
  destination: raw("tuple.dst.u3"),
  sourcePort: raw("tuple.src.u.all"),
  destinationPort: raw("tuple.dst.u.all"),
} as const;
const HASHED = record("nf_conntrack_tuple_hash", TUPLE);
const CONNECTION = record("nf_conn", {
  status: word("status"),
  net: maybe(word("ct_net.net", "ct_net")),
  mark: maybe(int("mark")),
  tcp: int("proto.tcp.state"),
});
const NET = record("net", { inode: int("ns.inum", "proc_inum") });

const PROTOCOLS = new Map([
  [1, "icmp"],
  [6, "tcp"],
  [17, "udp"],
  [33, "dccp"],
  [47, "gre"],
  [58, "icmpv6"],
  [132, "sctp"],
  [136, "udplite"],
]);
/** As /proc has them, by `enum tcp_conntrack`. */
const TCP_STATES = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
] as const;
const TCP = 6;
/** Those whose tuples hold ports; others hold numbers of their own there. */
const WITH_PORTS: ReadonlySet<number> = new Set([TCP, 17, 33, 132, 136]);
const IPS_SEEN_REPLY = 2n;
const IPS_ASSURED = 4n;

/** Packets of one direction. */
export interface TrackedDirection {
  readonly source: string;
  readonly destination: string;
  /** Null for protocols without ports. */
  readonly sourcePort: number | null;
  readonly destinationPort: number | null;
}

/** A connection that is tracked. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface TrackedConnection {
  /** Inode number of its network namespace. */
  readonly namespace: number | undefined;
  /** "ipv4", "ipv6". */
  readonly family: string;
  /** "tcp", "udp", "icmp"; a number for one that has no name here. */
  readonly protocol: string;
  /** Of TCP: "ESTABLISHED", "TIME_WAIT"; null for others. */
  readonly state: string | null | undefined;
  /** As the first packet went. */
  readonly original: TrackedDirection | undefined;
  /** As answers come: with NAT, not the same the other way round. */
  readonly reply: TrackedDirection | undefined;
  /** Whether there was an answer. */
  readonly replied: boolean | undefined;
  /** Whether it is kept when there are too many. */
  readonly assured: boolean | undefined;
  readonly mark: number | undefined;
  /** IPS_* of include/uapi/linux/netfilter/nf_conntrack_common.h. */
  readonly status: bigint | undefined;
  /** Address of its `struct nf_conn`. */
  readonly address: bigint;
}

/** Connections that are tracked, since Linux 4.7, also those whose time is up. Empty where nf_conntrack is not loaded. */
export function listTrackedConnections(
  kernel: LinuxKernel,
  options: DamageOptions = {},
): IoSequence<TrackedConnection> {
  return IoSequence.of(kernel.memory.scheduler, connectionsRoutine, kernel, options);
}

function* connectionsRoutine(
  sink: Sink<TrackedConnection>,
  kernel: LinuxKernel,
  options: DamageOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const own = yield* kernelData(kernel);
  // (The structures may be among the kernel's own types though the code is a module's.)
  const table = yield* variableOfPart(own, "nf_conntrack", "nf_conntrack_hash");
  if (table === undefined) yield* tellLost(own, log.report);
  else {
    const data = yield* dataOfPart(own, "nf_conntrack", "nf_conntrack_tuple_hash", log.report);
    if (data !== undefined) {
      for (const each of yield* connectionsIn(data, table, log.report)) yield sink.emit(each);
    }
  }
  log.end();
}

/** Where its code is there, built in or a loaded module, the table is not found by kallsyms that list functions only. */
function* tellLost(data: KernelData, report: OnDamage): Routine<void> {
  const isBuiltIn = (yield* symbolAddress(data, "nf_conntrack_in")) !== undefined;
  const modules = isBuiltIn ? [] : yield* readModules(data, report);
  if (!isBuiltIn && !modules.some(({ partial }) => partial.name === "nf_conntrack")) return;
  report(damage("the table of connections", 0n, "unreadable", 0, "no symbol nf_conntrack_hash"));
}

type Tuple = Values<typeof TUPLE>;

function* connectionsIn(data: KernelData, table: bigint, report: OnDamage): Routine<TrackedConnection[]> {
  const { memory, types } = data;
  const what = "the table of connections";
  const size = yield* variableOfPart(data, "nf_conntrack", "nf_conntrack_htable_size");
  const at = yield* pointersAt(memory, table, 1);
  const { bytes, holes } = yield* memory.readPartial(size ?? 0n, 4);
  const fault = typeof at === "number" ? at : holes[0]?.fault;
  if (typeof at === "number" || fault !== undefined) {
    report(damage(what, table, "unreadable", fault));
    return [];
  }
  const count = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, memory.abi.littleEndian);
  const buckets = { at: at[0] as bigint, count, stride: memory.pointerSize };
  const node = BigInt(offsetOf(types, "nf_conntrack_tuple_hash", "hnnode"));
  const hashed = (yield* nodesOf(memory, buckets, what, report)).map((each) => each - node);
  const tuples = yield* readWhole(data, HASHED, hashed, "a tuple of a connection", report);
  // Each connection is in the table twice: by the tuple of either direction.
  const first = BigInt(offsetOf(types, "nf_conn", "tuplehash"));
  const step = BigInt(HASHED.on(types).size);
  const byConnection = new Map<bigint, [Tuple | undefined, Tuple | undefined]>();
  for (const [i, tuple] of tuples.entries()) {
    const address = hashed[i] as bigint;
    if (tuple === undefined) continue;
    if (tuple.direction > 1) {
      report(damage("a tuple of a connection", address, "invalid", 0, `direction ${tuple.direction}`));
      continue;
    }
    const connection = address - first - BigInt(tuple.direction) * step;
    const both = byConnection.get(connection) ?? [undefined, undefined];
    both[tuple.direction] = tuple;
    byConnection.set(connection, both);
  }
  const addresses = [...byConnection.keys()];
  const rows = yield* readWhole(data, CONNECTION, addresses, "a connection", report);
  const pointers = rows.map((row) => row?.net);
  const nets = yield* readWhole(data, NET, pointers, "a network namespace", report);
  const found: TrackedConnection[] = [];
  for (const [i, address] of addresses.entries()) {
    const [original, reply] = byConnection.get(address) as [Tuple | undefined, Tuple | undefined];
    const either = original ?? reply;
    const row = rows[i];
    if (either === undefined) continue;
    if (original === undefined || reply === undefined) {
      report(damage("a connection", address, "mismatch", 0, "only one of its directions is in the table"));
    }
    found.push({
      namespace: nets[i]?.inode,
      family: netfilterFamily(either.family),
      protocol: PROTOCOLS.get(either.protocol) ?? String(either.protocol),
      state: either.protocol !== TCP ? null : row && (TCP_STATES[row.tcp] ?? String(row.tcp)),
      original: original && directionOf(original),
      reply: reply && directionOf(reply),
      replied: row && (row.status & IPS_SEEN_REPLY) !== 0n,
      assured: row && (row.status & IPS_ASSURED) !== 0n,
      mark: row?.mark,
      status: row?.status,
      address,
    });
  }
  return found;
}

function directionOf(tuple: Tuple): TrackedDirection {
  const text = tuple.family === NFPROTO.ipv6 ? ipv6Text : ipv4Text;
  const port = (bytes: Uint8Array) =>
    WITH_PORTS.has(tuple.protocol) ? 256 * (bytes[0] ?? 0) + (bytes[1] ?? 0) : null;
  return {
    source: text(tuple.source),
    destination: text(tuple.destination),
    sourcePort: port(tuple.sourcePort),
    destinationPort: port(tuple.destinationPort),
  };
}
