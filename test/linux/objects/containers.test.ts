/** The kernel's containers against models: whole, with pages missing, and with pointers overwritten. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Io, type Routine } from "../../../src/io/index.js";
import type { Damage } from "../../../src/linux/objects/damage.js";
import { walkChain, walkList } from "../../../src/linux/objects/list.js";
import { walkMapleRanges, walkMapleTrees } from "../../../src/linux/objects/maple-tree.js";
import { walkRbtree } from "../../../src/linux/objects/rbtree.js";
import { walkXarray } from "../../../src/linux/objects/xarray.js";
import {
  type Built,
  buildList,
  buildMapleTree,
  buildRbtree,
  buildXarray,
  containerTypes,
  type ModelEntry,
  type ModelRange,
  radixTypes,
} from "../../support/kernel-containers.js";
import { EXCLUDED, HandMemory, type HandTypes } from "../../support/kernel-memory.js";

/** Runs a walk: what it gave, and what it reported. */
function walk<T>(
  memory: HandMemory,
  routine: (report: (damage: Damage) => void) => Routine<T>,
): { found: T; damage: Damage[] } {
  const damage: Damage[] = [];
  const found = Io.of(memory.space.scheduler, routine, (each: Damage) => damage.push(each)).sync();
  return { found, damage };
}

const abi = fc.constantFrom<readonly [4 | 8, boolean]>([8, true], [4, true], [8, false], [4, false]);

/** Numbers from 0 to 1 out of a list, again and again. */
function chooser(seeds: readonly number[]): () => number {
  let i = 0;
  return () => (seeds[i++ % seeds.length] ?? 0) / 100;
}
const seeds = fc.array(fc.nat(99), { minLength: 1, maxLength: 30 });

/** Nodes at places that are in no order, some on pages of their own. */
function scatter(memory: HandMemory, order: readonly number[], size: number): bigint[] {
  const places = order.map((seed) => {
    if (seed % 7 === 0) memory.skip(4096);
    return memory.take(size);
  });
  return order
    .map((seed, i) => ({ seed, at: places[i] as bigint }))
    .sort((a, b) => a.seed - b.seed)
    .map(({ at }) => at);
}
const order = fc.uniqueArray(fc.nat(100_000), { maxLength: 60 });

/** Entries of an array: single ones, values, and such as fill several slots. */
const entries = fc
  .tuple(
    fc.constantFrom(1, 16, 300, 5000, 2 ** 20, 2 ** 31),
    fc.array(
      fc.record({ at: fc.nat(2 ** 31), slots: fc.constantFrom(1, 1, 1, 2, 4, 8), odd: fc.boolean() }),
      {
        maxLength: 60,
      },
    ),
  )
  .map(([limit, list]) => {
    const found: ModelEntry[] = [];
    const taken = new Set<number>();
    for (const [i, { at, slots, odd }] of list.entries()) {
      const index = Math.floor((at % limit) / slots) * slots;
      const own = Array.from({ length: slots }, (_, k) => index + k);
      if (own.some((each) => taken.has(each))) continue;
      for (const each of own) taken.add(each);
      found.push({ index, entry: BigInt(0x10000 + 16 * i) + (odd ? 1n : 0n), slots });
    }
    return found.sort((a, b) => a.index - b.index);
  });

/** Ranges of all numbers, some of them gaps. */
const ranges = (bits: number) =>
  fc.uniqueArray(fc.bigInt(0n, (1n << BigInt(bits)) - 2n), { minLength: 1, maxLength: 120 }).map((ends) =>
    [...ends.sort((a, b) => (a < b ? -1 : 1)), (1n << BigInt(bits)) - 1n].map((last, i) => ({
      last,
      entry: i % 3 === 0 ? 0n : BigInt(0x10000 + 16 * i),
    })),
  );

function modelOf(model: readonly ModelRange[]) {
  const all = model.map(({ last, entry }, i) => ({
    first: i === 0 ? 0n : (model[i - 1] as ModelRange).last + 1n,
    last,
    entry,
  }));
  return all.filter(({ entry }) => entry !== 0n);
}

