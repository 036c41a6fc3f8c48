/** One structure for each pointer, some of whose pages are missing. */
import { describe, expect, it } from "vitest";
import { Io } from "../../../src/io/index.js";
import type { Damage } from "../../../src/linux/objects/damage.js";
import { readEach } from "../../../src/linux/objects/read-each.js";
import { int, place, record, word } from "../../../src/linux/objects/record.js";
import type { VirtualMemory } from "../../../src/paging/virtual-memory.js";
import { EXCLUDED, HandMemory, HandTypes } from "../../support/kernel-memory.js";

const ROOT = record("mm", { root: word("pgd"), end: int("brk") });
const PLAN = record("mm", { root: word("pgd"), end: int("brk"), at: place("tree") });

describe("structures that pointers lead to", () => {
  const types = new HandTypes().struct(
    "mm",
    ["pgd", "unsigned long"],
    ["gap", "unsigned char[1024]"],
    ["brk", "unsigned long"],
    ["tree", "unsigned long"],
  );
  const size = 1048;

  function memoryOf(): { memory: HandMemory; whole: bigint; halves: bigint } {
    const memory = new HandMemory(types);
    const whole = memory.take(size);
    const halves = memory.take(8192, 4096) + 4096n - 1032n;
    for (const [i, at] of [whole, halves].entries()) {
      memory.put(at, 0x1000 + i);
      memory.put(at + 1032n, 0x2000 + i);
    }
    return { memory, whole, halves };
  }

  function read<P extends typeof PLAN | typeof ROOT>(
    memory: HandMemory,
    pointers: readonly (bigint | undefined)[],
    plan = PLAN as P,
  ) {
    const damage: Damage[] = [];
    const data = { types, memory: memory.space as unknown as VirtualMemory };
    const routine = () => readEach(data, plan, pointers, "an mm", (each) => damage.push(each));
    return { rows: Io.of(memory.space.scheduler, routine).sync(), damage };
  }

  it("are given once for equal pointers, and not for null", () => {
    const { memory, whole, halves } = memoryOf();
    const { rows, damage } = read(memory, [whole, 0n, undefined, halves, whole]);
    expect(rows[0]).toEqual({ root: 0x1000n, end: 0x2000, at: whole + 1040n });
    expect(rows[4]).toBe(rows[0]);
    expect([rows[1], rows[2]]).toEqual([undefined, undefined]);
    expect(damage).toEqual([]);
  });

  it("have the members that can be read; what is missing is told once for each", () => {
    const { memory, whole, halves } = memoryOf();
    memory.missing.set((halves + 1032n) / 4096n, EXCLUDED);
    const { rows, damage } = read(memory, [halves, whole, halves]);
    expect(rows[0]).toEqual({ root: 0x1001n, at: halves + 1040n });
    expect(rows[1]).toMatchObject({ root: 0x1000n, end: 0x2000 });
    expect(damage).toMatchObject([{ what: "an mm", address: halves, reason: "unreadable", fault: EXCLUDED }]);
  });

  it("are undefined where nothing of one can be read; where a member of it lies is still known", () => {
    const { memory } = memoryOf();
    const wild = 0xdead_0000_0000_0100n;
    const { rows, damage } = read(memory, [wild], ROOT);
    expect(rows).toEqual([undefined]);
    expect(damage.length).toBe(1);
    expect(read(memory, [wild]).rows).toEqual([{ at: wild + 1040n }]);
  });
});
