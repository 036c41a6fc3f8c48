/**
 * What ftrace has registered: what explains text that is patched.
 *
 * Facts: include/linux/ftrace.h (`struct ftrace_ops`: `trampoline`, `next`), kernel/trace/ftrace.c (`ftrace_ops_list`,
 * `ftrace_list_end`, `struct ftrace_hash`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkChain } from "../objects/list.js";
import { pointersAt } from "../objects/pointers.js";
import { int, maybe, offsetOf, record, word } from "../objects/record.js";

const OPS = record("ftrace_ops", {
  func: word("func"),
  next: word("next"),
  flags: word("flags"),
  hash: maybe(word("func_hash")),
  trampoline: maybe(word("trampoline")),
  trampolineSize: maybe(word("trampoline_size")),
});
const FILTER = record("ftrace_ops_hash", { filter: word("filter_hash") });
const HASH = record("ftrace_hash", {
  bits: int("size_bits"),
  buckets: word("buckets"),
  count: word("count"),
});
const ENTRY = record("ftrace_func_entry", { ip: word("ip") });
const MAX_OPS = 4096;
const MAX_BITS = 16;

/** An `ftrace_ops` that is registered. */
export interface TraceOps {
  readonly address: bigint;
  readonly func: bigint;
  readonly trampoline: bigint;
  readonly trampolineSize: bigint;
  readonly hash: bigint;
}

/** Those that are registered; `undefined` if nothing names their list. */
export function* traceOps(data: KernelData, report: OnDamage): Routine<TraceOps[] | undefined> {
  const layout = OPS.onIf(data.types);
  const head = yield* symbolAddress(data, "ftrace_ops_list");
  if (layout === undefined || head === undefined) return undefined;
  const end = yield* symbolAddress(data, "ftrace_list_end");
  const first = yield* pointersAt(data.memory, head, 1);
  if (typeof first === "number") {
    report(damage("the list of ftrace_ops", head, "unreadable", first));
    return undefined;
  }
  const found: TraceOps[] = [];
  const seen = new Set<bigint>();
  for (let at = first[0] as bigint; at !== 0n && at !== end; ) {
    if (seen.has(at) || seen.size >= MAX_OPS) {
      report(damage("the list of ftrace_ops", at, seen.has(at) ? "loop" : "too long"));
      break;
    }
    seen.add(at);
    const [row] = yield* layout.read(data.memory, [at]);
    if (row?.value === undefined) {
      report(damage("an ftrace_ops", at, "unreadable", row?.fault ?? 0));
      break;
    }
    const { func, next, trampoline = 0n, trampolineSize = 0n, hash = 0n } = row.value;
    found.push({ address: at, func, trampoline, trampolineSize, hash });
    at = next;
  }
  return found;
}

/** The functions that an `ftrace_ops` is for; none for one that is for all. */
export function* tracedFunctions(data: KernelData, ops: TraceOps, report: OnDamage): Routine<bigint[]> {
  if (ops.hash === 0n) return [];
  const [filter] = yield* FILTER.on(data.types).read(data.memory, [ops.hash]);
  const [hash] = yield* HASH.on(data.types).read(data.memory, [filter?.value?.filter ?? 0n]);
  if (hash?.value === undefined || hash.value.count === 0n) return [];
  const { bits, buckets } = hash.value;
  if (bits < 0 || bits > MAX_BITS) {
    report(damage("the functions of an ftrace_ops", hash.address, "invalid", 0, `2^${bits} buckets`));
    return [];
  }
  const heads = yield* pointersAt(data.memory, buckets, 2 ** bits);
  if (typeof heads === "number") {
    report(damage("the functions of an ftrace_ops", buckets, "unreadable", heads));
    return [];
  }
  const seen = new Set<bigint>();
  const nodes: bigint[] = [];
  for (const head of heads) {
    if (head === 0n) continue;
    for (const node of yield* walkChain(
      data.memory,
      head,
      "the functions of an ftrace_ops",
      report,
      0,
      seen,
    )) {
      nodes.push(node);
    }
  }
  const offset = BigInt(offsetOf(data.types, "ftrace_func_entry", "hlist"));
  const rows = yield* ENTRY.on(data.types).read(
    data.memory,
    nodes.map((node) => node - offset),
  );
  return rows.flatMap(({ value }) => (value === undefined ? [] : [value.ip]));
}

/** Where the trampolines of what is registered are. */
export function trampolinesOf(ops: readonly TraceOps[]): { start: bigint; end: bigint }[] {
  return ops
    .filter(({ trampoline }) => trampoline !== 0n)
    .map(({ trampoline, trampolineSize }) => ({ start: trampoline, end: trampoline + trampolineSize }));
}
