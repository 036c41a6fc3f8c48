/**
 * The kernel's maple trees (since Linux 6.1, 54a611b60590): entries by ranges of numbers, such as the VMAs of a process.
 *
 * Facts: include/linux/maple_tree.h (nodes of 256 bytes, aligned so; bits 3 to 6 of a pointer to one are its type),
 * lib/maple_tree.c (`mte_to_node`, `ma_data_end`, `ma_dead_node`, `mas_safe_pivot`, `mte_is_leaf`).
 */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { stripped } from "../types/c-type.js";
import { needPlace } from "../types/member-path.js";
import { TypesError, type TypeTable } from "../types/type-table.js";
import { damage, type OnDamage } from "./damage.js";
import { pointersIn } from "./pointers.js";
import { needStruct, offsetOf } from "./record.js";

/** An entry of a tree. */
export interface MapleEntry {
  /** The first number that it stands for. */
  readonly first: bigint;
  /** The last (inclusive). */
  readonly last: bigint;
  /** As it is stored: a pointer, or a value. */
  readonly entry: bigint;
}

/** Bytes of a node, which its address is a multiple of (`MAPLE_NODE_MASK`). */
const NODE_SIZE = 256;
const NODE_MASK = 255n;

/** Where a kind of node has its parts, as numbers of words; `end` is a byte. */
interface NodeLayout {
  readonly leaf: boolean;
  readonly pivots: number;
  /** Pivots of it; it has one slot more. */
  readonly count: number;
  readonly slots: number;
  /** Number of its last slot with data. */
  readonly end: number;
  /** Whether `end` is always there; else it lies in the last slot, if that is free. */
  readonly hasEnd: boolean;
}

interface Layout {
  /** `ma_root` in the tree; bytes. */
  readonly root: number;
  /** Kinds of nodes by `enum maple_type`. */
  readonly nodes: readonly (NodeLayout | undefined)[];
}

const layouts = new WeakMap<TypeTable, Layout>();

function layoutOf(types: TypeTable): Layout {
  let layout = layouts.get(types);
  if (layout === undefined) {
    layout = makeLayout(types);
    layouts.set(types, layout);
  }
  return layout;
}

/** @throws {TypesError} `NO_TYPE` or `NO_MEMBER`. */
function makeLayout(types: TypeTable): Layout {
  const kinds = types.find("enum", "maple_type");
  const kind = (name: string, otherwise: number) =>
    Number((kinds?.kind === "enum" ? kinds.constant(name) : undefined) ?? otherwise);
  const nodes: (NodeLayout | undefined)[] = new Array(16).fill(undefined);
  nodes[kind("maple_leaf_64", 1)] = nodeLayout(types, "maple_range_64", true);
  nodes[kind("maple_range_64", 2)] = nodeLayout(types, "maple_range_64", false);
  nodes[kind("maple_arange_64", 3)] = nodeLayout(types, "maple_arange_64", false);
  return { root: offsetOf(types, "maple_tree", "ma_root"), nodes };
}

function nodeLayout(types: TypeTable, name: string, leaf: boolean): NodeLayout {
  const struct = needStruct(types, name);
  const words = (path: string) => offsetOf(types, name, path) / types.pointerSize;
  const array = stripped(needPlace(struct, "pivot").type);
  const count = array.kind === "array" ? array.count : 0;
  const pivots = words("pivot");
  const slots = words("slot");
  const end = offsetOf(types, name, "meta.end");
  const most = NODE_SIZE / types.pointerSize;
  const isAligned = Number.isInteger(pivots) && Number.isInteger(slots);
  if (!isAligned || count < 1 || pivots + count > most || slots + count + 1 > most || end >= NODE_SIZE) {
    throw new TypesError("NO_MEMBER", "pivot", `a ${name} with ${count} pivots is no node of 256 bytes`);
  }
  return { leaf, pivots, count, slots, end, hasEnd: end >= (slots + count + 1) * types.pointerSize };
}

/** How a tree that no symbol names is found: its top node's parent is the tree, marked by the lowest bit (`MA_ROOT_PARENT`). */
export function mapleMark(types: TypeTable) {
  return {
    offset: layoutOf(types).root,
    target: (word: bigint) => (word > RESERVED ? word & ~NODE_MASK : undefined),
    back: (tree: bigint) => tree | 1n,
  };
}

/** A node that is to be read. */
interface Pending {
  /** Number of its tree. */
  readonly tree: number;
  readonly node: bigint;
  readonly type: number;
  /** What its parent's pointer must be, less its low 8 bits; of a top node, the tree's address. */
  readonly parent: bigint;
  /** Slot in its parent; -1 for a top node. */
  readonly slot: number;
  readonly min: bigint;
  readonly max: bigint;
}

