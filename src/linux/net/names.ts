/**
 * Names of what sockets are.
 *
 * Facts: include/net/tcp_states.h, include/linux/socket.h (AF_*), include/linux/net.h (`enum sock_type`),
 * include/uapi/linux/in.h (IPPROTO_*), include/uapi/linux/netlink.h (NETLINK_*). All of them are part of the interface to programs.
 */

const STATES = [
  "",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING",
  "NEW_SYN_RECV",
  "BOUND_INACTIVE",
] as const;

/** What `skc_state` says, also of sockets that are not TCP's: an unconnected one is "CLOSE". */
export function socketState(state: number): string {
  return STATES[state] || String(state);
}

const TYPES = new Map([
  [1, "stream"],
  [2, "dgram"],
  [3, "raw"],
  [4, "rdm"],
  [5, "seqpacket"],
  [6, "dccp"],
  [10, "packet"],
]);

/** What the second argument of socket(2) was. */
export function socketType(type: number): string {
  return TYPES.get(type) ?? String(type);
}

/** Address families, as far as they are told apart here. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;

const FAMILIES = new Map([
  [AF_UNIX, "unix"],
  [AF_INET, "inet"],
  [AF_INET6, "inet6"],
  [AF_NETLINK, "netlink"],
  [AF_PACKET, "packet"],
  [15, "key"],
  [29, "can"],
  [30, "tipc"],
  [31, "bluetooth"],
  [38, "alg"],
  [40, "vsock"],
  [43, "smc"],
  [44, "xdp"],
]);

/** The name of an address family; its number for one that is not told apart. */
export function familyName(family: number): string {
  return FAMILIES.get(family) ?? String(family);
}

const PROTOCOLS = new Map([
  [1, "icmp"],
  [6, "tcp"],
  [17, "udp"],
  [33, "dccp"],
  [58, "icmp6"],
  [132, "sctp"],
  [136, "udplite"],
  [262, "mptcp"],
]);

/** What a socket speaks: of the Internet's families its protocol, or "raw"; of others the family. */
export function protocolName(family: number, type: number, protocol: number): string {
  if (family !== AF_INET && family !== AF_INET6) return familyName(family);
  // (SOCK_RAW)
  return type === 3 ? "raw" : (PROTOCOLS.get(protocol) ?? String(protocol));
}

const NETLINK = [
  "route",
  "unused",
  "usersock",
  "firewall",
  "sock_diag",
  "nflog",
  "xfrm",
  "selinux",
  "iscsi",
  "audit",
  "fib_lookup",
  "connector",
  "netfilter",
  "ip6_fw",
  "dnrtmsg",
  "kobject_uevent",
  "generic",
  "dm",
  "scsitransport",
  "ecryptfs",
  "rdma",
  "crypto",
  "smc",
] as const;

/** What a netlink socket talks to. */
export function netlinkName(protocol: number): string {
  return NETLINK[protocol] ?? String(protocol);
}

/** Four bytes as "127.0.0.1". */
export function ipv4Text(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 4)).join(".");
}

/** Sixteen bytes as "::1" (RFC 5952; an address that stands for one of IPv4 ends as that is written). */
export function ipv6Text(bytes: Uint8Array): string {
  const words = Array.from({ length: 8 }, (_, i) => 256 * (bytes[2 * i] ?? 0) + (bytes[2 * i + 1] ?? 0));
  if (words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff) {
    return `::ffff:${ipv4Text(bytes.subarray(12))}`;
  }
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && words[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = (from: number, to?: number) =>
    words
      .slice(from, to)
      .map((word) => word.toString(16))
      .join(":");
  return best.at < 0 ? hex(0) : `${hex(0, best.at)}::${hex(best.at + best.length)}`;
}
