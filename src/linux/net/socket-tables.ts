/**
 * The tables that the kernel keeps sockets in, of every network namespace.
 *
 * Facts: net/core/net_namespace.c, include/net/inet_hashtables.h, include/net/udp.h, include/net/raw.h, net/ipv4/ping.c,
 * include/net/af_unix.h, include/net/netns/packet.h, net/netlink/af_netlink.h.
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import {
  hasStruct,
  int,
  maybe,
  needStruct,
  offsetOf,
  place,
  record,
  type Values,
  word,
} from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import { type Buckets, nodesOf } from "./buckets.js";
import { networkNamespaces } from "./net-namespaces.js";

const NET = record("net", {
  // Behind a pointer from 5.18 (fbb8295248e1) to 6.0 (e9bd0cca09d1): the symbol serves there, as each kernel has that table.
  tcp: maybe(word("ipv4.tcp_death_row.hashinfo")),
  // Since 6.2 (9804985bf27f) each namespace may have its own.
  udp: maybe(word("ipv4.udp_table")),
  // Since 6.0 (cf21b355ccb3).
  unix: maybe(word("unx.table.buckets")),
  packet: maybe(place("packet.sklist")),
});
const HASHINFO = record("inet_hashinfo", {
  established: word("ehash"),
  mask: int("ehash_mask"),
  // The only table of listening sockets since 6.0 (cae3873c5b3a).
  listening: maybe(word("lhash2")),
  listeningMask: maybe(int("lhash2_mask")),
  oldListening: maybe(place("listening_hash")),
});
const UDP_TABLE = record("udp_table", { hash: word("hash"), mask: int("mask") });
const NETLINK_TABLE = record("netlink_table", { buckets: word("hash.tbl") });
const BUCKET_TABLE = record("bucket_table", {
  size: int("size"),
  nest: maybe(int("nest")),
  next: word("future_tbl"),
  buckets: place("buckets"),
});

/** MAX_LINKS, include/uapi/linux/netlink.h. */
const NETLINK_PROTOCOLS = 32;
/** UNIX_HASH_SIZE, include/net/af_unix.h: as many for abstract names as for the rest. Before 6.0, twice what was called that. */
const UNIX_BUCKETS = 512;
/** INET_LHTABLE_SIZE, include/net/inet_hashtables.h, of before 6.0. */
const OLD_LISTENING = 32;
/** RAW_HTABLE_SIZE (MAX_INET_PROTOS), include/net/raw.h. */
const RAW_BUCKETS = 256;
/** PING_HTABLE_SIZE, include/net/ping.h. */
const PING_BUCKETS = 64;

/** The table that a socket was found in; "files": it is open in a process. */
export type SocketSource =
  | "established"
  | "listening"
  | "udp"
  | "udplite"
  | "raw"
  | "ping"
  | "unix"
  | "packet"
  | "netlink"
  | "files";

/** Is given the addresses of `struct sock`s. */
export type Found = (source: SocketSource, socks: readonly bigint[]) => void;

/** Is told which table can't be read to its end; `undefined` for what may be any. */
export type Torn = (source: SocketSource | undefined) => void;

/** Every socket of every table. */
export function* socketsInTables(
  data: KernelData,
  found: Found,
  report: OnDamage,
  torn: Torn = () => {},
): Routine<void> {
  const { memory, types } = data;
  const node = BigInt(offsetOf(types, "sock_common", "skc_node"));
  /** What is damaged makes these tables torn. */
  const tearing =
    (...sources: readonly (SocketSource | undefined)[]): OnDamage =>
    (what) => {
      for (const source of sources) torn(source);
      report(what);
    };
  const take = function* (source: SocketSource, buckets: Buckets): Routine<void> {
    const nodes = yield* nodesOf(memory, buckets, `the table of ${source} sockets`, tearing(source));
    found(
      source,
      nodes.map((each) => each - node),
    );
  };
  const nets = yield* namespaces(data, tearing(undefined));
  yield* tcp(data, nets, take, tearing("established", "listening"));
  yield* udp(data, nets, take, tearing("udp", "udplite"));
  const pointer = memory.pointerSize;
  for (const name of ["raw_v4_hashinfo", "raw_v6_hashinfo"]) {
    const at = yield* symbolAddress(data, name);
    if (at === undefined || !hasStruct(types, "raw_hashinfo")) continue;
    const table = at + BigInt(offsetOf(types, "raw_hashinfo", "ht"));
    yield* take("raw", { at: table, count: RAW_BUCKETS, stride: pointer });
  }
  // Of both families.
  const ping = yield* symbolAddress(data, "ping_table");
  if (ping !== undefined && hasStruct(types, "ping_table")) {
    const table = ping + BigInt(offsetOf(types, "ping_table", "hash"));
    yield* take("ping", { at: table, count: PING_BUCKETS, stride: pointer });
  }
  for (const net of nets) {
    if (net.unix !== undefined) {
      yield* take("unix", { at: net.unix, count: UNIX_BUCKETS, stride: pointer });
    }
    if (net.packet !== undefined) yield* take("packet", { at: net.packet, count: 1, stride: pointer });
  }
  const unix = yield* symbolAddress(data, "unix_socket_table");
  if (unix !== undefined) yield* take("unix", { at: unix, count: UNIX_BUCKETS, stride: pointer });
  yield* netlink(data, found, tearing("netlink"));
}

