/** Single cases of the kernel's containers, each of one thing that is odd or wrong. */
import { beforeEach, describe, expect, it } from "vitest";
import { Io, type Routine } from "../../../src/io/index.js";
import type { Damage } from "../../../src/linux/objects/damage.js";
import { DisjointLists } from "../../../src/linux/objects/list.js";
import { walkMapleRanges } from "../../../src/linux/objects/maple-tree.js";
import { makeObject } from "../../../src/linux/objects/object.js";
import { referenceAt } from "../../../src/linux/objects/reference.js";
import type { Unlisted } from "../../../src/linux/objects/schema.js";
import { walkXarray } from "../../../src/linux/objects/xarray.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import {
  buildList,
  buildMapleTree,
  buildXarray,
  containerTypes,
  radixTypes,
} from "../../support/kernel-containers.js";
import { EXCLUDED, HandMemory, HandTypes } from "../../support/kernel-memory.js";

const MAX = (1n << 64n) - 1n;

let types: HandTypes;
let memory: HandMemory;
beforeEach(() => {
  types = containerTypes().struct("idr", ["idr_rt", "xarray"], ["idr_base", "unsigned int"]);
  memory = new HandMemory(types);
});

function run<T>(routine: (report: (damage: Damage) => void) => Routine<T>): { found: T; damage: Damage[] } {
  const damage: Damage[] = [];
  const found = Io.of(memory.space.scheduler, routine, (each: Damage) => damage.push(each)).sync();
  return { found, damage };
}

/** Pages that are looked up while something runs. */
function lookups<T>(work: () => T): { result: T; count: number } {
  const { pages } = memory;
  let count = 0;
  const get = pages.get.bind(pages);
  pages.get = (page) => {
    count++;
    return get(page);
  };
  const result = work();
  pages.get = get;
  return { result, count };
}

describe("lists whose heads lie in one ring", () => {
  const [heads, nodes] = [60, 400];
  /** Nodes, with a head behind every few of them. */
  function ring(): { heads: bigint[]; nodes: bigint[] } {
    const all = Array.from({ length: heads + nodes }, () => memory.take(16));
    for (const [i, at] of all.entries()) {
      const next = all[(i + 1) % all.length] as bigint;
      memory.put(at, next);
      memory.put(next + 8n, at);
    }
    const isHead = (i: number) => i % 7 === 0 && i / 7 < heads;
    return { heads: all.filter((_, i) => isHead(i)), nodes: all.filter((_, i) => !isHead(i)) };
  }

  it("are walked once, in no more reads than there are nodes, which is told once", () => {
    const made = ring();
    const { result, count } = lookups(() =>
      run(function* (report) {
        const lists = new DisjointLists(memory.space, "a list", report);
        const found: bigint[] = [];
        for (const head of made.heads) for (const node of yield* lists.walk(head)) found.push(node);
        return found;
      }),
    );
    expect(result.found).toEqual(expect.arrayContaining(made.nodes));
    expect(new Set(result.found).size).toBe(result.found.length);
    expect(count).toBeLessThanOrEqual(2 * (heads + nodes));
    expect(result.damage).toMatchObject([{ what: "a list", reason: "mismatch", address: made.heads[1] }]);
  });

  it("lose nothing where a pointer of another list leads into them", () => {
    const wild = buildList(memory, [memory.take(16), memory.take(16)]);
    const sound = buildList(
      memory,
      Array.from({ length: 5 }, () => memory.take(16)),
    );
    memory.put(wild.nodes[0] as bigint, sound.nodes[2] as bigint);
    const { found, damage } = run(function* (report) {
      const lists = new DisjointLists(memory.space, "a list", report);
      return [yield* lists.walk(wild.root), yield* lists.walk(sound.root)];
    });
    expect(found).toEqual([wild.nodes, sound.nodes]);
    expect(damage).toMatchObject([{ reason: "mismatch", address: sound.nodes[2] }]);
  });
});

