/** Containers of the kernel, built in memory made by hand: models of what they hold are what they are built from. */
import { type HandMemory, HandTypes } from "./kernel-memory.js";

/** Types of the containers, as include/linux/types.h, rbtree_types.h, xarray.h and maple_tree.h declare them. */
export function containerTypes(pointerSize: 4 | 8 = 8, littleEndian = true): HandTypes {
  const [range, arange, all] = pointerSize === 8 ? [16, 10, 31] : [32, 21, 63];
  return new HandTypes(pointerSize, littleEndian)
    .struct("list_head", ["next", "void *"], ["prev", "void *"])
    .struct("hlist_head", ["first", "void *"])
    .struct("rb_node", ["__rb_parent_color", "unsigned long"], ["rb_right", "void *"], ["rb_left", "void *"])
    .struct("rb_root", ["rb_node", "struct rb_node *"])
    .struct("xarray", ["xa_lock", "unsigned int"], ["xa_flags", "unsigned int"], ["xa_head", "void *"])
    .struct(
      "xa_node",
      ["shift", "unsigned char"],
      ["offset", "unsigned char"],
      ["count", "unsigned char"],
      ["nr_values", "unsigned char"],
      ["parent", "void *"],
      ["array", "void *"],
      ["private_list", "list_head"],
      ["slots", "void *[16]"],
      ["marks", "unsigned long[3]"],
    )
    .struct("maple_metadata", ["end", "unsigned char"], ["gap", "unsigned char"])
    .struct(
      "maple_range_64",
      ["parent", "void *"],
      ["pivot", `unsigned long[${range - 1}]`],
      [
        "union",
        [
          ["slot", `void *[${range}]`],
          [
            "",
            [
              ["pad", `void *[${range - 1}]`],
              ["meta", "maple_metadata"],
            ],
          ],
        ],
      ],
    )
    .struct(
      "maple_arange_64",
      ["parent", "void *"],
      ["pivot", `unsigned long[${arange - 1}]`],
      ["slot", `void *[${arange}]`],
      ["gap", `unsigned long[${arange}]`],
      ["meta", "maple_metadata"],
    )
    .struct("maple_node", ["parent", "void *"], ["slot", `void *[${all}]`])
    .enumeration("maple_type", { maple_dense: 0, maple_leaf_64: 1, maple_range_64: 2, maple_arange_64: 3 })
    .struct("maple_tree", ["ma_lock", "unsigned int"], ["ma_flags", "unsigned int"], ["ma_root", "void *"]);
}

/** The radix tree of 4.7 to 4.19. */
export function radixTypes(): HandTypes {
  return new HandTypes()
    .struct("radix_tree_root", ["gfp_mask", "unsigned int"], ["rnode", "void *"])
    .struct(
      "radix_tree_node",
      ["shift", "unsigned char"],
      ["offset", "unsigned char"],
      ["count", "unsigned char"],
      ["exceptional", "unsigned char"],
      ["parent", "void *"],
      ["root", "void *"],
      ["slots", "void *[16]"],
    );
}

/** What a container was built of. */
export interface Built {
  readonly root: bigint;
  /** Addresses of its nodes. */
  readonly nodes: readonly bigint[];
  /** Places of pointers from one node to another. */
  readonly links: readonly bigint[];
}

/** A ring through nodes at these addresses. */
export function buildList(memory: HandMemory, nodes: readonly bigint[]): Built {
  const size = BigInt(memory.space.pointerSize);
  const root = memory.take(2 * memory.space.pointerSize);
  const ring = [root, ...nodes];
  for (const [i, at] of ring.entries()) {
    const next = ring[(i + 1) % ring.length] as bigint;
    memory.put(at, next);
    memory.put(next + size, at);
  }
  return { root, nodes, links: ring };
}

/** A tree of these nodes in this order; `choose` gives the root of each part, from 0 to 1. */
export function buildRbtree(memory: HandMemory, nodes: readonly bigint[], choose: () => number): Built {
  const size = BigInt(memory.space.pointerSize);
  // On a page of its own: a root, which points to the top node, looks like a child of it, whose first word does so too.
  memory.skip(4096);
  const root = memory.take(memory.space.pointerSize);
  const links: bigint[] = [];
  const build = (from: number, until: number, parent: bigint, link: bigint): void => {
    if (from === until) return;
    const middle = Math.min(until - 1, from + Math.floor((0.25 + choose() / 2) * (until - from)));
    const node = nodes[middle] as bigint;
    links.push(link);
    memory.put(link, node);
    memory.put(node, parent | (parent === 0n ? 1n : BigInt(middle & 1)));
    build(from, middle, node, node + 2n * size);
    build(middle + 1, until, node, node + size);
  };
  build(0, nodes.length, 0n, root);
  return { root, nodes, links };
}

/** An entry of an array: of 16^order indices, from `index` on, which it divides. */
export interface ModelEntry {
  readonly index: number;
  readonly entry: bigint;
  /** How many of 16 slots of its node it fills, a power of two; 1 for most. */
  readonly slots: number;
}

