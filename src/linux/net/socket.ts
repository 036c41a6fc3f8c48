/**
 * Sockets: of the kernel's tables, of every network namespace, and of the files that processes have open.
 *
 * Facts: include/net/sock.h (`sock_common`, `sock`), include/net/inet_timewait_sock.h, include/net/request_sock.h,
 * include/linux/tcp.h, include/linux/udp.h, include/net/af_unix.h, net/netlink/af_netlink.h, net/packet/internal.h; and for
 * what is shown net/ipv4/tcp_ipv4.c (`get_tcp4_sock`), net/ipv4/udp.c (`udp4_format_sock`), net/unix/af_unix.c
 * (`unix_seq_show`), net/netlink/af_netlink.c (`netlink_native_seq_show`).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, listsFunctionsOnly } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import {
  hasStruct,
  int,
  maybe,
  offsetOf,
  place,
  raw,
  record,
  textAt,
  type Values,
  word,
} from "../objects/record.js";
import { needTasks, type Task } from "../tasks/task.js";
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_PACKET,
  AF_UNIX,
  familyName,
  ipv4Text,
  ipv6Text,
  netlinkName,
  protocolName,
  socketState,
  socketType,
} from "./names.js";
import { openSockets, type SocketOwner } from "./socket-owners.js";
import { type SocketSource, socketsInTables } from "./socket-tables.js";

/** What a whole socket shares with one that waits or is only asked for. */
const COMMON = record("sock_common", {
  family: int("skc_family"),
  state: int("skc_state"),
  remote4: raw("skc_daddr"),
  local4: raw("skc_rcv_saddr"),
  remotePort: raw("skc_dport"),
  localPort: int("skc_num"),
  remote6: maybe(raw("skc_v6_daddr")),
  local6: maybe(raw("skc_v6_rcv_saddr")),
  device: int("skc_bound_dev_if"),
  // Of what is only asked for: who listens. (Since Linux 4.4 such requests are in the table.)
  listener: maybe(word("skc_listener")),
  net: maybe(word("skc_net.net")),
});
const SOCK = record("sock", {
  type: int("sk_type"),
  protocol: int("sk_protocol"),
  socket: word("sk_socket"),
  uid: maybe(int("sk_uid.val")),
  written: int("sk_wmem_alloc.refs.counter", "sk_wmem_alloc.counter"),
  received: int("sk_backlog.rmem_alloc.counter"),
  backlog: int("sk_ack_backlog"),
});
const TCP = record("tcp_sock", {
  receiveNext: int("rcv_nxt"),
  copied: int("copied_seq"),
  writeNext: int("write_seq"),
  unacknowledged: int("snd_una"),
});
const UDP = record("udp_sock", { forward: maybe(int("forward_deficit")) });
const UNIX = record("unix_sock", { address: word("addr"), peer: word("peer") });
const UNIX_ADDRESS = record("unix_address", { length: int("len"), name: place("name") });
const NETLINK = record("netlink_sock", {
  portid: int("portid"),
  groupCount: int("ngroups"),
  groups: word("groups"),
});
const PACKET = record("packet_sock", { protocol: raw("num"), device: int("ifindex") });
const TIME_WAIT = record("inet_timewait_sock", { state: int("tw_substate") });
const NET = record("net", { inode: int("ns.inum", "proc_inum") });
const SOCKET_INODE = record("socket_alloc", {
  inode: word("vfs_inode.i_ino"),
  uid: int("vfs_inode.i_uid.val", "vfs_inode.i_uid"),
});

const TCP_TIME_WAIT = 6;
const TCP_LISTEN = 10;
const TCP_NEW_SYN_RECV = 12;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const IPPROTO_UDPLITE = 136;
/** Bytes of `sockaddr_un`: no name of a socket is longer (include/uapi/linux/un.h). */
const UNIX_NAME = 110;
/** Bytes of a netlink socket's groups that are read; the largest kernel families have a few hundred groups. */
const GROUP_BYTES = 1024;