it("arrays of nodes that don't name theirs are not read again by each that leads to them", () => {
  const entries = Array.from({ length: 200 }, (_, i) => ({
    index: 16 * i,
    entry: BigInt(0x10000 + 16 * i),
    slots: 1,
  }));
  const { root, nodes } = buildXarray(memory, radixTypes(), entries);
  const nameless = new HandTypes()
    .struct("radix_tree_root", ["gfp_mask", "unsigned int"], ["rnode", "void *"])
    .struct(
      "radix_tree_node",
      ["shift", "unsigned char"],
      ["offset", "unsigned char"],
      ["parent", "void *"],
      ["unused", "void *"],
      ["slots", "void *[16]"],
    );
  const at = BigInt(nameless.offset("radix_tree_root", "rnode"));
  const roots = Array.from({ length: 50 }, () => memory.take(16));
  for (const each of roots) memory.put(each + at, (nodes[0] as bigint) | 1n);
  const { result, count } = lookups(() =>
    run(function* (report) {
      const taken = new Set<bigint>();
      const found: number[] = [];
      for (const each of [root, ...roots]) {
        found.push((yield* walkXarray(memory.space, nameless, each, "it", report, taken)).length);
      }
      return found;
    }),
  );
  expect(result.found).toEqual([200, ...roots.map(() => 0)]);
  // (Each root, and the top node that it leads to.)
  expect(count).toBeLessThan(2 * nodes.length + 4 * roots.length);
  expect(new Set(result.damage.map(({ message }) => message)).size).toBe(1);
});

describe("an xarray", () => {
  const array = (root: bigint) => run((report) => walkXarray(memory.space, types, root, "it", report));
  const slots = () => types.offset("xa_node", "slots");

  it("has an entry above the last level in its place", () => {
    const { root, nodes } = buildXarray(memory, types, [
      { index: 3, entry: 0x1000n, slots: 1 },
      { index: 40, entry: 0x2000n, slots: 1 },
    ]);
    // 16 indices from 16 on are one entry of the top node.
    memory.put((nodes[0] as bigint) + BigInt(slots() + 8), 0x3000n);
    expect(array(root)).toEqual({
      found: [
        { index: 3, entry: 0x1000n },
        { index: 16, entry: 0x3000n, count: 16 },
        { index: 40, entry: 0x2000n },
      ],
      damage: [],
    });
  });

  it("gives what is in the half of a node that is there, once", () => {
    const { root, nodes } = buildXarray(memory, types, [
      { index: 20, entry: 0x1000n, slots: 1 },
      { index: 47, entry: 0x2000n, slots: 1 },
    ]);
    const top = nodes[0] as bigint;
    // A leaf whose beginning, and first eight slots, are on a page that is missing.
    memory.take(8192, 4096);
    const edge = memory.take(4096, 4096);
    const leaf = edge - BigInt(slots() + 64);
    memory.put(leaf + BigInt(slots() + 8), 0x4000n);
    memory.put(leaf + BigInt(slots() + 72), 0x5000n);
    memory.put(top + BigInt(slots()), leaf | 2n);
    memory.put(top + BigInt(slots() + 24), leaf | 2n);
    memory.missing.set(edge / 4096n - 1n, EXCLUDED);
    const { found, damage } = array(root);
    expect(found).toEqual([
      { index: 9, entry: 0x5000n },
      { index: 20, entry: 0x1000n },
      { index: 47, entry: 0x2000n },
    ]);
    expect(damage.map(({ reason }) => reason).sort()).toEqual(["loop", "unreadable", "unreadable"]);
  });

  it("as an IDR counts from its base, and gives what its pointers point to", () => {
    const idr = memory.take(32);
    const { root } = buildXarray(memory, types, [
      { index: 1, entry: 0x1000n, slots: 1 },
      { index: 2, entry: 0x2001n, slots: 1 },
    ]);
    const node = BigInt(types.offset("xarray", "xa_head"));
    const head = memory.space.read(root + node, 8).sync();
    memory.bytes(idr + node, head);
    const top = new DataView(head.buffer).getBigUint64(0, true) - 2n;
    memory.put(top + BigInt(types.offset("xa_node", "array")), idr);
    memory.put(idr + BigInt(types.offset("idr", "idr_base")), 7, 4);
    const context = {
      memory: memory.space,
      types,
      *namer() {
        return () => "*/ evil";
      },
    };
    const object: Unlisted = makeObject(referenceAt(context, idr, typeNamed(types, "idr")));
    expect([...object.$.xarrayEntries().sync()]).toEqual([
      { index: 8, entry: 0x1000n },
      { index: 9, entry: 0x2001n },
    ]);
    expect([...object.$.idr("list_head").sync()].map((each: Unlisted) => each.$.address().sync())).toEqual([
      0x1000n,
    ]);
    // A name from a dump does not end the comment that it is in.
    expect(object.idr_rt.xa_head.$.toC().sync()).toMatch(/^\(void \*\)0x\w+ \/\* \* \/ evil \*\/$/);
  });
});