/** An entry as it is found: of several slots, with how many indices they are. */
function foundOf({ index, entry, slots }: { index: number; entry: bigint; slots: number }) {
  return slots === 1 ? { index, entry } : { index, entry, count: slots };
}

describe("a container that is whole", () => {
  it("gives the nodes of a list in order", () => {
    fc.assert(
      fc.property(abi, order, ([pointerSize, littleEndian], seed) => {
        const memory = new HandMemory(containerTypes(pointerSize, littleEndian));
        const { root, nodes } = buildList(memory, scatter(memory, seed, 16));
        expect(walk(memory, (report) => walkList(memory.space, root, "a list", report))).toEqual({
          found: nodes,
          damage: [],
        });
      }),
    );
  });

  it("gives the nodes of a red-black tree in order, a level a batch", () => {
    fc.assert(
      fc.property(abi, order, seeds, ([pointerSize, littleEndian], seed, choices) => {
        const memory = new HandMemory(containerTypes(pointerSize, littleEndian));
        const { root, nodes } = buildRbtree(memory, scatter(memory, seed, 32), chooser(choices));
        expect(walk(memory, (report) => walkRbtree(memory.space, root, "a tree", report))).toEqual({
          found: nodes,
          damage: [],
        });
        expect(memory.space.gathers).toBeLessThanOrEqual(16);
      }),
    );
  });

  it("gives the entries of an xarray by index, a level a batch", () => {
    fc.assert(
      fc.property(abi, entries, ([pointerSize, littleEndian], model) => {
        const types = containerTypes(pointerSize, littleEndian);
        const memory = new HandMemory(types);
        const { root } = buildXarray(memory, types, model);
        const { found, damage } = walk(memory, (report) =>
          walkXarray(memory.space, types, root, "an array", report),
        );
        expect(found).toEqual(model.map(foundOf));
        expect(damage).toEqual([]);
        expect(memory.space.gathers).toBeLessThanOrEqual(8);
      }),
    );
  });

  it("gives the entries of the radix tree before it", () => {
    fc.assert(
      fc.property(entries, (model) => {
        const types = radixTypes();
        const memory = new HandMemory(types);
        // Values had the second bit set, where they have the first now.
        const old = model.map((each) => ({
          ...each,
          entry: (each.entry & 1n) === 0n ? each.entry : each.entry + 1n,
        }));
        const { root } = buildXarray(memory, types, old);
        const { found, damage } = walk(memory, (report) =>
          walkXarray(memory.space, types, root, "an array", report),
        );
        expect(found).toEqual(old.map(foundOf));
        expect(damage).toEqual([]);
      }),
    );
  });

  it("gives the ranges of several maple trees, a level of all of them a batch", () => {
    const some = fc.oneof(
      fc.tuple(fc.constant<4 | 8>(8), fc.boolean(), fc.array(ranges(64), { maxLength: 4 })),
      fc.tuple(fc.constant<4 | 8>(4), fc.boolean(), fc.array(ranges(32), { maxLength: 4 })),
    );
    fc.assert(
      fc.property(some, fc.boolean(), seeds, ([pointerSize, littleEndian, models], alloc, choices) => {
        const types = containerTypes(pointerSize, littleEndian);
        const memory = new HandMemory(types);
        const choose = chooser(choices);
        const trees = models.map((model) => buildMapleTree(memory, types, model, alloc, choose));
        const roots = trees.map(({ root }) => root);
        const { found, damage } = walk(memory, (report) =>
          walkMapleRanges(memory.space, types, roots, "trees", report),
        );
        expect(damage).toEqual([]);
        expect(found).toEqual(models.map(modelOf));
        expect(memory.space.gathers).toBeLessThanOrEqual(9);
      }),
    );
  });
});

interface Kind {
  readonly name: string;
  build(memory: HandMemory, types: HandTypes, seed: readonly number[], choose: () => number): Built;
  walk(memory: HandMemory, types: HandTypes, root: bigint): { found: string[]; damage: Damage[] };
}

const texts = <T>({ found, damage }: { found: readonly T[]; damage: Damage[] }) => ({
  found: found.map((each) =>
    typeof each === "object" ? Object.values(each as object).join(" ") : String(each),
  ),
  damage,
});

