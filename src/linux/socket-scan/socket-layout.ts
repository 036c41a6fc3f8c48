/**
 * What the scan reads of a socket, and where that is in this kernel's.
 *
 * Facts: include/net/sock.h (`struct sock_common`, `struct sock`), include/linux/skbuff.h (`sk_buff_head`: an empty queue leads to itself).
 */
import { int, maybe, offsetOf, place, record, type Values, word } from "../objects/record.js";
import type { CandidateShape } from "../scan/find-candidates.js";
import type { TypeTable } from "../types/type-table.js";
import type { Protocol } from "./protocols.js";
import { findSockets, markOf, type SocketShape } from "./socket-shape.hot.js";

/** What whole sockets share with those that wait or are only asked for. @internal */
export const COMMON = record("sock_common", {
  family: int("skc_family"),
  state: int("skc_state"),
  number: int("skc_num"),
  protocol: word("skc_prot"),
  net: maybe(word("skc_net.net")),
  references: int("skc_refcnt.refs.counter", "skc_refcnt.counter"),
  listener: maybe(word("skc_listener")),
});

/** What only whole ones have. @internal */
export const WHOLE = record("sock", {
  type: int("sk_type"),
  protocol: int("sk_protocol"),
  flags: word("sk_flags", "__sk_common.skc_flags"),
  socket: word("sk_socket"),
  creator: maybe(word("sk_prot_creator")),
  stateChange: word("sk_state_change"),
  // (Only where they are.)
  receive: place("sk_receive_queue"),
  write: place("sk_write_queue"),
  errors: place("sk_error_queue"),
});
/** What leads back. @internal */
export const SOCKET = record("socket", { sock: word("sk"), file: word("file") });
/** What a socket of netlink's that is in the table has: a number. @internal */
export const NETLINK = record("netlink_sock", { portid: int("portid") });
/** What is only asked for: once the connection stands, that, which waits to be accepted. @internal */
export const REQUEST = record("request_sock", { sock: word("sk") });
/** @internal */
export const FILE = record("file", { socket: word("private_data") });

/** @internal */
export type CommonFields = Values<typeof COMMON.fields>;
/** @internal */
export type WholeFields = Values<typeof WHOLE.fields>;

/** Lists of a whole socket that lead to themselves while they are empty. */
const QUEUES = ["receive", "write", "errors"] as const;

/** @returns Bytes from the beginning to queues. @internal */
export function queuePlaces(types: TypeTable): number[] {
  const layout = WHOLE.on(types);
  return QUEUES.map((name) => layout.offsetOf(name) as number);
}

/** Bytes of a whole socket that are read. @internal */
export function wholeSpan(types: TypeTable): number {
  const layout = WHOLE.on(types);
  const ends = Object.keys(WHOLE.fields).map((name) => layout.offsetOf(name as keyof WholeFields) ?? 0);
  return Math.max(...ends) + 16;
}

/** What is looked for in memory: places that lead to one of these protocols. @internal */
export function socketShape(
  types: TypeTable,
  pointerSize: number,
  protocols: ReadonlyMap<bigint, Protocol>,
): CandidateShape {
  const at = (path: string) => offsetOf(types, "sock_common", path);
  const part = (path: string) => ({ word: Math.floor(at(path) / 4), shift: 8 * (at(path) % 4) });
  const marks = new Uint8Array(1 << 16);
  const words = [...protocols.keys()].map((address) => ({
    low: Number(BigInt.asIntN(32, address)),
    high: Number(BigInt.asIntN(32, address >> 32n)),
  }));
  for (const { low } of words) marks[markOf(low)] = 1;
  const shape: SocketShape = {
    protocol: at("skc_prot") / 4,
    high: pointerSize === 8 ? 1 : 0,
    lows: Int32Array.from(words, ({ low }) => low),
    highs: Int32Array.from(words, ({ high }) => high),
    marks,
    family: part("skc_family"),
    state: part("skc_state"),
  };
  return {
    length: 4 * Math.ceil(COMMON.on(types).size / 4),
    find: (all, from, until, step, found) => findSockets(all, from, until, step, shape, found),
  };
}