/** One end of a connection. */
export interface SocketAddress {
  /** "127.0.0.1", "::1". */
  readonly address: string;
  readonly port: number;
}

/** A socket. What could not be read of it is `undefined`; what it has not is `null`. */
export interface KernelSocket {
  /** Address of its `struct sock` (or `inet_timewait_sock`, `request_sock`). */
  readonly address: bigint;
  /** "tcp", "udp", "raw", "unix", "netlink", "packet" … */
  readonly protocol: string | undefined;
  /** "inet", "inet6", "unix" … */
  readonly family: string | undefined;
  /** "stream", "dgram" … */
  readonly type: string | undefined;
  /** As the kernel numbers it: for raw sockets the protocol that they take. */
  readonly protocolNumber: number | undefined;
  /** "ESTABLISHED", "LISTEN"; "CLOSE" for what is not connected. */
  readonly state: string | undefined;
  readonly local: SocketAddress | null | undefined;
  readonly remote: SocketAddress | null | undefined;
  /** Of unix sockets: a path, "@" and an abstract name, or "" without a name. */
  readonly path: string | null | undefined;
  /** Of unix sockets that are connected: address of the other's `struct sock`. */
  readonly peer: bigint | null | undefined;
  /** Its inode number; `null` for what no process can have. */
  readonly inode: bigint | null | undefined;
  readonly uid: number | undefined;
  /** Index of the device that it is bound to; 0 for none. */
  readonly device: number | undefined;
  /** Bytes received and not read yet; of listening TCP sockets: connections not accepted yet. */
  readonly receiveQueue: number | undefined;
  /** Bytes not sent, or not acknowledged, yet. */
  readonly sendQueue: number | undefined;
  /** Inode number of its network namespace. */
  readonly namespace: number | undefined;
  readonly netlink: {
    /** "route", "kobject_uevent" … */
    readonly protocol: string;
    readonly portid: number | undefined;
    /** Numbers of the groups that it listens to, from 1. */
    readonly groups: readonly number[];
  } | null;
  /** Of packet sockets: the EtherType. */
  readonly etherType: number | null;
  /** Processes that have it open. */
  readonly owners: readonly SocketOwner[];
  /** Where it was found. */
  readonly seen: readonly SocketSource[];
}

/** Options of {@link listSockets}. */
export interface SocketOptions extends DamageOptions {
  /** Only those that the process of this number has open. */
  readonly pid?: number | undefined;
}

/** Every socket that a table of the kernel or a process has; each once. */
export function listSockets(kernel: LinuxKernel, options: SocketOptions = {}): IoSequence<KernelSocket> {
  return IoSequence.of(kernel.memory.scheduler, socketsRoutine, kernel, options);
}

/** Where a socket was found, and who has it. @internal */
export interface Seen {
  readonly sources: Set<SocketSource>;
  readonly owners: SocketOwner[];
}

function* socketsRoutine(
  sink: Sink<KernelSocket>,
  kernel: LinuxKernel,
  options: SocketOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const tasks = yield* needTasks(data, options.pid, log.report);
  if (options.pid === undefined && (yield* listsFunctionsOnly(data))) {
    const more = "no symbol leads to them: those that no process has open are missing (--symbols FILE)";
    log.report(damage("the tables of sockets", 0n, "invalid", 0, more));
  }
  const seen = yield* seenSockets(data, tasks, log.report);
  if (options.pid !== undefined) {
    for (const [sock, { owners }] of [...seen]) if (owners.length === 0) seen.delete(sock);
  }
  for (const socket of yield* readSockets(data, seen, log.report)) yield sink.emit(socket);
  log.end();
}

/** Which tables were looked at, and could be read to their end. @internal */
export interface TablesRead {
  /** Is told of each that was looked at. */
  visited(source: SocketSource): void;
  /** Is told of each that could not be read to its end; `undefined` for what may be any. */
  torn(source: SocketSource | undefined): void;
}

