import fc from "fast-check";
import { expect, it } from "vitest";
import { fault, type PacketIo, Scheduler } from "../../src/io/index.js";
import { type MmuDef, TableCache, VirtualMemory, X86_64 } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";
import * as reference from "../support/reference-walker.js";

/** Kills: rights of any level left out of the column loop, of `findRegion`, of level 3 leaves; NX of a last entry. */
it("each right is withheld by the entry of any one level, for pages of each size, whichever way is asked", () => {
  for (const size of [1, 2, 3]) {
    for (let level = size; level <= 4; level++) {
      for (const bit of [1n, 2n, 63n]) {
        const machine = new DummyMachine({ frames: 16 });
        const va = 0x7f12_c000_0000n;
        machine.map(va, {}, size, 2 ** 33);
        const at = machine.entryAt(va, level);
        machine.writeEntry(at, machine.readEntry(at) ^ (1n << bit));
        const { result } = reference.walk(machine.reader(), BigInt(machine.root), va);
        const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
        const column = BigUint64Array.of(va, va, va);
        for (let pass = 0; pass < 3; pass++) {
          const columns = memory.translateMany(column).sync();
          for (let row = 0; row < 3; row++) {
            const {
              virtual: _,
              physical,
              pageSize,
              ...rights
            } = columns.row(row) as never as Record<string, never>;
            expect({
              size,
              level,
              bit,
              physical: BigInt(String(physical)),
              pageSize: BigInt(String(pageSize)),
              ...rights,
            }).toEqual({ size, level, bit, ...result });
          }
          const one = memory.translate(va).sync() as never as Record<string, never>;
          expect(one.writable).toBe((result as never as Record<string, never>).writable);
        }
      }
    }
  }
});

/** Kills: `insert` that keeps regions. A region's level 2 table makes room, and its slot goes to another one's. */
it("regions do not outlive the table that they name", () => {
  const machine = new DummyMachine({ frames: 128 });
  const pages = Array.from({ length: 24 }, (_, i) => {
    const va = BigInt(i) * 0x4000_0000n + 0x3000n;
    return { va, physical: machine.map(va).physical };
  });
  for (let tables = 5; tables < 50; tables += 3) {
    const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), {
      root: machine.root,
      tableCache: new TableCache({ bytes: tables * 6174, translations: 0 }),
    });
    for (let round = 0; round < 300; round++) {
      const some = Array.from(
        { length: 1 + (round % 3) },
        () => pages[machine.random() % 24] as (typeof pages)[0],
      );
      const columns = memory.translateMany(BigUint64Array.from(some, (page) => page.va)).sync();
      expect([...columns.physical]).toEqual(some.map((page) => page.physical));
    }
  }
});

/** Kills: `useLinks` that keeps links, regions or translations of the other format. */
it("two formats over one cache and root, by turns, keep what they know apart", () => {
  const other: MmuDef = {
    ...X86_64,
    name: "other",
    rights: X86_64.rights.map((rule) => (rule.right === "writable" ? { ...rule, when: "clear" } : rule)),
  };
  for (const tables of [1, 2, 3, 100]) {
    const machine = new DummyMachine({ frames: 64 });
    machine.map(0x1000n);
    const at = machine.entryAt(0x1000n, 1);
    for (const bits of [7n, 5n]) {
      for (const above of [7n, 5n]) {
        machine.writeEntry(at, (machine.readEntry(at) & ~7n) | bits);
        for (const level of [2, 3, 4]) {
          const entry = machine.entryAt(0x1000n, level);
          machine.writeEntry(entry, (machine.readEntry(entry) & ~7n) | above);
        }
        const tableCache = new TableCache({ bytes: tables * 6174 });
        const physical = machine.inlineIo(new Scheduler());
        const spaces = [X86_64, other].map(
          (mmu) => new VirtualMemory(physical, { root: machine.root, tableCache, mmu }),
        );
        for (let round = 0; round < 6; round++) {
          for (const [i, space] of spaces.entries()) {
            const expected = i === 0 ? bits === 7n && above === 7n : bits === 5n && above === 5n;
            for (let again = 0; again < 1 + (round % 3); again++) {
              expect(space.translate(0x1000n).sync()).toMatchObject({ writable: expected });
              expect(space.translateMany(BigUint64Array.of(0x1000n)).sync().row(0)).toMatchObject({
                writable: expected,
              });
            }
          }
        }
      }
    }
  }
});

/** Kills: `linkTable` that leaves the table's former link (a table has one incoming link, or one outlives it). */
it("a table with several parents leaves no link behind when it makes room", () => {
  const machine = new DummyMachine({ frames: 128 });
  const pages: { va: bigint; physical: number }[] = [];
  for (let i = 0; i < 24; i++) {
    const va = BigInt(i) * 0x40_0000n + 0x3000n;
    const { physical } = machine.map(va);
    const entry = machine.readEntry(machine.entryAt(va, 2));
    machine.writeEntry(machine.entryAt(va + 0x20_0000n, 2), entry);
    pages.push({ va, physical }, { va: va + 0x20_0000n, physical });
  }
  for (let tables = 5; tables < 26; tables += 2) {
    const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), {
      root: machine.root,
      tableCache: new TableCache({ bytes: tables * 6174, translations: 0 }),
    });
    for (let round = 0; round < 300; round++) {
      const some = Array.from(
        { length: 1 + (round % 3) },
        () => pages[machine.random() % 48] as (typeof pages)[0],
      );
      const columns = memory.translateMany(BigUint64Array.from(some, (page) => page.va)).sync();
      expect([...columns.physical]).toEqual(some.map((page) => page.physical));
    }
  }
});

