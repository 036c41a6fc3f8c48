/** Two formats over the same tables, in one cache: what one is asked while the other waits. */
import { describe, expect, it } from "vitest";
import { all, Scheduler } from "../../src/io/index.js";
import {
  type MmuDef,
  READABLE,
  TableCache,
  VirtualMemory,
  WRITABLE,
  X86_64,
} from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";

/** Grants nothing: whatever links or remembered translations of the plain format say would show. */
const STRICT: MmuDef = {
  ...X86_64,
  name: "strict",
  rights: (["writable", "user", "userExecutable", "kernelExecutable"] as const).map((right) => ({
    right,
    bit: 9,
    when: "set",
  })),
};

describe.each(["translate", "many", "read"] as const)("while a request waits for tables (%s)", (first) => {
  it.each(["translate", "many", "read"] as const)(
    "another format may use the cache (%s), and neither sees what is the other's",
    async (second) => {
      for (const tables of [1, 2, 4, 100]) {
        for (let gap = 0; gap < 24; gap += 2) {
          const machine = new DummyMachine({ frames: 64 });
          machine.map(0x1000n);
          machine.map(0x40_0000n, {}, 2, 0);
          const physical = machine.sourceIo({ scheduler: new Scheduler(), turns: 3 });
          const tableCache = new TableCache({ bytes: tables * 6174, translations: 1024 });
          const plain = new VirtualMemory(physical, { root: machine.root, tableCache });
          const strict = new VirtualMemory(physical, { root: machine.root, tableCache, mmu: STRICT });
          const column = BigUint64Array.of(0x1000n, 0x40_0000n);
          const ask = (memory: VirtualMemory, how: typeof first) => {
            if (how === "many") return memory.translateMany(column).promise();
            if (how === "read") return all([...column].map((va) => memory.readPartial(va, 8))).promise();
            return all([...column].map((va) => memory.translate(va))).promise();
          };
          const one = ask(plain, first);
          for (let i = 0; i < gap; i++) await null;
          const other = ask(strict, second);
          await one;
          await other;
          const rights = async (memory: VirtualMemory) => [
            ...(await all([...column].map((va) => memory.translate(va)))).map(
              (found) => found.state ?? found.rights,
            ),
            ...(await memory.translateMany(column)).rights.slice(0, 2),
          ];
          const right = { tables, gap, strict: [READABLE, READABLE, READABLE, READABLE] };
          expect({ tables, gap, strict: await rights(strict) }).toEqual(right);
          expect((await rights(plain)).every((found) => (Number(found) & WRITABLE) !== 0)).toBe(true);
        }
      }
    },
  );
});