describe("a maple tree", () => {
  const SLOT = () => BigInt(types.offset("maple_range_64", "slot"));
  const PIVOT = () => BigInt(types.offset("maple_range_64", "pivot"));
  const trees = (...roots: bigint[]) =>
    run((report) => walkMapleRanges(memory.space, types, roots, "it", report));
  const entries = (root: bigint) => {
    const { found, damage } = trees(root);
    return { found: found[0]?.map(({ entry }) => entry), damage };
  };
  /** Three leaves of two entries below one node. */
  const three = () => {
    let calls = 0;
    const ends = [9n, 19n, 29n, 39n, 49n, MAX];
    return buildMapleTree(
      memory,
      types,
      ends.map((last, i) => ({ last, entry: BigInt(0x1000 * (i + 1)) })),
      false,
      () => (calls++ < 3 ? 0.1 : 0.9),
    );
  };

  it("leaves out entries that it reserves for itself", () => {
    const model = [
      { last: 9n, entry: 0x1000n },
      { last: 19n, entry: 1030n },
      { last: MAX, entry: 0x3000n },
    ];
    const { root } = buildMapleTree(memory, types, model, true, () => 0.9);
    expect(entries(root)).toEqual({ found: [0x1000n, 0x3000n], damage: [] });
  });

  it("does not take another tree's top, a freed node, or a node of another place for its own", () => {
    const other = three();
    const cases: [string, (nodes: readonly bigint[], top: bigint) => void][] = [
      [
        "it is the top of another tree",
        (_nodes, top) => memory.put(top + SLOT(), (other.nodes.at(-1) as bigint) | 0x14n),
      ],
      ["it is no longer in the tree", (nodes) => memory.put(nodes[0] as bigint, nodes[0] as bigint)],
      [
        "it names another parent",
        (_nodes, top) => memory.put(top + SLOT(), (other.nodes[0] as bigint) | 0xcn),
      ],
      ["it is in slot 0, and says 1", (nodes, top) => memory.put(top + SLOT(), (nodes[1] as bigint) | 0xcn)],
    ];
    for (const [message, change] of cases) {
      const { root, nodes } = three();
      change(nodes, nodes.at(-1) as bigint);
      const { found, damage } = entries(root);
      expect(found).not.toContain(0x1000n);
      expect(found).toContain(0x6000n);
      expect(damage[0]?.message).toContain(message);
    }
  });

  it("reads a node once, also where nothing says its slot", () => {
    const { root, nodes } = three();
    const top = nodes.at(-1) as bigint;
    memory.put(nodes[0] as bigint, top);
    memory.put(top + SLOT() + 8n, (nodes[0] as bigint) | 0xcn);
    const { found, damage } = entries(root);
    expect(found).toEqual([0x1000n, 0x2000n, 0x5000n, 0x6000n]);
    expect(damage).toMatchObject([{ reason: "loop" }]);
  });

  it("ends a node at its last number, whatever is left behind that", () => {
    const { root, nodes } = buildMapleTree(
      memory,
      types,
      [
        { last: 9n, entry: 0x1000n },
        { last: MAX, entry: 0x2000n },
      ],
      false,
      () => 0.9,
    );
    const leaf = nodes[0] as bigint;
    memory.put(leaf + SLOT() + 16n, 0x9000n);
    memory.put(leaf + PIVOT() + 16n, 5n);
    memory.put(leaf + BigInt(types.offset("maple_range_64", "meta.end")), 4, 1);
    expect(entries(root)).toEqual({ found: [0x1000n, 0x2000n], damage: [] });
  });

  it("has its entries in order, also where its leaves are not all on one level", () => {
    const { root, nodes } = three();
    const top = nodes.at(-1) as bigint;
    // The first leaf goes a level down, below a node that has it alone.
    const between = memory.take(256, 256);
    memory.put(between, top | 6n);
    memory.put(between + PIVOT(), 19n);
    memory.put(between + SLOT(), (nodes[0] as bigint) | 0xcn);
    memory.put(nodes[0] as bigint, between | 6n);
    memory.put(top + SLOT(), between | 0x14n);
    expect(entries(root)).toEqual({
      found: [0x1000n, 0x2000n, 0x3000n, 0x4000n, 0x5000n, 0x6000n],
      damage: [],
    });
  });

  it("says which node has its numbers out of order, and keeps to its own", () => {
    const { root, nodes } = three();
    memory.put((nodes[1] as bigint) + PIVOT(), 5n);
    const { found, damage } = entries(root);
    expect(found).toEqual([0x1000n, 0x2000n, 0x5000n, 0x6000n]);
    expect(damage).toMatchObject([{ address: nodes[1], reason: "invalid" }]);
  });
});
