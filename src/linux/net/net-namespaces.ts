/**
 * Every network namespace: what holds one may be no process, but a socket or a bind mount.
 *
 * Facts: net/core/net_namespace.c (`net_namespace_list`; `init_net` is its first), include/net/net_namespace.h,
 * include/linux/nsproxy.h.
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, listsFunctionsOnly, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { offsetOf, record, word } from "../objects/record.js";

const TASK = record("task_struct", { nsproxy: word("nsproxy") });
const NSPROXY = record("nsproxy", { net: word("net_ns") });
const NET = record("net", { previous: word("list.prev") });

/** Addresses of their `struct net`, the first one first. Empty for a kernel that does not tell where they are. */
export function* networkNamespaces(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const head = (yield* symbolAddress(data, "net_namespace_list")) ?? (yield* headByFirst(data, report));
  if (head === undefined) return [];
  const offset = BigInt(offsetOf(data.types, "net", "list"));
  const nodes = yield* walkList(data.memory, head, "the list of network namespaces", report);
  return nodes.map((node) => node - offset);
}

/** As {@link networkNamespaces}, for what makes no sense without any: that there is none is told. */
export function* needNetworkNamespaces(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const nets = yield* networkNamespaces(data, report);
  if (nets.length === 0) {
    const why = "none is found (symbol net_namespace_list)";
    report(damage("the list of network namespaces", 0n, "unreadable", 0, why));
  }
  return nets;
}

/** Where kallsyms list functions only: the first task is in the first namespace, before which the head of the list is. */
function* headByFirst(data: KernelData, report: OnDamage): Routine<bigint | undefined> {
  const { kernel, memory, types } = data;
  if (!(yield* listsFunctionsOnly(data))) return undefined;
  const what = "the first network namespace";
  const [task] = yield* TASK.on(types).read(memory, [yield* kernel.findInitTask()]);
  const [proxy] = yield* NSPROXY.on(types).read(memory, [task?.value?.nsproxy ?? 0n]);
  const [net] = yield* NET.on(types).read(memory, [proxy?.value?.net ?? 0n]);
  if (net?.value !== undefined) return net.value.previous;
  report(damage(what, net?.address ?? 0n, "unreadable", net?.fault ?? 0));
  return undefined;
}
