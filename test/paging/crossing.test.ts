/** A record of a column that crosses a page goes the way of a single view. */
import { expect, it } from "vitest";
import { MemoryIo, Scheduler, VirtualMemory } from "../../src/index.js";

it("a record that crosses into a page elsewhere is gathered from both, with warm tables, too", () => {
  const bytes = Uint8Array.from({ length: 0x10000 }, (_, i) => (i >> 12) * 16 + (i & 15));
  const entry = (at: number, to: number) => new DataView(bytes.buffer).setBigUint64(at, BigInt(to | 7), true);
  for (let table = 0x1000; table <= 0x4000; table += 0x1000) bytes.fill(0, table, table + 0x1000);
  entry(0x1000, 0x2000);
  entry(0x2000, 0x3000);
  entry(0x3000, 0x4000);
  entry(0x4000, 0x8000);
  entry(0x4008, 0x6000);
  const physical = new MemoryIo(bytes, { scheduler: new Scheduler() });
  const memory = new VirtualMemory(physical, { root: 0x1000 });
  const expected = [0x8e, 0x8f, 0x60, 0x61];
  expect([...memory.read(0xffen, 4).sync()]).toEqual(expected);
  for (let time = 0; time < 3; time++) {
    expect([...memory.gather([0x0n, 0xffen, 0x1000n], 4).sync().bytes]).toEqual([
      ...[0x80, 0x81, 0x82, 0x83],
      ...expected,
      ...[0x60, 0x61, 0x62, 0x63],
    ]);
  }
});