type Net = Partial<Values<typeof NET.fields>>;
type Take = (source: SocketSource, buckets: Buckets) => Routine<void>;

function* namespaces(data: KernelData, report: OnDamage): Routine<Net[]> {
  const addresses = yield* networkNamespaces(data, report);
  const nets = yield* readEach(data, NET, addresses, "a network namespace", report);
  return nets.filter((net) => net !== undefined);
}

/** Pointers that are there, each once. */
function distinct(pointers: readonly (bigint | undefined)[]): bigint[] {
  return [...new Set(pointers)].filter((each): each is bigint => each !== undefined && each !== 0n);
}

function* tcp(data: KernelData, nets: readonly Net[], take: Take, report: OnDamage): Routine<void> {
  const { types } = data;
  const all = [...nets.map((net) => net.tcp), yield* symbolAddress(data, "tcp_hashinfo")];
  const tables = yield* readEach(data, HASHINFO, distinct(all), "the tables of TCP", report);
  const stride = sizeOf(needStruct(types, "inet_ehash_bucket"));
  const bucket = needStruct(types, "inet_listen_hashbucket");
  const head = findPlace(bucket, "nulls_head") === undefined ? "head" : "nulls_head";
  const headAt = BigInt(offsetOf(types, "inet_listen_hashbucket", head));
  for (const table of tables) {
    if (table === undefined) continue;
    const { established, mask, oldListening, listening = 0n, listeningMask = 0 } = table;
    if (established !== undefined && mask !== undefined) {
      yield* take("established", { at: established, count: mask + 1, stride });
    }
    const old = oldListening !== undefined;
    if (!old && listening === 0n) continue;
    const at = (old ? oldListening : listening) + headAt;
    const count = old ? OLD_LISTENING : listeningMask + 1;
    yield* take("listening", { at, count, stride: sizeOf(bucket) });
  }
}

function* udp(data: KernelData, nets: readonly Net[], take: Take, report: OnDamage): Routine<void> {
  const slot = needStruct(data.types, "udp_hslot");
  const headAt = BigInt(offsetOf(data.types, "udp_hslot", "head"));
  const own = nets.map((net) => net.udp);
  for (const source of ["udp", "udplite"] as const) {
    const shared = yield* symbolAddress(data, source === "udp" ? "udp_table" : "udplite_table");
    const all = distinct(source === "udp" ? [...own, shared] : [shared]);
    for (const table of yield* readEach(data, UDP_TABLE, all, "a table of UDP", report)) {
      if (table?.hash === undefined || table.mask === undefined) continue;
      yield* take(source, { at: table.hash + headAt, count: table.mask + 1, stride: sizeOf(slot) });
    }
  }
}

function* netlink(data: KernelData, found: Found, report: OnDamage): Routine<void> {
  const { memory, types } = data;
  const at = yield* symbolAddress(data, "nl_table");
  if (at === undefined || !hasStruct(types, "netlink_sock")) return;
  const tables = yield* pointersAt(memory, at, 1);
  if (typeof tables === "number") {
    report(damage("the tables of netlink", at, "unreadable", tables));
    return;
  }
  const size = BigInt(NETLINK_TABLE.on(types).size);
  const each = Array.from({ length: NETLINK_PROTOCOLS }, (_, i) => (tables[0] as bigint) + BigInt(i) * size);
  const rows = yield* readEach(data, NETLINK_TABLE, each, "a table of netlink", report);
  // Since 5.2 (8f0db018006a) bit 0 of a bucket is its lock; before, an empty one was odd.
  const lockBit = hasStruct(types, "rhash_lock_head");
  const node = BigInt(offsetOf(types, "netlink_sock", "node"));
  const seen = new Set<bigint>();
  let next = distinct(rows.map((row) => row?.buckets));
  while (next.length > 0) {
    for (const table of next) seen.add(table);
    const hashes = yield* readEach(data, BUCKET_TABLE, next, "a table of netlink sockets", report);
    for (const [i, hash] of hashes.entries()) {
      // (The heads lie behind the table's members: without the number of them, nobody knows how many.)
      if (hash?.buckets === undefined || hash.size === undefined) continue;
      if (hash.nest !== undefined && hash.nest !== 0) {
        report(damage("a table of netlink sockets", next[i] as bigint, "invalid", 0, "it is nested"));
        continue;
      }
      const buckets = { at: hash.buckets, count: hash.size, stride: memory.pointerSize, lockBit };
      const nodes = yield* nodesOf(memory, buckets, "the table of netlink sockets", report);
      found(
        "netlink",
        nodes.map((it) => it - node),
      );
    }
    // A table that grows has its successor behind it.
    next = distinct(hashes.map((hash) => hash?.next)).filter((table) => !seen.has(table));
    if (next.length > 0 && seen.size > 64 * NETLINK_PROTOCOLS) {
      report(
        damage(
          "a table of netlink sockets",
          next[0] as bigint,
          "too long",
          0,
          "it has successors without end",
        ),
      );
      return;
    }
  }
}
