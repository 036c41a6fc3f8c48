import { expect, it } from "vitest";
import { all, AddressRanges, type Batch, MemoryIo, readInto, readPartial, SourceIo, withSplitting, write } from "../../src/io/index.js";

function memorySource(bytes: Uint8Array, async = false) {
  const run = (b: Batch) => { for (let i = 0; i < b.length; i++) { const a = b.address(i); if (b.direction === "read") b.bytes(i).set(bytes.subarray(a, a + b.lengths[i]!)); else bytes.set(b.bytes(i), a); b.done(i); } };
  return { name: "m", supports: { write: true, live: false }, ranges: () => AddressRanges.single(0, bytes.length), ...(async ? { transfer: async (b: Batch) => { await null; run(b); } } : { transferSync: run }) };
}
it("works", async () => {
  const bytes = Uint8Array.from({ length: 200 }, (_, i) => i);
  const m = new MemoryIo(bytes);
  expect([...readInto(m, 100, 2).sync()]).toEqual([100, 101]);
  const p = readPartial(m, 199, 200).sync();
  expect(p.holes.length).toBe(1);
  for (const async of [false, true]) {
    const io = new SourceIo(memorySource(bytes, async));
    const s = withSplitting(io, 4);
    const r = await all([readInto(s, 1, 10), readInto(s, 50, 3)]);
    expect([...r[0]]).toEqual([1,2,3,4,5,6,7,8,9,10]);
    expect(io.counters).toEqual({ batches: 1, fragments: 5, bytes: 13, merged: 3 });
    await write(s, 1, Uint8Array.of(9, 9, 9, 9, 9));
    expect([...(await readInto(s, 0, 7))]).toEqual([0, 9, 9, 9, 9, 9, 6]);
    bytes.set([0,1,2,3,4,5,6]);
    if (async) expect(() => readInto(s, 1, 10).sync()).toThrow(/asynchronous only/);
    else expect([...readInto(s, 1, 3).sync()]).toEqual([1,2,3]);
  }
});
