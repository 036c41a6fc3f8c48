/**
 * The kernel's protocols, `struct proto`: each socket leads to one.
 *
 * Facts: net/core/sock.c (`proto_list`, `proto_register`: a protocol without a cache of its own takes its sockets from kmalloc), include/net/sock.h
 * (`struct proto`), include/net/timewait_sock.h, include/net/request_sock.h; copies of protocols, which are on no list: net/ipv4/tcp_bpf.c,
 * net/ipv4/udp_bpf.c, net/unix/unix_bpf.c (for sockets in a sockmap), net/mptcp/subflow.c (for the connections of MPTCP's), net/tls/tls_main.c
 * (`tls_prots`: TLS_NUM_PROTS, 2, by TLS_NUM_CONFIG, 4, twice).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { int, maybe, place, raw, record, textAt, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const PROTO = record("proto", {
  name: raw("name"),
  slab: maybe(word("slab")),
  requests: maybe(word("rsk_prot")),
  waits: maybe(word("twsk_prot")),
  size: int("obj_size"),
});
const NODE = record("proto", { node: place("node") });
const REQUESTS = record("request_sock_ops", { slab: word("slab") });
const WAITS = record("timewait_sock_ops", { slab: word("twsk_slab") });
const CACHE = record("kmem_cache", { name: word("name") });

/** A protocol. @internal */
export interface Protocol {
  readonly address: bigint;
  /** "TCP", "UDPv6", "UNIX-STREAM". */
  readonly name: string;
  /** Its symbol, such as `tcp_prot`; else its name in quotes. */
  readonly label: string;
  /** Bytes of one of its sockets. */
  readonly size: number;
  /** Names of the slab caches of its sockets, of those that wait, of those that are only asked for; `null` for kmalloc's. */
  readonly caches: readonly (string | null | undefined)[];
}

/** Arrays of copies, and how many there are at most. */
const COPIES = [
  ["tcp_bpf_prots", 8],
  ["udp_bpf_prots", 2],
  ["unix_dgram_bpf_prot", 1],
  ["unix_stream_bpf_prot", 1],
  ["tcp_prot_override", 1],
  ["tcpv6_prot_override", 1],
  ["tls_prots", 32],
] as const;
/** The module that has one of these, where it is none of the kernel's own. */
const MODULE = "tls";
/** Kernels with everything loaded have about a hundred. (Each place that leads to one is compared with all of them.) */
const MAX_PROTOCOLS = 1024;
const MAX_NAME = 256;

/**
 * Protocols by their addresses.
 *
 * @param used Addresses to which listed sockets lead: with kallsyms of functions only, the list is found from there. @internal
 */
export function* readProtocols(
  data: KernelData,
  used: readonly bigint[],
  report: OnDamage,
): Routine<ReadonlyMap<bigint, Protocol>> {
  const { memory, types } = data;
  const layout = PROTO.on(types);
  const node = BigInt(NODE.on(types).offsetOf("node") as number);
  const head = yield* symbolAddress(data, "proto_list");
  const start = head ?? (used[0] === undefined ? undefined : used[0] + node);
  const places = new Set(used);
  if (start !== undefined) {
    const what = "the list of protocols";
    for (const each of yield* walkList(memory, start, what, report)) places.add(each - node);
  }
  const size = BigInt(layout.size);
  const ofModules = yield* data.kernel.loadModuleSymbols();
  for (const [name, count] of COPIES) {
    const own = yield* symbolAddress(data, name);
    const at = own ?? ofModules.symbol(name).find(({ module }) => module === MODULE)?.address;
    for (let i = 0n; at !== undefined && i < count; i++) places.add(at + i * size);
  }
  if (places.size > MAX_PROTOCOLS) {
    const more = `${places.size} of them can't be: sockets of ${MAX_PROTOCOLS} are looked for`;
    report(damage("the list of protocols", start ?? 0n, "too long", 0, more));
  }
  const rows = yield* layout.read(memory, [...places].slice(0, MAX_PROTOCOLS));
  // (One of them may be the list's head, or lie behind an array: it has no name.)
  const named = rows.flatMap(({ address, value }) => {
    const name = value === undefined ? "" : textAt(value.name, 0, value.name.length);
    return value === undefined || !/^[\x21-\x7e]+$/.test(name) ? [] : [{ address, name, value }];
  });
  const silent = () => {};
  const ofRequests = yield* REQUESTS.on(types).read(
    memory,
    named.map(({ value }) => value.requests ?? 0n),
  );
  const ofWaits = yield* WAITS.on(types).read(
    memory,
    named.map(({ value }) => value.waits ?? 0n),
  );
  const slabs = named.flatMap(({ value }, i) => [
    value.slab ?? 0n,
    ofWaits[i]?.value?.slab ?? 0n,
    ofRequests[i]?.value?.slab ?? 0n,
  ]);
  const caches = yield* CACHE.on(types).read(memory, slabs);
  const names = yield* readStrings(
    memory,
    caches.map(({ value }) => value?.name),
    "the name of a slab cache",
    silent,
    MAX_NAME,
  );
  const found = new Map<bigint, Protocol>();
  for (const [i, { address, name, value }] of named.entries()) {
    const symbol = yield* data.kernel.nameOf(address);
    // (Where kallsyms list functions only, the nearest symbol is another thing's.)
    const isNamed = symbol?.offset === 0n || COPIES.some(([each]) => each === symbol?.name);
    const label = symbol !== undefined && isNamed ? symbol.name : `"${name}"`;
    const own = value.slab === 0n ? null : names[3 * i];
    found.set(address, {
      address,
      name,
      label,
      size: value.size,
      caches: [own, names[3 * i + 1], names[3 * i + 2]],
    });
  }
  return found;
}