/** Nodes that are read at a time. */
const PIECE = 4096;
/** More nodes of one tree than that are not believed. */
const MAX_NODES = 1 << 20;
/** `MAPLE_HEIGHT_MAX`. */
const MAX_HEIGHT = 31;
/** Entries that end in binary 10 are the tree's own up to here (`MAPLE_RESERVED_RANGE`), such as `XA_ZERO_ENTRY`. */
const RESERVED = 4096n;

/**
 * The entries of several trees, each in order. All trees are walked side by side: the nodes of one level are one batch. Every node
 * must name its parent, so that a wild pointer, a freed node or a loop is noticed at once; what is wrong is reported and left out.
 * Empty ranges, and entries that the tree reserves for itself, are left out silently.
 *
 * Reads at most 2^20 nodes a tree, and 31 levels.
 *
 * @param trees Addresses of `struct maple_tree`.
 * @param what For reports: "the VMAs of a process".
 * @throws {TypesError} `NO_TYPE` or `NO_MEMBER`, for a kernel without maple trees.
 */
export function* walkMapleRanges(
  memory: AddressSpace,
  types: TypeTable,
  trees: readonly bigint[],
  what: string,
  report: OnDamage,
): Routine<MapleEntry[][]> {
  const layout = layoutOf(types);
  const walk = new Walk(memory, layout, what, report, trees);
  let level = yield* walk.roots();
  for (let height = 0; level.length > 0; height++) {
    if (height === MAX_HEIGHT) {
      for (const { node } of level)
        report(damage(what, node, "too long", 0, `more than ${MAX_HEIGHT} levels`));
      break;
    }
    const next: Pending[] = [];
    for (let from = 0; from < level.length; from += PIECE) {
      yield* walk.piece(level.slice(from, from + PIECE), next);
    }
    level = next;
  }
  for (const entries of walk.found) inOrder(entries);
  return walk.found;
}

/** As {@link walkMapleRanges}: the entries alone. */
export function* walkMapleTrees(
  memory: AddressSpace,
  types: TypeTable,
  trees: readonly bigint[],
  what: string,
  report: OnDamage,
): Routine<bigint[][]> {
  const found = yield* walkMapleRanges(memory, types, trees, what, report);
  return found.map((entries) => entries.map(({ entry }) => entry));
}

/** Leaves of a sound tree come in order; those of a damaged one need not. */
function inOrder(entries: MapleEntry[]): void {
  const sorted = entries.every((each, i) => i === 0 || (entries[i - 1] as MapleEntry).first < each.first);
  if (!sorted) entries.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
}

/** Whether it is one of the tree's own marks. */
function isReserved(entry: bigint): boolean {
  return (entry & 3n) === 2n && entry < RESERVED;
}

/** One walk through some trees. */
class Walk {
  readonly found: MapleEntry[][];
  readonly #memory: AddressSpace;
  readonly #layout: Layout;
  readonly #what: string;
  readonly #report: OnDamage;
  readonly #trees: readonly bigint[];
  /** Nodes of each tree. */
  readonly #seen: (Set<bigint> | undefined)[];

  constructor(
    memory: AddressSpace,
    layout: Layout,
    what: string,
    report: OnDamage,
    trees: readonly bigint[],
  ) {
    this.#memory = memory;
    this.#layout = layout;
    this.#what = what;
    this.#report = report;
    this.#trees = trees;
    this.found = trees.map(() => []);
    this.#seen = new Array(trees.length).fill(undefined);
  }

