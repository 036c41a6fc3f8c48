/** Hash tables whose chains are damaged. */
import { describe, expect, it } from "vitest";
import { Io } from "../../../src/io/index.js";
import { nodesOf } from "../../../src/linux/net/buckets.js";
import type { Damage } from "../../../src/linux/objects/damage.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

describe("a hash table", () => {
  function tableOf(count: number, nodes: number): { memory: HandMemory; at: bigint; chain: bigint[] } {
    const memory = new HandMemory(new HandTypes());
    const at = memory.take(8 * count);
    const chain = Array.from({ length: nodes }, () => memory.take(8));
    for (const [i, node] of chain.entries()) memory.put(node, chain[i + 1] ?? 0n);
    return { memory, at, chain };
  }

  function walk(memory: HandMemory, at: bigint, count: number, stride = 8) {
    const damage: Damage[] = [];
    let reads = 0;
    const space = Object.create(memory.space, {
      readPartial: {
        value: (...args: Parameters<typeof memory.space.readPartial>) => {
          reads++;
          return memory.space.readPartial(...args);
        },
      },
    }) as typeof memory.space;
    const routine = () => nodesOf(space, { at, count, stride }, "it", (each) => damage.push(each));
    return { nodes: Io.of(memory.space.scheduler, routine).sync(), damage, reads };
  }

  it("reads what all its chains lead to once, and tells that once", () => {
    const { memory, at, chain } = tableOf(100, 50);
    for (let i = 0; i < 100; i++) memory.put(at + BigInt(8 * i), chain[0] as bigint);
    const { nodes, damage, reads } = walk(memory, at, 100);
    expect(nodes).toEqual(chain);
    expect(damage).toMatchObject([{ what: "it", address: chain[0], reason: "loop" }]);
    expect(reads).toBe(51);
  });

  it("is refused where its heads can't be so far apart", () => {
    const { memory, at } = tableOf(4, 0);
    for (const stride of [0, 4, 2 ** 31]) {
      const { nodes, damage } = walk(memory, at, 4, stride);
      expect(nodes).toEqual([]);
      expect(damage).toMatchObject([{ address: at, reason: "invalid" }]);
    }
  });
});