const KINDS: readonly Kind[] = [
  {
    name: "list",
    build: (memory, _types, seed) => buildList(memory, scatter(memory, seed, 16)),
    walk: (memory, _types, root) =>
      texts(walk(memory, (report) => walkList(memory.space, root, "it", report))),
  },
  {
    name: "red-black tree",
    build: (memory, _types, seed, choose) => buildRbtree(memory, scatter(memory, seed, 32), choose),
    walk: (memory, _types, root) =>
      texts(walk(memory, (report) => walkRbtree(memory.space, root, "it", report))),
  },
  {
    name: "xarray",
    build: (memory, types, seed) => {
      const sorted = [...seed].sort((a, b) => a - b);
      const model = sorted.map((index, i) => ({ index, entry: BigInt(0x10000 + 16 * i), slots: 1 }));
      return buildXarray(memory, types, model);
    },
    walk: (memory, types, root) =>
      texts(walk(memory, (report) => walkXarray(memory.space, types, root, "it", report))),
  },
  {
    name: "maple tree",
    build: (memory, types, seed, choose) => {
      const ends = [...seed].sort((a, b) => a - b).map(BigInt);
      const model = [...ends, (1n << 64n) - 1n].map((last, i) => ({ last, entry: BigInt(0x10000 + 16 * i) }));
      return buildMapleTree(memory, types, model, seed.length % 2 === 0, choose);
    },
    walk: (memory, types, root) => {
      const { found, damage } = walk(memory, (report) =>
        walkMapleRanges(memory.space, types, [root], "it", report),
      );
      return texts({ found: found[0] ?? [], damage });
    },
  },
];

/** Whether it is part of a list, in its order. */
function isPart(part: readonly string[], whole: readonly string[]): boolean {
  let next = 0;
  for (const each of whole) if (part[next] === each) next++;
  return next === part.length;
}

describe.each(KINDS)("a $name that is damaged", ({ build, walk: walkIt }) => {
  const many = fc.uniqueArray(fc.nat(100_000), { minLength: 1, maxLength: 80 });

  it("gives what is readable, in order, and says what is not", () => {
    fc.assert(
      fc.property(
        many,
        seeds,
        fc.array(fc.nat(1000), { minLength: 1, maxLength: 4 }),
        (seed, choices, lost) => {
          const types = containerTypes();
          const memory = new HandMemory(types);
          const { root, nodes } = build(memory, types, seed, chooser(choices));
          const whole = walkIt(memory, types, root);
          expect(whole.damage).toEqual([]);
          for (const number of lost) {
            const node = nodes[number % nodes.length];
            if (node !== undefined) memory.missing.set(node / 4096n, EXCLUDED);
          }
          const { found, damage } = walkIt(memory, types, root);
          expect(isPart(found, whole.found)).toBe(true);
          if (nodes.length > 0) expect(damage.length).toBeGreaterThan(0);
        },
      ),
    );
  });

  it("follows no pointer that was overwritten, and says so", () => {
    const wrong = fc.record({ link: fc.nat(1000), to: fc.nat(1000), how: fc.nat(3) });
    fc.assert(
      fc.property(many, seeds, fc.array(wrong, { minLength: 1, maxLength: 3 }), (seed, choices, changes) => {
        const types = containerTypes();
        const memory = new HandMemory(types);
        const { root, nodes, links } = build(memory, types, seed, chooser(choices));
        const whole = walkIt(memory, types, root);
        let changed = false;
        for (const { link, to, how } of changes) {
          const at = links[link % links.length];
          if (at === undefined) continue;
          const other = nodes[to % nodes.length] as bigint;
          const page = memory.pages.get(at / 4096n) as Uint8Array;
          const view = new DataView(page.buffer, page.byteOffset);
          const was = view.getBigUint64(Number(at % 4096n), true);
          // Another node of the container, with the marks of this one; some node's middle; nothing that is mapped.
          const marks = was & (links === nodes ? 0n : 7n);
          const value = [other | marks, (other + 64n) | marks, 0xffffc90000000000n | marks][
            how % 3
          ] as bigint;
          if (value === was) continue;
          memory.put(at, value);
          changed = true;
        }
        const { found, damage } = walkIt(memory, types, root);
        for (const each of found) expect(whole.found).toContain(each);
        expect(new Set(found).size).toBe(found.length);
        if (changed && found.length < whole.found.length) expect(damage.length).toBeGreaterThan(0);
      }),
      { numRuns: 200 },
    );
  });

  it("ends, whatever its memory holds", () => {
    const word = fc.record({
      at: fc.nat(100_000),
      to: fc.nat(1000),
      value: fc.bigInt(0n, (1n << 64n) - 1n),
      how: fc.nat(4),
    });
    fc.assert(
      fc.property(many, seeds, fc.array(word, { minLength: 1, maxLength: 40 }), (seed, choices, words) => {
        const types = containerTypes();
        const memory = new HandMemory(types);
        const { root, nodes } = build(memory, types, seed, chooser(choices));
        for (const { at, to, value, how } of words) {
          const node = nodes[at % nodes.length];
          if (node === undefined) continue;
          const other = nodes[to % nodes.length] as bigint;
          const put = [value, other, other | 2n, other | 0x1cn, BigInt(at % 300)][how % 5] as bigint;
          memory.put(node + BigInt(8 * (at % 20)), put);
        }
        const { found } = walkIt(memory, types, root);
        expect(found.length).toBeLessThan(100_000);
      }),
      { numRuns: 200 },
    );
  });
});

