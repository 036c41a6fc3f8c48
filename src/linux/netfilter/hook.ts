/**
 * Functions that netfilter calls for packets: its hooks, of every namespace and device.
 *
 * Facts: include/linux/netfilter.h (`nf_hook_ops`, `enum nf_hook_ops_type`), net/netfilter/nfnetlink_hook.c for what
 * `nft list hooks` shows.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { CodeOwners } from "../modules/code-owner.js";
import { needNetworkNamespaces } from "../net/net-namespaces.js";
import { DamageLog, type DamageOptions, damage, type OnDamage, once } from "../objects/damage.js";
import { readWhole } from "../objects/read-each.js";
import { hasStruct, int, maybe, record, word } from "../objects/record.js";
import { TypesError } from "../types/type-table.js";
import { type HookChain, readHookChains } from "./hook-chains.js";
import { type HookEntry, readHookEntries } from "./hook-entries.js";
import { globalHeads, hasHooks, headsOfDevices, headsOfNamespace } from "./hook-heads.js";
import { netfilterFamily, netfilterHook } from "./names.js";

const NET = record("net", { inode: int("ns.inum", "proc_inum") });
const OPS = record("nf_hook_ops", {
  hook: word("hook"),
  family: int("pf"),
  number: int("hooknum"),
  priority: int("priority"),
  // Since 5.14.
  type: maybe(int("hook_ops_type")),
});

/** Hooks by that many heads are read; what is behind is told. */
const MAX_ALL = 1 << 20;

/** A hook. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface NetfilterHook {
  /** Inode number of its network namespace; null before Linux 4.3, where a hook is for all of them. */
  readonly namespace: number | null | undefined;
  /** Whose packets: "ipv4", "ipv6", "arp", "bridge", "netdev", "decnet". */
  readonly family: string;
  /** "prerouting", "input", "forward", "output", "postrouting", "ingress", "egress". */
  readonly hook: string;
  /** The device, of family "netdev"; else null. */
  readonly device: string | null | undefined;
  /** Ascending: hooks are called in this order. */
  readonly priority: number | undefined;
  /** The function's symbol, with an offset ("+0x10") if no symbol begins there; `undefined` if none is near. */
  readonly function: string | undefined;
  /** Whose code that is: a module's name, null for the kernel's own; `undefined` if no module that is listed owns it. */
  readonly module: string | null | undefined;
  /** Names of the nf_tables chain that it runs, and of that chain's table, of family `registered`; null for anything else's. */
  readonly table: string | null | undefined;
  readonly chain: string | null | undefined;
  /** Address of the function. */
  readonly handler: bigint | undefined;
  /** What the function is given of its own: a chain of nf_tables gets its `struct nft_chain`. */
  readonly priv: bigint | undefined;
  /** The family that it was registered for: "inet" for one of both "ipv4" and "ipv6". */
  readonly registered: string | undefined;
  /** Address of its `struct nf_hook_ops`. */
  readonly ops: bigint | undefined;
}

/**
 * Hooks of every network namespace, by family and hook, those of devices last, and in the order in which they are called.
 *
 * @throws {TypesError} `NO_MEMBER` for a kernel without netfilter (CONFIG_NETFILTER).
 */
export function listNetfilterHooks(
  kernel: LinuxKernel,
  options: DamageOptions = {},
): IoSequence<NetfilterHook> {
  return IoSequence.of(kernel.memory.scheduler, hooksRoutine, kernel, options);
}

function* hooksRoutine(
  sink: Sink<NetfilterHook>,
  kernel: LinuxKernel,
  options: DamageOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  yield* eachNetfilterHook(data, log.report, function* (hook) {
    yield sink.emit(hook);
  });
  log.end();
}

/** Gives each hook of them as it is found. @throws {TypesError} as {@link listNetfilterHooks}. @internal */
export function* eachNetfilterHook(
  data: KernelData,
  report: OnDamage,
  give: (hook: NetfilterHook) => Routine<void>,
): Routine<void> {
  const global = yield* globalHeads(data);
  if (!hasStruct(data.types, "nf_hook_ops") || (global.length === 0 && !hasHooks(data.types))) {
    throw new TypesError("NO_MEMBER", "nf.hooks", "this kernel has no hooks of netfilter (CONFIG_NETFILTER)");
  }
  const owners = yield* CodeOwners.read(data, report);
  const nets = yield* needNetworkNamespaces(data, report);
  const rows = yield* NET.on(data.types).read(data.memory, nets);
  const seen = new Set<bigint>();
  // (A module without types is so for all namespaces.)
  const context = { data, owners, report, reportOnce: once(report) };
  let left = MAX_ALL;
  const take = function* (
    heads: Parameters<typeof readHookEntries>[1],
    namespace: number | null | undefined,
  ) {
    const entries = yield* readHookEntries(data, heads, seen, report);
    for (const hook of yield* describe(context, entries.slice(0, Math.max(0, left)), namespace)) {
      yield* give(hook);
    }
    left -= entries.length;
  };
  yield* take(global, null);
  for (const { address, partial, fault } of rows) {
    if (fault !== 0) report(damage("a network namespace", address, "unreadable", fault));
    const devices = yield* headsOfDevices(data, address, report);
    // (Their lists may be one ring, in which each namespace's leads through all others'.)
    left -= devices.length;
    yield* take([...headsOfNamespace(data.types, address), ...devices], partial.inode);
    if (left < 0) {
      report(damage("the hooks of netfilter", address, "too long"));
      break;
    }
  }
}

/** What hooks of all namespaces are described with. */
interface Context {
  readonly data: KernelData;
  readonly owners: CodeOwners;
  readonly report: OnDamage;
  readonly reportOnce: OnDamage;
}

function* describe(
  { data, owners, report, reportOnce }: Context,
  entries: readonly HookEntry[],
  namespace: number | null | undefined,
): Routine<NetfilterHook[]> {
  const pointers = entries.map(({ ops }) => ops);
  const ops = yield* readWhole(data, OPS, pointers, "an nf_hook_ops", report);
  const hooks: Omit<NetfilterHook, "table" | "chain">[] = [];
  for (const [i, entry] of entries.entries()) {
    const { head, hook: handler } = entry;
    const own = ops[i];
    if (entry.ops === 0n) {
      report(damage(`a hook of ${head.family}`, head.at, "invalid", 0, "it has no nf_hook_ops"));
    } else if (own !== undefined && handler !== undefined && own.hook !== handler) {
      const why = "its function is not the one that runs";
      report(damage("an nf_hook_ops", entry.ops as bigint, "mismatch", 0, why));
    }
    hooks.push({
      namespace,
      family: head.family,
      hook: netfilterHook(head.family, head.hook),
      device: head.device,
      priority: own?.priority,
      function: handler === undefined ? undefined : yield* functionName(data, handler),
      module: handler === undefined ? undefined : yield* owners.of(handler),
      handler,
      priv: entry.priv,
      registered: own === undefined ? undefined : netfilterFamily(own.family),
      ops: entry.ops,
    });
  }
  const parts = hooks.map((hook, i) => ({ ...hook, type: ops[i]?.type }));
  const chains = yield* readHookChains(data, parts, reportOnce);
  return hooks.map((hook, i) => ({ ...hook, ...(chains[i] as HookChain) }));
}

function* functionName({ kernel }: KernelData, address: bigint): Routine<string | undefined> {
  const named = yield* kernel.nameOf(address);
  if (named === undefined) return undefined;
  return named.offset === 0n ? named.name : `${named.name}+0x${named.offset.toString(16)}`;
}