/** Every socket that a table has, or that one of these processes has open, by its address. @internal */
export function* seenSockets(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
  read?: TablesRead,
): Routine<Map<bigint, Seen>> {
  const seen = new Map<bigint, Seen>();
  const take = (source: SocketSource, socks: readonly bigint[]) => {
    read?.visited(source);
    for (const sock of socks) {
      const known = seen.get(sock);
      if (known === undefined) seen.set(sock, { sources: new Set([source]), owners: [] });
      else known.sources.add(source);
    }
  };
  yield* socketsInTables(data, take, report, (source) => read?.torn(source));
  const open = yield* openSockets(data, tasks, (found) => {
    read?.torn("files");
    report(found);
  });
  read?.visited("files");
  for (const { sock, owners } of open) {
    if (sock === 0n) continue;
    take("files", [sock]);
    const known = seen.get(sock) as Seen;
    for (const owner of owners) known.owners.push(owner);
  }
  return seen;
}

/** Reads all of them, a kind of structure at a time. @internal */
export function* readSockets(
  data: KernelData,
  seen: ReadonlyMap<bigint, Seen>,
  report: OnDamage,
): Routine<KernelSocket[]> {
  const addresses = [...seen.keys()];
  const commons = yield* readEach(data, COMMON, addresses, "a socket", report);
  /** The addresses of those of a kind; nothing is read of others. */
  const those = (is: (i: number) => boolean) => addresses.map((each, i) => (is(i) ? each : undefined));
  const inTcp = (i: number) => isInternet(commons[i]?.family);
  const isWaiting = (i: number) => inTcp(i) && commons[i]?.state === TCP_TIME_WAIT;
  const isRequest = (i: number) => inTcp(i) && commons[i]?.state === TCP_NEW_SYN_RECV;
  // What it is shows in its family and, of TCP's, its state.
  const isWhole = (i: number) => {
    const { family, state } = commons[i] ?? {};
    return family !== undefined && (state !== undefined || !inTcp(i)) && !isWaiting(i) && !isRequest(i);
  };
  const waits = yield* readEach(data, TIME_WAIT, those(isWaiting), "a socket that waits", report);
  const socks = yield* readEach(data, SOCK, those(isWhole), "a socket", report);
  const ofInternet = (i: number, ...protocols: number[]) => {
    const { type, protocol } = socks[i] ?? {};
    return inTcp(i) && type !== undefined && type !== 3 && protocols.some((each) => each === protocol);
  };
  const isTcp = (i: number) => ofInternet(i, IPPROTO_TCP);
  const tcps = yield* readEach(data, TCP, those(isTcp), "a TCP socket", report);
  const isUdp = (i: number) => ofInternet(i, IPPROTO_UDP, IPPROTO_UDPLITE);
  const udps = yield* readEach(data, UDP, those(isUdp), "a UDP socket", report);
  // (A kernel whose sockets lack the member keeps back nothing.)
  const forwardOf = (i: number) => (isUdp(i) ? udps[i] && (udps[i].forward ?? 0) : 0);
  const hasUser = SOCK.on(data.types).offsetOf("uid") !== undefined;
  const family = (name: number, struct: string) => (i: number) =>
    commons[i]?.family === name && hasStruct(data.types, struct);
  const unix = yield* readFamily(data, UNIX, those(family(AF_UNIX, UNIX.struct)), report);
  const links = yield* readFamily(data, NETLINK, those(family(AF_NETLINK, NETLINK.struct)), report);
  const packets = yield* readFamily(data, PACKET, those(family(AF_PACKET, PACKET.struct)), report);
  const paths = yield* unixPaths(data, unix, report);
  const groups = yield* groupsOf(data, links, report);
  const toAlloc = BigInt(offsetOf(data.types, "socket_alloc", "socket"));
  const inodes = yield* readEach(
    data,
    SOCKET_INODE,
    socks.map((sock) =>
      sock?.socket === undefined || sock.socket === 0n ? undefined : sock.socket - toAlloc,
    ),
    "an inode of a socket",
    report,
  );
  const nets = yield* readEach(
    data,
    NET,
    commons.map((common) => common?.net),
    "a network namespace",
    report,
  );
  const uids = new Map<bigint, number | undefined>();
  for (const [i, sock] of socks.entries()) {
    if (sock === undefined) continue;
    uids.set(
      addresses[i] as bigint,
      sock.socket === 0n ? (hasUser ? sock.uid : 0) : (inodes[i]?.uid ?? sock.uid),
    );
  }
  /** As /proc/net has it: root's for what waits, the listener's for what is asked for. */
  const uidOf = (i: number) =>
    isWaiting(i) ? 0 : uids.get(isRequest(i) ? (commons[i]?.listener ?? 0n) : (addresses[i] as bigint));
  return addresses.map((address, i): KernelSocket => {
    const { sources, owners } = seen.get(address) as Seen;
    const common = commons[i];
    const sock = socks[i];
    // A socket that waits, or is not one yet, is TCP's: nothing else has those states.
    const small = isWaiting(i) || isRequest(i);
    const type = small ? 1 : sock?.type;
    const protocol = small ? IPPROTO_TCP : sock?.protocol;
    const link = links[i];
    const state = isWaiting(i) ? waits[i]?.state : isRequest(i) ? 3 : common?.state;
    const family = common?.family;
    const known = family !== undefined && type !== undefined && protocol !== undefined;
    return {
      address,
      protocol: known ? protocolName(family, type, protocol) : undefined,
      family: family === undefined ? undefined : familyName(family),
      type: type === undefined ? undefined : socketType(type),
      protocolNumber: protocol,
      state: state === undefined ? undefined : socketState(state),
      ...endsOf(common),
      path: family === undefined ? undefined : family === AF_UNIX ? paths[i] : null,
      peer: family === undefined ? undefined : family === AF_UNIX ? peerOf(unix[i]) : null,
      inode: small || sock?.socket === 0n ? null : inodes[i]?.inode,
      uid: uidOf(i),
      device: family === AF_PACKET ? packets[i]?.device : common?.device,
      ...queuesOf(small, common?.state, sock, isTcp(i) ? (tcps[i] ?? {}) : undefined, forwardOf(i)),
      namespace: nets[i]?.inode,
      netlink:
        link === undefined || protocol === undefined
          ? null
          : { protocol: netlinkName(protocol), portid: link.portid, groups: groups[i] ?? [] },
      etherType: packets[i]?.protocol === undefined ? null : bigEndian(packets[i].protocol),
      owners,
      seen: [...sources],
    };
  });
}

