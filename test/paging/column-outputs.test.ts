/** Outputs that do something while a column of tables arrives: they are told of a table of it, and it is not over yet. */
import { describe, expect, it } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import { type Batch, fault, type Output, Packet, Scheduler, SourceIo } from "../../src/io/index.js";
import { TableCache, VirtualMemory } from "../../src/paging/index.js";
import { memorySource } from "../suite/memory-source.js";
import { DummyMachine } from "../support/dummy-machine.js";

/** Bytes of one table in a cache, and of what belongs to it. */
const TABLE = 6174;
const PAGE = 4096;

async function ticks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await null;
}

/** An address under a root entry of its own. */
const under = (entry: number) => BigInt(entry) << 39n;

/** Has a read that waits for a table of the column that is under way; `act` is called once that has come, or failed. */
function whenTold(memory: VirtualMemory, address: bigint, act: () => void): void {
  const output: Output = { onFragment: act };
  memory.sendIo(address, Packet.reading(8).view().bind(output));
}

const physicalOf = (machine: DummyMachine, addresses: readonly bigint[]) =>
  addresses.map((address) => machine.pages.get(address >> 12n)?.physical);

async function translated(memory: VirtualMemory, addresses: readonly bigint[]): Promise<number[]> {
  const columns = await memory.translateMany(BigUint64Array.from(addresses));
  return [...columns.physical.subarray(0, addresses.length)];
}

describe.each([
  ["generated code", 1],
  ["the plain loop", Number.MAX_SAFE_INTEGER],
])("under %s", (_, compileAfter) => {
  const newCache = () => new TableCache({ compileAfter, wasm: hostWasm, bytes: 100 * TABLE });

  it("a table that could not be read is not taken for one that came, if an output drives other requests", async () => {
    const machine = new DummyMachine({ frames: 512 });
    for (const entry of [1, 3, 5, 6]) machine.map(under(entry));
    // Entries 1 and 2 share a table.
    machine.writeEntry(machine.root + 16, machine.readEntry(machine.root + 8));
    const broken = [1, 3].map((entry) => {
      const start = Number(machine.readEntry(machine.root + 8 * entry) & ~0xfffn);
      return { start, end: start + PAGE };
    });
    const source = new SourceIo(memorySource(machine.bytes, { mode: "async", broken }), new Scheduler());
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: newCache() });
    // Leaves tables where others will land.
    await translated(memory, [under(5), under(6)]);
    memory.flush();
    await memory.translate(under(9));
    const running = memory.translateMany(BigUint64Array.of(under(1), under(2), under(3))).promise();
    whenTold(memory, under(1), () => {
      memory.flush();
      expect(() => memory.translateMany(BigUint64Array.of(under(7))).sync()).toThrow();
    });
    const columns = await running;
    for (const row of [0, 1, 2]) expect(columns.row(row)).toMatchObject({ state: "table-missing", level: 3 });
  });

  it("an output that ends a walk whose tables are arriving lets go of them once", async () => {
    const machine = new DummyMachine({ frames: 512 });
    const second = [5, 6, 7, 8].map(under);
    const beside = second.map((address) => address | (1n << 30n));
    for (let entry = 1; entry < 9; entry++) machine.map(under(entry));
    for (const address of beside) machine.map(address);
    const gates: (() => void)[] = [];
    let isGated = false;
    const gate = () => (isGated ? new Promise<void>((open) => gates.push(open)) : Promise.resolve());
    const source = new SourceIo(memorySource(machine.bytes, { mode: "async", gate }), new Scheduler());
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: newCache() });
    await memory.translate(0x1000n);
    const cursor = memory.maps({ start: under(1), end: under(3) }).cursor();
    const next = cursor
      .next()
      .promise()
      .catch(() => undefined);
    whenTold(memory, under(1) | (9n << 30n), () => cursor.close());
    await next;
    memory.flush();
    await memory.translate(0x1000n);
    isGated = true;
    const slow = translated(memory, [under(3), under(4)]);
    await ticks(50);
    memory.flush();
    const quick = translated(memory, second);
    await ticks(50);
    isGated = false;
    gates[1]?.();
    expect(await quick).toEqual(physicalOf(machine, second));
    gates[0]?.();
    expect(await slow).toEqual(physicalOf(machine, [under(3), under(4)]));
    for (const addresses of [beside, second])
      expect(await translated(memory, addresses)).toEqual(physicalOf(machine, addresses));
  });

  it("an output that has everything forgotten has forgotten broken tables that are told of after it, too", async () => {
    const machine = new DummyMachine({ frames: 512 });
    for (const entry of [1, 3]) machine.map(under(entry));
    const broken = new Set(
      [1, 3].map((entry) => Number(machine.readEntry(machine.root + 8 * entry) & ~0xfffn)),
    );
    const good = memorySource(machine.bytes);
    const source = new SourceIo(
      {
        name: "mends",
        supports: good.supports,
        ranges: () => machine.present(),
        async transfer(batch: Batch) {
          await null;
          good.transferSync?.(batch);
          for (let row = 0; row < batch.length; row++)
            if (broken.has(batch.address(row))) batch.fail(row, fault("excluded", "memory", "connector"));
        },
      },
      new Scheduler(),
    );
    const memory = new VirtualMemory(source, { root: machine.root, tableCache: newCache() });
    await memory.translate(under(9));
    const running = memory.translateMany(BigUint64Array.of(under(1), under(3))).promise();
    whenTold(memory, under(1), () => {
      broken.clear();
      memory.flush();
    });
    expect((await running).failed).toBe(2);
    expect(await memory.translate(under(3))).toMatchObject({ physical: physicalOf(machine, [under(3)])[0] });
  });
});