/** An xarray (or radix tree) of 16 slots a node. */
export function buildXarray(memory: HandMemory, types: HandTypes, entries: readonly ModelEntry[]): Built {
  const old = types.find("struct", "xarray") === undefined;
  const root = memory.take(16);
  const head = root + BigInt(types.offset(old ? "radix_tree_root" : "xarray", old ? "rnode" : "xa_head"));
  const struct = old ? "radix_tree_node" : "xa_node";
  const slots = types.offset(struct, "slots");
  const mark = old ? 1n : 2n;
  const nodes: bigint[] = [];
  const links: bigint[] = [];
  const node = (shift: number, offset: number, parent: bigint, link: bigint): bigint => {
    const at = memory.take(slots + 16 * types.pointerSize);
    memory.put(at + BigInt(types.offset(struct, "shift")), shift, 1);
    memory.put(at + BigInt(types.offset(struct, "offset")), offset, 1);
    memory.put(at + BigInt(types.offset(struct, "parent")), parent);
    memory.put(at + BigInt(types.offset(struct, old ? "root" : "array")), root);
    memory.put(link, at | mark);
    nodes.push(at);
    links.push(link);
    return at;
  };
  const most = Math.max(0, ...entries.map(({ index, slots: count }) => index + count - 1));
  if (most === 0) {
    for (const { entry } of entries) memory.put(head, entry);
    return { root, nodes, links };
  }
  const known = new Map<string, bigint>();
  let top = 0;
  while (16 ** (top / 4 + 1) <= most) top += 4;
  const nodeFor = (index: number, shift: number): bigint => {
    const first = Math.floor(index / 2 ** (shift + 4));
    const found = known.get(`${shift} ${first}`);
    if (found !== undefined) return found;
    let made: bigint;
    if (shift === top) made = node(shift, 0, 0n, head);
    else {
      const parent = nodeFor(index, shift + 4);
      const slot = first % 16;
      made = node(shift, slot, parent, parent + BigInt(slots + slot * types.pointerSize));
    }
    known.set(`${shift} ${first}`, made);
    return made;
  };
  for (const { index, entry, slots: count } of entries) {
    const at = nodeFor(index, 0);
    const slot = index % 16;
    memory.put(at + BigInt(slots + slot * types.pointerSize), entry);
    for (let i = 1; i < count; i++) {
      const first = at + BigInt(slots + slot * types.pointerSize);
      memory.put(first + BigInt(i * types.pointerSize), old ? first | 1n : BigInt(4 * slot + 2));
    }
  }
  return { root, nodes, links };
}

/** A range of a maple tree, from where the one before ends. */
export interface ModelRange {
  /** Inclusive. */
  readonly last: bigint;
  /** 0 for a gap. */
  readonly entry: bigint;
}

/**
 * A maple tree of ranges that cover all numbers.
 *
 * @param choose Gives numbers from 0 to 1, for how full nodes are.
 */
export function buildMapleTree(
  memory: HandMemory,
  types: HandTypes,
  ranges: readonly ModelRange[],
  alloc: boolean,
  choose: () => number,
): Built {
  const size = types.pointerSize;
  const tree = memory.take(4 * size);
  const nodes: bigint[] = [];
  const links: bigint[] = [];
  interface Made {
    readonly node: bigint;
    readonly type: number;
    readonly last: bigint;
  }
  const max = (1n << BigInt(8 * size)) - 1n;
  const make = (
    kind: "leaf" | "range" | "arange",
    items: readonly { last: bigint; entry: bigint; child?: bigint }[],
  ): Made => {
    const struct = kind === "arange" ? "maple_arange_64" : "maple_range_64";
    const node = memory.take(256, 256);
    const pivots = node + BigInt(types.offset(struct, "pivot"));
    const slots = node + BigInt(types.offset(struct, "slot"));
    const most = (types.offset(struct, "slot") - types.offset(struct, "pivot")) / size;
    const last = (items.at(-1) as { last: bigint }).last;
    for (const [i, item] of items.entries()) {
      memory.put(slots + BigInt(i * size), item.entry);
      // Kernels leave out the last pivot of the last node, or write it.
      const isImplied = i > 0 && i === items.length - 1 && last === max && choose() < 0.5;
      if (i < most && !isImplied) memory.put(pivots + BigInt(i * size), item.last);
      if (item.child !== undefined) {
        memory.put(item.child, node | BigInt(6 + 8 * i));
        links.push(slots + BigInt(i * size));
      }
    }
    if (items.length <= most || kind === "arange") {
      memory.put(node + BigInt(types.offset(struct, "meta.end")), items.length - 1, 1);
    }
    nodes.push(node);
    return { node, type: kind === "leaf" ? 1 : kind === "range" ? 2 : 3, last };
  };
  const parts = <T>(items: readonly T[], most: number): T[][] => {
    const found: T[][] = [];
    for (let at = 0; at < items.length; ) {
      const count = Math.max(2, Math.ceil(choose() * most));
      found.push(items.slice(at, at + count));
      at += count;
    }
    return found;
  };
  const wide = size === 8 ? 16 : 32;
  let level = parts(ranges, wide).map((part) => make("leaf", part));
  while (level.length > 1) {
    level = parts(level, alloc ? (size === 8 ? 10 : 21) : wide).map((part) =>
      make(
        alloc ? "arange" : "range",
        part.map(({ node, type, last }) => ({ last, entry: node | BigInt(4 + 8 * type), child: node })),
      ),
    );
  }
  const top = level[0] as Made;
  memory.put(top.node, tree | 1n);
  memory.put(tree + BigInt(types.offset("maple_tree", "ma_root")), top.node | BigInt(2 + 4 + 8 * top.type));
  return { root: tree, nodes, links };
}