/** As `readEach`, for structures that a kernel may lack (where none is asked for). */
function* readFamily<F extends Parameters<typeof record>[1]>(
  data: KernelData,
  plan: ReturnType<typeof record<F>>,
  addresses: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<(Partial<Values<F>> | undefined)[]> {
  if (addresses.every((address) => address === undefined)) return addresses.map(() => undefined);
  return yield* readEach<F>(data, plan, addresses, `a ${plan.struct}`, report);
}

function isInternet(family: number | undefined): boolean {
  return family === AF_INET || family === AF_INET6;
}

function bigEndian(bytes: Uint8Array): number {
  return 256 * (bytes[0] as number) + (bytes[1] as number);
}

function endsOf(
  common: Partial<Values<typeof COMMON.fields>> | undefined,
): Pick<KernelSocket, "local" | "remote"> {
  if (common?.family === undefined) return { local: undefined, remote: undefined };
  if (!isInternet(common.family)) return { local: null, remote: null };
  const { local4, local6, localPort, remote4, remote6, remotePort, family } = common;
  const end = (four: Uint8Array | undefined, six: Uint8Array | undefined, port: number | undefined) => {
    const isSix = family === AF_INET6 && six !== undefined;
    if (port === undefined || (!isSix && four === undefined)) return undefined;
    return { address: isSix ? ipv6Text(six) : ipv4Text(four as Uint8Array), port };
  };
  return {
    local: end(local4, local6, localPort),
    remote: end(remote4, remote6, remotePort === undefined ? undefined : bigEndian(remotePort)),
  };
}

function peerOf(unix: Partial<Values<typeof UNIX.fields>> | undefined): bigint | null | undefined {
  return unix?.peer === 0n ? null : unix?.peer;
}

function difference(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a - b;
}

/** As /proc/net has them. */
function queuesOf(
  small: boolean,
  state: number | undefined,
  sock: Partial<Values<typeof SOCK.fields>> | undefined,
  tcp: Partial<Values<typeof TCP.fields>> | undefined,
  forward: number | undefined,
): Pick<KernelSocket, "receiveQueue" | "sendQueue"> {
  if (small) return { receiveQueue: 0, sendQueue: 0 };
  if (sock === undefined) return { receiveQueue: undefined, sendQueue: undefined };
  if (tcp === undefined) {
    // (`sk_wmem_alloc_get`: a socket that lives counts one byte. `udp_rqueue_get` leaves out what is read already.)
    return { receiveQueue: difference(sock.received, forward), sendQueue: difference(sock.written, 1) };
  }
  const unread = difference(tcp.receiveNext, tcp.copied);
  const unsent = difference(tcp.writeNext, tcp.unacknowledged);
  return {
    receiveQueue: state === TCP_LISTEN ? sock.backlog : unread && Math.max(0, unread | 0),
    sendQueue: unsent && unsent >>> 0,
  };
}

/** Names of unix sockets: NULs of abstract ones become "@", as /proc/net/unix has them. */
function* unixPaths(
  data: KernelData,
  socks: readonly (Partial<Values<typeof UNIX.fields>> | undefined)[],
  report: OnDamage,
): Routine<(string | undefined)[]> {
  const rows = yield* readEach(
    data,
    UNIX_ADDRESS,
    socks.map((sock) => sock?.address),
    "a unix address",
    report,
  );
  const paths: (string | undefined)[] = [];
  for (const [i, sock] of socks.entries()) {
    const row = rows[i];
    if (sock?.address === undefined || row?.length === undefined || row.name === undefined) {
      paths.push(sock?.address === 0n ? "" : undefined);
      continue;
    }
    // Behind the family's two bytes.
    if (row.length < 2 || row.length > UNIX_NAME + 1) {
      report(damage("a unix address", sock.address, "invalid", 0, `a length of ${row.length}`));
      paths.push(undefined);
      continue;
    }
    const { bytes, holes } = yield* data.memory.readPartial(row.name + 2n, row.length - 2);
    const hole = holes[0];
    if (hole !== undefined) report(damage("a unix address", row.name, "unreadable", hole.fault));
    paths.push(hole === undefined ? unixName(bytes) : undefined);
  }
  return paths;
}

function unixName(bytes: Uint8Array): string {
  if (bytes[0] !== 0) return textAt(bytes, 0, bytes.length);
  const shown = bytes.map((byte) => (byte === 0 ? 0x40 : byte));
  return textAt(shown, 0, shown.length);
}

function* groupsOf(
  data: KernelData,
  links: readonly (Partial<Values<typeof NETLINK.fields>> | undefined)[],
  report: OnDamage,
): Routine<(number[] | undefined)[]> {
  const all: (number[] | undefined)[] = [];
  for (const link of links) {
    if (link?.groups === undefined || link.groupCount === undefined || link.groups === 0n) {
      all.push(undefined);
      continue;
    }
    const length = Math.min(GROUP_BYTES, Math.ceil(link.groupCount / 8));
    const { bytes, holes } = yield* data.memory.readPartial(link.groups, length);
    const hole = holes[0];
    if (hole !== undefined)
      report(damage("groups of a netlink socket", link.groups, "unreadable", hole.fault));
    const groups: number[] = [];
    for (let bit = 0; bit < 8 * length; bit++) {
      if ((((bytes[bit >>> 3] as number) >>> (bit & 7)) & 1) === 1) groups.push(bit + 1);
    }
    all.push(hole === undefined ? groups : undefined);
  }
  return all;
}
