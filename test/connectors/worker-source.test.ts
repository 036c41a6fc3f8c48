import { describe, expect, it } from "vitest";
import { openInWorker } from "../../connectors/worker-source.js";
import { all, readInto, readPartial, Scheduler, SourceIo, write } from "../../src/index.js";
import { packetIoSuite } from "../suite/index.js";

const module = new URL("../support/worker-memory.js", import.meta.url);
const truth = (size: number) => Uint8Array.from({ length: size }, (_, i) => (i * 3) & 255);
const open = async (options: object) =>
  new SourceIo(await openInWorker(module, { options }), new Scheduler());

packetIoSuite("an asynchronous source in a worker", async () => {
  const io = await open({ size: 5000 });
  const bytes = truth(5000);
  // Its memory lives in the worker: read it back through the synchronous door.
  const now = () => {
    bytes.set(readInto(io, 0, 5000).sync());
    return bytes.slice();
  };
  return {
    io,
    base: 0,
    truth: now,
    writable: true,
    missing: { bytes: 7, state: "outside" },
    close: () => io.close(),
  };
});

describe("a source in a worker", () => {
  it("makes .sync() work over a source that answers later, in one batch", async () => {
    const io = await open({ size: 100_000, delay: 5 });
    const reads = all(Array.from({ length: 300 }, (_, i) => readInto(io, i * 300, 8))).sync();
    expect(reads[7]).toEqual(truth(100_000).slice(2100, 2108));
    expect(io.counters.batches).toBe(1);
    write(io, 50, Uint8Array.of(1, 2, 3)).sync();
    expect([...readInto(io, 49, 5).sync()]).toEqual([147, 1, 2, 3, 159]);
    await io.close();
  });

  it("carries faults of ranges across", async () => {
    const io = await open({ size: 1000, broken: [100, 120] });
    for (const result of [readPartial(io, 90, 50).sync(), await readPartial(io, 90, 50)]) {
      expect(result.holes).toMatchObject([{ start: 10, end: 30, fault: 5 }]);
    }
    await io.close();
  });

  it("serves synchronous and asynchronous callers side by side", async () => {
    const io = await open({ size: 1000, delay: 1 });
    const pending = readInto(io, 10, 4).promise();
    expect([...readInto(io, 20, 2).sync()]).toEqual([60, 63]);
    expect([...(await pending)]).toEqual([30, 33, 36, 39]);
    await io.close();
  });

  it("says why it could not be opened", async () => {
    await expect(openInWorker(module, { options: { size: 1, fail: "no such card" } })).rejects.toThrow(
      /no such card/,
    );
    await expect(openInWorker(module, { factory: "nothing" })).rejects.toThrow(
      /exports no function "nothing"/,
    );
    await expect(openInWorker("file:///does/not/exist.js")).rejects.toThrow(/cannot open/);
  });

  it("a worker that dies fails what is asked of it, and nothing hangs", async () => {
    const io = await open({ size: 1000, exitOn: 64 });
    const { holes } = await readPartial(io, 64, 8);
    expect(holes).toMatchObject([{ start: 0, end: 8, state: "io" }]);
    expect(readPartial(io, 0, 8).sync().holes).toMatchObject([{ state: "io" }]);
    await io.close();
  });

  it("a worker that dies while a thread is parked for it ends the wait at the time limit", async () => {
    const source = await openInWorker(module, { options: { size: 1000, exitOn: 64 }, timeout: 300 });
    const io = new SourceIo(source, new Scheduler());
    expect(() => readInto(io, 64, 8).sync()).toThrow(/8 missing/);
    await io.close();
  });
});
