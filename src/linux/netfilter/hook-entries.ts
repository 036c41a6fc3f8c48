/**
 * What hangs at netfilter's heads, in each of the layouts.
 *
 * Facts: include/linux/netfilter.h (`nf_hook_entries`: behind its entries as many pointers to their `nf_hook_ops`),
 * net/netfilter/core.c (`MAX_HOOK_COUNT`, `nf_hook_entries_grow`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkChain, walkList } from "../objects/list.js";
import { pointersIn } from "../objects/pointers.js";
import { int, offsetOf, place, record, word } from "../objects/record.js";
import type { HookHead } from "./hook-heads.js";

const ENTRIES = record("nf_hook_entries", { count: int("num_hook_entries"), hooks: place("hooks") });
const ENTRY = record("nf_hook_entry", {
  // In 4.9 a whole copy of the ops.
  hook: word("hook", "ops.hook"),
  priv: word("priv", "ops.priv"),
});
const CHAINED = record("nf_hook_entry", { ops: word("orig_ops") });
const OPS = record("nf_hook_ops", { hook: word("hook"), priv: word("priv") });

/** MAX_HOOK_COUNT. */
const MAX_HOOKS = 1024;

/** One hook as its head has it. What could not be read is `undefined`. */
export interface HookEntry {
  readonly head: HookHead;
  /** The function that runs, and what it is given. */
  readonly hook: bigint | undefined;
  readonly priv: bigint | undefined;
  /** Address of its `nf_hook_ops`. */
  readonly ops: bigint | undefined;
}

/** The hooks of many heads, in the order of the heads, and of each in the order in which they run. */
export function* readHookEntries(
  data: KernelData,
  heads: readonly HookHead[],
  seen: Set<bigint>,
  report: OnDamage,
): Routine<HookEntry[]> {
  const { memory } = data;
  const pointing = heads.filter(({ layout }) => layout !== "list");
  const gathered = yield* memory.gather(
    pointing.map(({ at }) => at),
    memory.pointerSize,
  );
  const words = pointersIn(memory, gathered.bytes);
  const arrays: HookArray[] = [];
  const found: HookEntry[] = [];
  for (const [i, head] of pointing.entries()) {
    const fault = gathered.faultOf(i);
    if (fault !== 0) report(damage(whatOf(head), head.at, "unreadable", fault));
    const first = fault === 0 ? (words[i] as bigint) : 0n;
    if (first === 0n) continue;
    // Each head has its own: one that leads to another's would list that again, and many of them without end.
    if (seen.has(first)) {
      report(damage(whatOf(head), first, "mismatch", 0, "another head has it"));
      continue;
    }
    seen.add(first);
    if (head.layout === "array") arrays.push({ head, at: first });
    else found.push(...(yield* readChain(data, head, first, report)));
  }
  found.push(...(yield* readArrays(data, arrays, report)));
  for (const head of heads) {
    if (head.layout === "list") found.push(...(yield* readList(data, head, report)));
  }
  return found;
}

/** Which hooks these are, for reports. */
function whatOf({ family, hook, device }: HookHead): string {
  return `the hooks of ${family} ${hook}${device === null ? "" : ` on ${device ?? "a device"}`}`;
}

/** A head whose hooks are an array, and where that is. */
interface HookArray {
  readonly head: HookHead;
  readonly at: bigint;
}

function* readArrays(
  { types, memory }: KernelData,
  arrays: readonly HookArray[],
  report: OnDamage,
): Routine<HookEntry[]> {
  if (arrays.length === 0) return [];
  const layout = ENTRY.on(types);
  const sizes = yield* ENTRIES.on(types).read(
    memory,
    arrays.map(({ at }) => at),
  );
  const heads: HookHead[] = [];
  const entries: bigint[] = [];
  const pointers: bigint[] = [];
  for (const [i, { head, at }] of arrays.entries()) {
    const row = sizes[i];
    if (row?.value === undefined) {
      report(damage(whatOf(head), at, "unreadable", row?.fault));
      continue;
    }
    const { count, hooks } = row.value;
    // (Of a count that can't be, where the pointers behind the entries are is not known either.)
    if (count > MAX_HOOKS) {
      report(damage(whatOf(head), at, "too long", 0, `${count} of them can't be`));
      continue;
    }
    const end = hooks + BigInt(count * layout.size);
    for (let k = 0; k < count; k++) {
      heads.push(head);
      entries.push(hooks + BigInt(k * layout.size));
      pointers.push(end + BigInt(k * memory.pointerSize));
    }
  }
  const rows = yield* layout.read(memory, entries);
  const gathered = yield* memory.gather(pointers, memory.pointerSize);
  const words = pointersIn(memory, gathered.bytes);
  return rows.map(({ address, partial, fault }, i): HookEntry => {
    const head = heads[i] as HookHead;
    if (fault !== 0) report(damage(whatOf(head), address, "unreadable", fault));
    const missing = gathered.faultOf(i);
    if (missing !== 0) report(damage(whatOf(head), pointers[i] as bigint, "unreadable", missing));
    return { head, hook: partial.hook, priv: partial.priv, ops: missing === 0 ? words[i] : undefined };
  });
}

function* readChain(
  { types, memory }: KernelData,
  head: HookHead,
  first: bigint,
  report: OnDamage,
): Routine<HookEntry[]> {
  const next = offsetOf(types, "nf_hook_entry", "next");
  const nodes = yield* walkChain(memory, first, whatOf(head), report, next);
  const rows = yield* ENTRY.on(types).read(memory, nodes);
  const chained = yield* CHAINED.on(types).read(memory, nodes);
  return rows.map(({ address, partial, fault }, i) => {
    if (fault !== 0) report(damage(whatOf(head), address, "unreadable", fault));
    return { head, hook: partial.hook, priv: partial.priv, ops: chained[i]?.partial.ops };
  });
}

function* readList({ types, memory }: KernelData, head: HookHead, report: OnDamage): Routine<HookEntry[]> {
  const nodes = yield* walkList(memory, head.at, whatOf(head), report);
  const offset = BigInt(offsetOf(types, "nf_hook_ops", "list"));
  const rows = yield* OPS.on(types).read(
    memory,
    nodes.map((node) => node - offset),
  );
  return rows.map(({ address, partial, fault }) => {
    if (fault !== 0) report(damage(whatOf(head), address, "unreadable", fault));
    return { head, hook: partial.hook, priv: partial.priv, ops: address };
  });
}
