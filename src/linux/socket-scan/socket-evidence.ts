/**
 * How much speaks for a place being a socket: facts that have nothing to do with each other.
 *
 * Facts: include/net/sock.h, include/linux/net.h (`struct socket`), include/linux/refcount.h, net/ipv4/tcp_minisocks.c, include/net/request_sock.h.
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, nameOfFunction } from "../kernel-data.js";
import { AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX } from "../net/names.js";
import type { Candidate } from "../scan/find-candidates.js";
import type { ObjectHome } from "../scan/object-homes.js";
import { ownAddress } from "../scan/own-address.js";
import { Verdict } from "../scan/verdict.js";
import type { Protocol } from "./protocols.js";
import {
  COMMON,
  type CommonFields,
  FILE,
  NETLINK,
  queuePlaces,
  REQUEST,
  SOCKET,
  WHOLE,
  type WholeFields,
  wholeSpan,
} from "./socket-layout.js";

/** A place with what speaks for it. @internal */
export interface WeighedSocket {
  readonly physical: number;
  /** Virtual address: that to which its own queues lead, else in the linear map. */
  readonly address: bigint;
  readonly common: CommonFields;
  readonly protocol: Protocol;
  readonly kind: SocketKind;
  /** Of a whole one; `undefined` if it could not be read. */
  readonly whole: WholeFields | undefined;
  /** Whether its empty queues lead to itself, where it is; `undefined` if it has none. */
  readonly isOwn: boolean | undefined;
  /** Whether it has a file that leads back to it. */
  readonly hasFile: boolean;
  /** Of one that was asked for: whether the connection stands, and waits to be accepted in its place. */
  readonly isAnswered: boolean;
  /** Of netlink's: its number; 0 for one that is not bound. */
  readonly portid: number | undefined;
  readonly verdict: Verdict;
}

/** Of TCP, what waits for its time to end, and what is only asked for, have small structures of their own. @internal */
export type SocketKind = "whole" | "waiting" | "request";

/** Independent facts of which a socket needs some, the pointer to its protocol among them. */
const ENOUGH = 4;
/** And of those that chance doesn't make. */
const STRONG = 2;
const TIME_WAIT = 6;
const NEW_SYN_RECV = 12;
/** Sockets read at once. */
const PIECE = 4096;
/** One that more than that hold is none. */
const MAX_REFERENCES = 1 << 24;

/** What the scan knows of the kernel. @internal */
export interface SocketContext {
  readonly protocols: ReadonlyMap<bigint, Protocol>;
  readonly namespaces: ReadonlySet<bigint>;
  /** Addresses of sockets that tables or files have. */
  readonly listed: { has(address: bigint): boolean };
  /** Virtual less physical address in the linear map. */
  readonly linear: bigint;
}

/** Weighs candidates; those of which too little holds are left out. @internal */
export function* weighSockets(
  data: KernelData,
  candidates: readonly Candidate[],
  context: SocketContext,
): Routine<WeighedSocket[]> {
  const found: WeighedSocket[] = [];
  const names = new Map<bigint, string | undefined>();
  for (let from = 0; from < candidates.length; from += PIECE) {
    for (const each of yield* weighPiece(data, candidates.slice(from, from + PIECE), context, names)) {
      found.push(each);
    }
  }
  return found;
}