it("after flush, regions and links of tables that come in another order are their own", () => {
  const machine = new DummyMachine({ frames: 64 });
  const a = { va: 0x1000n, ...machine.map(0x1000n) };
  const b = { va: 0x40_0000_1000n, ...machine.map(0x40_0000_1000n) };
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
  for (let round = 0; round < 6; round++) {
    for (const { va, physical } of round % 2 === 0 ? [a, b] : [b, a]) {
      for (let i = 0; i < 3; i++) {
        expect(memory.translate(va).sync()).toMatchObject({ physical });
        expect(memory.translateMany(BigUint64Array.of(va)).sync().physical[0]).toBe(physical);
      }
    }
    memory.flush();
  }
});

/** Kills: a routine of `translate` that remembers nothing. */
it("a page that one translation fetched tables for costs the next one none, when they made room", async () => {
  const machine = new DummyMachine({ frames: 128 });
  const pages = Array.from({ length: 30 }, (_, i) => BigInt(i) * 0x20_0000n);
  for (const va of pages) machine.map(va);
  const source = machine.sourceIo({ scheduler: new Scheduler() });
  const tableCache = new TableCache({ bytes: 4 * 6174 });
  const memory = new VirtualMemory(source, { root: machine.root, tableCache });
  for (const va of pages) await memory.translate(va);
  const { fragments } = source.counters;
  for (const va of pages) await memory.translate(va);
  expect(source.counters.fragments).toBe(fragments);
});

/** Kills: a failure of a part of a table that may pass, remembered. */
it("an entry in a part of a table that could not be read for now is asked for again", async () => {
  const machine = new DummyMachine({ frames: 32 });
  const { physical } = machine.map(0x1000n);
  const table = machine.entryAt(0x1000n, 1) - 8;
  let broken = true;
  const whole = machine.inlineIo(new Scheduler());
  const flaky: PacketIo<number> = {
    scheduler: new Scheduler(),
    sendIo(at, view) {
      if (broken && at === table) {
        const rest = view.split(512);
        view.fail(fault("io", "memory", "backend"));
        whole.sendIo(at + 512, rest);
      } else whole.sendIo(at, view);
    },
  };
  for (const ask of ["one", "many", "read"]) {
    broken = true;
    const memory = new VirtualMemory(flaky, { root: machine.root });
    const look = async () => {
      if (ask === "one") return (await memory.translate(0x1000n)).state;
      if (ask === "many") return (await memory.translateMany(BigUint64Array.of(0x1000n))).row(0).state;
      return (await memory.readPartial(0x1000n, 8)).holes[0]?.state;
    };
    expect(await look()).toBe("table-missing");
    broken = false;
    expect([ask, await look()]).toEqual([ask, undefined]);
    expect(await memory.translate(0x1000n)).toMatchObject({ physical });
  }
});

/** Kills: `reset` that clears what is asked for now, not what was before; or keeps entries. */
it("columns of one length after another are as good as new", () => {
  const machine = new DummyMachine({ frames: 64 });
  for (let i = 0; i < 20; i++) machine.map(BigInt(i) * 0x1000n);
  for (let i = 20; i < 40; i++) machine.writeEntry(machine.entryAt(BigInt(i) * 0x1000n, 1), BigInt(i) << 12n);
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat({ max: 40 }), { maxLength: 20 }), { maxLength: 8 }), (calls) => {
      let columns: ReturnType<typeof memory.translateMany> extends { sync(): infer T }
        ? T | undefined
        : never;
      columns = undefined;
      for (const call of calls) {
        const list = BigUint64Array.from(
          call,
          (i) => BigInt(i) * 0x1000n + (i % 3 === 0 && i > 20 ? 1n << 50n : 0n),
        );
        columns = memory.translateMany(list, columns as never).sync();
        const fresh = memory.translateMany(list).sync();
        for (let i = 0; i < list.length; i++) {
          expect(columns.row(i)).toEqual(fresh.row(i));
          expect(columns.entry(i)).toBe(fresh.entry(i));
          expect([columns.physical[i], columns.faults[i], columns.levels[i], columns.rights[i]]).toEqual([
            fresh.physical[i],
            fresh.faults[i],
            fresh.levels[i],
            fresh.rights[i],
          ]);
        }
        expect(columns.failed).toBe(fresh.failed);
      }
    }),
  );
});

/** Kills in `addLeaves`: a carry ignored, a level ignored, a change of the high bits alone ignored. */
it("runs end where the address wraps at 4 GiB, where the page size changes, where NX alone changes", () => {
  const machine = new DummyMachine({ frames: 32 });
  machine.map(0x1000n, {}, 1, 0xffff_f000);
  machine.map(0x2000n, {}, 1, 0);
  machine.map(0x20_0000n, {}, 2, 0x4000_0000);
  for (let i = 0; i < 3; i++) machine.map(0x40_0000n + BigInt(i) * 0x1000n, {}, 1, 0x4020_0000 + i * 4096);
  machine.map(0x60_0000n, {}, 1, 0x5000_0000);
  machine.map(0x60_1000n, { executable: false }, 1, 0x5000_1000);
  machine.map(0x60_2000n, {}, 1, 0x5000_2000);
  const memory = new VirtualMemory(machine.inlineIo(new Scheduler()), { root: machine.root });
  const expected = reference.maps(machine.reader(), BigInt(machine.root));
  expect(expected.length).toBe(7);
  const runs = memory.runs().sync();
  const found = Array.from({ length: runs.length }, (_, row) => runs.row(row));
  for (const list of [found, [...memory.maps().sync()]]) {
    expect(
      list.map((run) => ({
        ...run,
        physical: BigInt((run as { physical: number }).physical),
        pageSize: BigInt((run as { pageSize: number }).pageSize),
      })),
    ).toEqual(expected);
  }
});