describe("a container's end", () => {
  it("is null in a chain, or odd in one with nulls", () => {
    const memory = new HandMemory(containerTypes());
    const nodes = [memory.take(16), memory.take(16), memory.take(16)];
    const chain = (end: bigint) => {
      for (const [i, node] of nodes.entries()) memory.put(node, nodes[i + 1] ?? end);
      return walk(memory, (report) => walkChain(memory.space, nodes[0] as bigint, "a chain", report));
    };
    expect(chain(0n)).toEqual({ found: nodes, damage: [] });
    expect(chain(7n)).toEqual({ found: nodes, damage: [] });
    expect(chain(nodes[1] as bigint)).toMatchObject({ found: nodes, damage: [{ reason: "loop" }] });
  });

  it("needs no node for one entry, in arrays and maple trees", () => {
    const types = containerTypes();
    const memory = new HandMemory(types);
    const { root } = buildXarray(memory, types, [{ index: 0, entry: 0x1234560n, slots: 1 }]);
    const array = walk(memory, (report) => walkXarray(memory.space, types, root, "an array", report));
    expect(array).toEqual({ found: [{ index: 0, entry: 0x1234560n }], damage: [] });
    const tree = memory.take(16);
    memory.put(tree + 8n, 0x1234560n);
    const empty = memory.take(16);
    const maple = walk(memory, (report) =>
      walkMapleTrees(memory.space, types, [tree, empty], "trees", report),
    );
    expect(maple).toEqual({ found: [[0x1234560n], []], damage: [] });
  });

  it("leaves out marks of an array's own: reserved indices, entries that are being moved", () => {
    const types = containerTypes();
    const memory = new HandMemory(types);
    const { root } = buildXarray(memory, types, [
      { index: 0, entry: (256n << 2n) | 2n, slots: 1 },
      { index: 1, entry: 0x10000n, slots: 1 },
      { index: 2, entry: (257n << 2n) | 2n, slots: 1 },
      { index: 3, entry: 0x10010n, slots: 1 },
    ]);
    expect(walk(memory, (report) => walkXarray(memory.space, types, root, "an array", report))).toEqual({
      found: [
        { index: 1, entry: 0x10000n },
        { index: 3, entry: 0x10010n },
      ],
      damage: [],
    });
  });

  it("says where the root itself is missing, and gives the other trees", () => {
    const types = containerTypes();
    const memory = new HandMemory(types);
    const model = [
      { last: 9n, entry: 0x1000n },
      { last: (1n << 64n) - 1n, entry: 0n },
    ];
    const { root } = buildMapleTree(memory, types, model, true, () => 0.5);
    const { found, damage } = walk(memory, (report) =>
      walkMapleTrees(memory.space, types, [0x1000n, root], "trees", report),
    );
    expect(found).toEqual([[], [0x1000n]]);
    expect(damage).toMatchObject([{ address: 0x1008n, reason: "unreadable" }]);
  });
});