  /** Reads the trees themselves. */
  *roots(): Routine<Pending[]> {
    const { pointerSize } = this.#memory;
    const max = (1n << BigInt(8 * pointerSize)) - 1n;
    const column = BigUint64Array.from(this.#trees, (tree) => tree + BigInt(this.#layout.root));
    const gathered = yield* this.#memory.gather(column, pointerSize);
    const roots = pointersIn(this.#memory, gathered.bytes);
    const level: Pending[] = [];
    for (let tree = 0; tree < column.length; tree++) {
      const at = column[tree] as bigint;
      const fault = gathered.faultOf(tree);
      const root = roots[tree] as bigint;
      if (fault !== 0) this.#report(damage(this.#what, at, "unreadable", fault));
      else if ((root & 3n) === 2n && root > RESERVED) {
        this.#child(tree, at, root, this.#trees[tree] as bigint, -1, 0n, max, level);
      } else if (root !== 0n && !isReserved(root)) {
        // One entry of number 0 needs no node.
        (this.found[tree] as MapleEntry[]).push({ first: 0n, last: 0n, entry: root });
      }
    }
    return level;
  }

  /** Reads nodes of one level; adds those of the next to it. */
  *piece(nodes: readonly Pending[], next: Pending[]): Routine<void> {
    const column = BigUint64Array.from(nodes, ({ node }) => node);
    const gathered = yield* this.#memory.gather(column, NODE_SIZE);
    for (let i = 0; i < nodes.length; i++) {
      const pending = nodes[i] as Pending;
      const fault = gathered.faultOf(i);
      if (fault !== 0) this.#report(damage(this.#what, pending.node, "unreadable", fault));
      else this.#node(pending, gathered.bytes.subarray(i * NODE_SIZE, (i + 1) * NODE_SIZE), next);
    }
  }

  #node(pending: Pending, bytes: Uint8Array, next: Pending[]): void {
    const words = pointersIn(this.#memory, bytes);
    const wrong = mismatch(pending, words[0] as bigint);
    if (wrong !== "") {
      this.#report(damage(this.#what, pending.node, "mismatch", 0, wrong));
      return;
    }
    if (!this.#isNew(pending)) return;
    const layout = this.#layout.nodes[pending.type] as NodeLayout;
    const end = endOf(layout, words, bytes, pending.max);
    let first = pending.min;
    for (let slot = 0; slot <= end; slot++) {
      const pivot = slot < layout.count ? (words[layout.pivots + slot] as bigint) : 0n;
      // The last of a node may leave out its pivot, which is the node's own.
      let last = (pivot === 0n && slot > 0) || slot === layout.count ? pending.max : pivot;
      if (last < first || last > pending.max) {
        this.#report(damage(this.#what, pending.node, "invalid", 0, `pivot ${slot} is out of order`));
        if (last < first) return;
        last = pending.max;
      }
      const entry = words[layout.slots + slot] as bigint;
      if (entry !== 0n && !isReserved(entry)) {
        if (layout.leaf) (this.found[pending.tree] as MapleEntry[]).push({ first, last, entry });
        else this.#child(pending.tree, pending.node, entry, pending.node, slot, first, last, next);
      }
      if (last >= pending.max) return;
      first = last + 1n;
    }
  }

  /** @param from Where the pointer was found, for reports. */
  #child(
    tree: number,
    from: bigint,
    pointer: bigint,
    parent: bigint,
    slot: number,
    min: bigint,
    max: bigint,
    next: Pending[],
  ): void {
    const node = pointer & ~NODE_MASK;
    const type = Number((pointer >> 3n) & 15n);
    if (this.#layout.nodes[type] === undefined) {
      this.#report(damage(this.#what, from, "invalid", 0, `a node of type ${type}`));
    } else {
      next.push({ tree, node, type, parent, slot, min, max });
    }
  }

  /** Whether a node is one that is read now, and only now. Those that are not what they should be don't count. */
  #isNew({ tree, node }: Pending): boolean {
    const seen = this.#seen[tree] ?? new Set<bigint>();
    this.#seen[tree] = seen;
    if (seen.has(node)) {
      this.#report(damage(this.#what, node, "loop"));
      return false;
    }
    // Told once a tree.
    if (seen.size === MAX_NODES) this.#report(damage(this.#what, node, "too long"));
    if (seen.size <= MAX_NODES) seen.add(node);
    return seen.size <= MAX_NODES;
  }
}

/** What tells that a node is not the one it is taken for; "" if nothing does. */
function mismatch({ node, parent, slot }: Pending, found: bigint): string {
  if ((found & 1n) === 1n) {
    return slot >= 0 || found - 1n !== parent ? "it is the top of another tree" : "";
  }
  if ((found & ~NODE_MASK) === node) return "it is no longer in the tree";
  if (slot < 0 || (found & ~NODE_MASK) !== parent) return "it names another parent";
  const place = Number((found & 0x78n) >> 3n);
  return (found & 6n) === 6n && place !== slot ? `it is in slot ${slot}, and says ${place}` : "";
}

/** Number of the last slot with data: see `ma_data_end`. */
function endOf(layout: NodeLayout, words: readonly bigint[], bytes: Uint8Array, max: bigint): number {
  const last = words[layout.pivots + layout.count - 1] as bigint;
  if (!layout.hasEnd && last !== 0n) return last === max ? layout.count - 1 : layout.count;
  return Math.min(layout.count, bytes[layout.end] as number);
}
