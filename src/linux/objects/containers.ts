/** What lies in the kernel's containers, as sequences: the routines behind `object.$.list` and its like. */
import type { Routine, Sink } from "../../io/index.js";
import { type CType, stripped } from "../types/c-type.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "./damage.js";
import { walkChain, walkList } from "./list.js";
import { walkMapleRanges } from "./maple-tree.js";
import { follow } from "./object-steps.js";
import { pointersAt } from "./pointers.js";
import { walkRbtree } from "./rbtree.js";
import { int, maybe, offsetOf, record } from "./record.js";
import { locate, type ObjectContext, ObjectReadError, type Reference, referenceAt } from "./reference.js";
import { walkXarray } from "./xarray.js";

/** What lies around a node: its type, and the bytes from its beginning to the node. */
export interface Found {
  readonly type: CType;
  readonly offset: number;
}

/** An entry by its index; an odd one (since 4.20) is a value, not a pointer. */
export interface IndexedEntry {
  readonly index: number;
  readonly entry: bigint;
}

/** An entry and what it stands for, from `first` to `last` (inclusive). */
export interface RangeEntry {
  readonly first: bigint;
  readonly last: bigint;
  readonly entry: bigint;
}

/** The nodes of a container. */
export type NodesRoutine = (
  context: ObjectContext,
  at: bigint,
  what: string,
  report: OnDamage,
) => Routine<readonly bigint[]>;

/** A container's address: where it is, or where a pointer to it points. */
function* addressOf(ref: Reference): Routine<bigint> {
  const [located] = yield* locate([follow(ref) ?? ref]);
  if (located?.missing !== undefined) throw new ObjectReadError([located.missing]);
  return located?.address ?? 0n;
}

/** Gives the structures around the nodes. */
export function* objectsOf(
  sink: Sink<Reference>,
  ref: Reference,
  nodes: NodesRoutine,
  { type, offset }: Found,
  options: DamageOptions,
): Routine<void> {
  const { context } = ref;
  const log = new DamageLog(options);
  const at = yield* addressOf(ref);
  for (const node of yield* nodes(context, at, ref.label, log.report)) {
    const address = BigInt.asUintN(8 * context.memory.pointerSize, node - BigInt(offset));
    yield sink.emit(referenceAt(context, address, type));
  }
  log.end();
}

/** Of a `list_head`. */
export function listNodes({ memory }: ObjectContext, at: bigint, what: string, report: OnDamage) {
  return walkList(memory, at, what, report);
}

/** Of an `hlist_head` or `llist_head`. */
export function* chainNodes(
  { memory }: ObjectContext,
  at: bigint,
  what: string,
  report: OnDamage,
): Routine<bigint[]> {
  const first = yield* pointersAt(memory, at, 1);
  if (typeof first !== "number") return yield* walkChain(memory, first[0] as bigint, what, report);
  report(damage(what, at, "unreadable", first));
  return [];
}

/** Of an `rb_root` or `rb_root_cached`: the root is the first member. */
export function treeNodes({ memory }: ObjectContext, at: bigint, what: string, report: OnDamage) {
  return walkRbtree(memory, at, what, report);
}

/** Of an `xarray` or `radix_tree_root`. */
export function* xarrayNodes(
  { memory, types }: ObjectContext,
  at: bigint,
  what: string,
  report: OnDamage,
): Routine<bigint[]> {
  return pointersOf(yield* walkXarray(memory, types, at, what, report));
}

/** Of an `idr`. */
export function* idrNodes(
  context: ObjectContext,
  at: bigint,
  what: string,
  report: OnDamage,
): Routine<bigint[]> {
  const tree = at + BigInt(offsetOf(context.types, "idr", "idr_rt"));
  return yield* xarrayNodes(context, tree, what, report);
}

/** Of a `maple_tree`. */
export function* mapleNodes(
  { memory, types }: ObjectContext,
  at: bigint,
  what: string,
  report: OnDamage,
): Routine<bigint[]> {
  const [entries = []] = yield* walkMapleRanges(memory, types, [at], what, report);
  return pointersOf(entries);
}

/** Entries with a bit of the lowest two are values. (Before 4.20, those of a radix tree had the second set.) */
function pointersOf(entries: readonly { readonly entry: bigint }[]): bigint[] {
  return entries.map(({ entry }) => entry).filter((entry) => (entry & 3n) === 0n);
}

/** What the numbers of an IDR begin with is kept beside the tree, since 4.17 (6ce711f27500). */
const IDR = record("idr", { base: maybe(int("idr_base")) });

/** All entries of an `xarray`, `radix_tree_root` or `idr`. */
export function* xarrayEntries(
  sink: Sink<IndexedEntry>,
  ref: Reference,
  options: DamageOptions,
): Routine<void> {
  const { memory, types } = ref.context;
  const log = new DamageLog(options);
  const at = yield* addressOf(ref);
  const type = stripped((follow(ref) ?? ref).type);
  let tree = at;
  let base = 0;
  if (type.kind === "struct" && type.name === "idr") {
    tree += BigInt(offsetOf(types, "idr", "idr_rt"));
    const [row] = yield* IDR.on(types).read(memory, [at]);
    base = row?.partial.base ?? 0;
    if (row !== undefined && row.fault !== 0) log.report(damage(ref.label, at, "unreadable", row.fault));
  }
  for (const { index, entry } of yield* walkXarray(memory, types, tree, ref.label, log.report)) {
    yield sink.emit({ index: base + index, entry });
  }
  log.end();
}

/** All entries of a `maple_tree`. */
export function* mapleEntries(sink: Sink<RangeEntry>, ref: Reference, options: DamageOptions): Routine<void> {
  const { memory, types } = ref.context;
  const log = new DamageLog(options);
  const at = yield* addressOf(ref);
  const [entries = []] = yield* walkMapleRanges(memory, types, [at], ref.label, log.report);
  for (const entry of entries) yield sink.emit(entry);
  log.end();
}