function* weighPiece(
  data: KernelData,
  candidates: readonly Candidate[],
  { protocols, namespaces, listed, linear }: SocketContext,
  names: Map<bigint, string | undefined>,
): Routine<WeighedSocket[]> {
  const { memory, types } = data;
  const mask = 8 * memory.pointerSize;
  const layout = WHOLE.on(types);
  const span = wholeSpan(types);
  const rings = queuePlaces(types);
  const mapped = candidates.map(({ physical }) => BigInt.asUintN(mask, BigInt(physical) + linear));
  const gathered = yield* memory.gather(BigUint64Array.from(mapped), span);
  const rows: Omit<WeighedSocket, "hasFile" | "isAnswered" | "portid" | "verdict">[] = [];
  for (const [i, { physical, bytes }] of candidates.entries()) {
    const at = mapped[i] as bigint;
    const common = COMMON.on(types).decode(bytes, 0, at);
    const protocol = protocols.get(common.protocol);
    if (protocol === undefined) continue;
    const kind = kindOf(common, protocol);
    const all = kind === "whole" ? gathered.at(i) : undefined;
    const own = all === undefined ? undefined : yield* ownAddress(data, all, rings, physical, at);
    rows.push({
      physical,
      address: typeof own === "bigint" ? own : at,
      common,
      protocol,
      kind,
      whole: all === undefined ? undefined : layout.decode(all, 0, at),
      isOwn: own === undefined ? undefined : own !== false,
    });
  }
  const sockets = yield* SOCKET.on(types).read(
    memory,
    rows.map(({ whole }) => whole?.socket ?? 0n),
  );
  const files = yield* FILE.on(types).read(
    memory,
    sockets.map(({ value }) => value?.file ?? 0n),
  );
  const links = rows.map(({ address, common }) => (common.family === AF_NETLINK ? address : 0n));
  const layoutOfLinks = NETLINK.onIf(types);
  const numbers = layoutOfLinks === undefined ? [] : yield* layoutOfLinks.read(memory, links);
  const asked = rows.map(({ address, kind }) => (kind === "request" ? address : 0n));
  const requests = yield* REQUEST.on(types).read(memory, asked);
  const found: WeighedSocket[] = [];
  for (const [i, row] of rows.entries()) {
    const { address, common, protocol, kind, whole, isOwn } = row;
    const verdict = new Verdict();
    verdict.strong(true, `leads to ${protocol.label}`);
    verdict.strong(isOwn, "empty queues lead to itself");
    const socket = whole === undefined || whole.socket === 0n ? undefined : sockets[i]?.value;
    const isBack = socket?.sock === address;
    verdict.strong(
      whole === undefined || whole.socket === 0n ? undefined : isBack,
      "its struct socket leads back",
    );
    const net = common.net === undefined || namespaces.size === 0 ? undefined : namespaces.has(common.net);
    verdict.strong(net, "is in a network namespace");
    if (kind === "request") verdict.strong(listed.has(common.listener ?? 0n), "asked for at a listed socket");
    if (whole !== undefined) {
      if (!names.has(whole.stateChange)) {
        names.set(whole.stateChange, yield* nameOfFunction(data, whole.stateChange));
      }
      const name = names.get(whole.stateChange);
      verdict.strong(name !== undefined, `tells of its state by ${name ?? "no function"}`);
      const isOfKind = whole.type > 0 && whole.type <= 10 && isFitting(protocol.name, whole);
      verdict.plain(isOfKind, "type and protocol fit");
      verdict.plain(
        whole.creator === undefined ? undefined : protocols.has(whole.creator),
        "made for a protocol",
      );
    }
    verdict.plain(isOfFamily(protocol.name, common.family), "family fits");
    const isSane = common.references >= 0 && common.references <= MAX_REFERENCES;
    verdict.plain(isSane, "count of references in range");
    if (verdict.holds.length < ENOUGH || verdict.strongs < STRONG) continue;
    const file = isBack ? socket.file : 0n;
    const hasFile = file !== 0n && files[i]?.value?.socket === whole?.socket;
    const isAnswered = listed.has(requests[i]?.value?.sock ?? 0n);
    found.push({ ...row, hasFile, isAnswered, portid: numbers[i]?.value?.portid, verdict });
  }
  return found;
}

/** Notes what the memory says in which it lies. @internal */
export function weighHome({ protocol, kind, verdict }: WeighedSocket, home: ObjectHome): void {
  if (home.kind !== "slab" || home.cache === undefined) return;
  const wanted = protocol.caches[kind === "whole" ? 0 : kind === "waiting" ? 1 : 2];
  if (wanted === undefined) return;
  const fits = wanted === null ? home.cache.startsWith("kmalloc") : home.cache === wanted;
  verdict.strong(fits && home.isWhole !== false, `lies in slab cache ${home.cache}`);
}

function kindOf({ state }: CommonFields, { name }: Protocol): SocketKind {
  if (!name.startsWith("TCP")) return "whole";
  return state === TIME_WAIT ? "waiting" : state === NEW_SYN_RECV ? "request" : "whole";
}

/** Families of protocols by how their names begin; others are of any. */
const FAMILIES = [
  [/^(UNIX|UNIX-STREAM|UNIX-DGRAM)$/, AF_UNIX],
  [/^(TCP|UDP|UDPLITE|UDP-Lite|RAW|PING|MPTCP)$/, AF_INET],
  [/^(TCP|UDP|UDPLITE|RAW|PING|MPTCP)v6$/, AF_INET6],
  [/^NETLINK$/, AF_NETLINK],
  [/^PACKET$/, AF_PACKET],
] as const;

function isOfFamily(name: string, family: number): boolean | undefined {
  const found = FAMILIES.find(([pattern]) => pattern.test(name));
  return found === undefined ? undefined : found[1] === family;
}

/** Types (socket(2)) and protocols (include/uapi/linux/in.h) of those that have one of each. */
function isFitting(name: string, { type, protocol }: WholeFields): boolean {
  if (/^TCP/.test(name)) return type === 1;
  if (/^UDPLITE|^UDP-Lite/.test(name)) return type === 2 && protocol === 136;
  if (/^UDP/.test(name)) return type === 2 && protocol === 17;
  if (/^RAW/.test(name)) return type === 3;
  return true;
}
