import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, it } from "vitest";
import {
  type FreezableSource,
  isMortal,
  type MachineSource,
  type StillSource,
} from "../../connectors/connector.js";
import { openInWorker } from "../../connectors/worker-source.js";
import { all, readInto, readPartial, Scheduler, type Source, SourceIo, write } from "../../src/io/index.js";
import { awaitAnswer } from "../../src/io/shared-batch.js";
import { sourceSuite } from "../suite/index.js";

const module = new URL("../support/worker-memory.js", import.meta.url);
/** As the module has it. (`Uint8Array.from` takes a second for 20 MiB.) */
function truth(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = i * 3;
  return bytes;
}
const open = async (options: object) =>
  new SourceIo(await openInWorker(module, { options }), new Scheduler());

/** A worker takes half a second to start: one serves the whole suite, and its close has tests of its own. */
const shared = openInWorker(module, { options: { size: 13_000, broken: [5000, 5100] } });
afterAll(async () => (await shared).close?.());

sourceSuite("an asynchronous source in a worker", async () => {
  const source = await shared;
  // Its memory lives in the worker: it is read back through the synchronous door.
  const io = new SourceIo(source, new Scheduler());
  return {
    source: {
      name: source.name,
      supports: source.supports,
      ranges: () => source.ranges(),
      transferSync: (batch) => source.transferSync?.(batch),
      transfer: (batch) => source.transfer?.(batch) ?? Promise.reject(new Error("no such door")),
    },
    base: 0,
    truth: () => readPartial(io, 0, 13_000).sync().bytes,
    bad: [
      // The state of the fault 5 that the module in the worker gives.
      { start: 5000, end: 5100, state: "table-missing" },
      { start: 13_000, end: 13_050, state: "outside" },
    ],
    writable: true,
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
    expect(holes).toMatchObject([{ start: 0, end: 8, state: "gone" }]);
    expect(readPartial(io, 0, 8).sync().holes).toMatchObject([{ state: "gone" }]);
    await expect(readInto(io, 0, 8).promise()).rejects.toMatchObject({
      cause: {
        code: "GONE",
        message: expect.stringMatching(/^worker:slow-memory: its worker ended with 3: .*open it again/),
      },
    });
    await io.close();
  });

  it("a worker that dies while a thread is parked for it ends the wait at the time limit", async () => {
    const source = await openInWorker(module, { options: { size: 1000, exitOn: 64 }, timeout: 300 });
    const io = new SourceIo(source, new Scheduler());
    expect(() => readInto(io, 64, 8).sync()).toThrow(/8 missing/);
    await io.close();
  });

  it("is paused and let go on, and tells why its notes are not known", async () => {
    const source = (await openInWorker(moduleOf(PAUSED))) as Source &
      FreezableSource &
      MachineSource &
      StillSource;
    const io = new SourceIo(source, new Scheduler());
    const first = () => readInto(io, 0, 1).then(([byte]) => byte);
    expect(source.still).toBe(undefined);
    await source.freeze();
    expect([source.still, await first()]).toEqual(["is paused", 1]);
    await source.thaw();
    expect([source.still, await first()]).toEqual([undefined, 0]);
    await expect(source.freeze()).rejects.toThrow("not twice");
    expect(() => source.notes()).toThrow("no registers here");
    await io.close();
  });

  it("tells whether its target comes back, and whether it stands still", async () => {
    const told = `({ name: "t", supports: { write: false, live: true }, isMortal: true, still: "ends at 1",
      ranges: () => ({ starts: Float64Array.of(0), ends: Float64Array.of(2) }),
      transferSync(batch) { this.still = "ends at 2"; batch.done(0); } })`;
    const source = (await openInWorker(moduleOf(told))) as Source & StillSource;
    const io = new SourceIo(source, new Scheduler());
    expect([isMortal(source), source.still]).toEqual([true, "ends at 1"]);
    await readInto(io, 0, 1);
    expect(source.still).toBe("ends at 2");
    await io.close();
    const other = await openInWorker(module, { options: { size: 16 } });
    expect(isMortal(other)).toBe(false);
    await other.close?.();
  });

  it("keeps answers apart that come in another order than their requests", async () => {
    const io = new SourceIo(await openInWorker(moduleOf(PATIENT)), new Scheduler());
    const slow = readInto(io, 200, 4).promise();
    await new Promise((resolve) => setImmediate(resolve));
    const fast = readInto(io, 1, 4).promise();
    expect([...(await fast)]).toEqual([1, 2, 3, 4]);
    expect([...(await slow)]).toEqual([200, 201, 202, 203]);
    expect(io.counters.batches).toBe(2);
    await io.close();
  });

  it("leaves the bytes of a hole as the caller had them, whatever the message before carried", async () => {
    const io = await open({ size: 1000, broken: [100, 120] });
    for (const drive of ["sync", "promise"] as const) {
      await readInto(io, 200, 64)[drive]();
      const bytes = new Uint8Array(40).fill(0xee);
      const { holes } = await readPartial(io, 90, bytes)[drive]();
      expect(holes).toMatchObject([{ start: 10, end: 30 }]);
      expect([...bytes.subarray(10, 30)]).toEqual(new Array(20).fill(0xee));
      expect([...bytes.subarray(0, 10), ...bytes.subarray(30)]).toEqual([
        ...truth(1000).subarray(90, 100),
        ...truth(1000).subarray(120, 130),
      ]);
    }
    await io.close();
  });

  it("moves more than a message holds, between small reads", async () => {
    const size = 20 * 1024 * 1024;
    const io = await open({ size });
    const whole = truth(size);
    const half = size / 2 - 5;
    for (const drive of ["sync", "promise"] as const) {
      expect(await readInto(io, 7, 3)[drive]()).toEqual(whole.slice(7, 10));
      const [a, b] = await all([readInto(io, 3, half), readInto(io, half + 8, half)])[drive]();
      expect(
        [a, b].map((bytes, i) =>
          Buffer.compare(whole.subarray(i === 0 ? 3 : half + 8).subarray(0, half), bytes),
        ),
      ).toEqual([0, 0]);
    }
    expect(io.counters.batches).toBe(4);
    await io.close();
  });

  it("does not take the notice of an earlier answer in the same memory for its own", async () => {
    const buffer = new SharedArrayBuffer(64);
    const code = `
      const { workerData } = require("node:worker_threads");
      const control = new Int32Array(workerData);
      while (Atomics.notify(control, 0) === 0);
      Atomics.store(control, 1, 1);
      Atomics.wait(control, 2, 0, 20);
      Atomics.store(control, 0, 1);
      Atomics.notify(control, 0);
    `;
    const worker = new Worker(code, { eval: true, workerData: buffer });
    expect(awaitAnswer({ buffer, direction: "read", rows: 0 }, 20_000)).toBe(true);
    expect([...new Int32Array(buffer, 0, 2)]).toEqual([1, 1]);
    expect(awaitAnswer({ buffer: new SharedArrayBuffer(64), direction: "read", rows: 0 }, 10)).toBe(false);
    await worker.terminate();
  });

  it("gives the error of the source's close, and closes once", async () => {
    const source = await openInWorker(
      moduleOf(`${PATIENT}.then((source) => {
      source.close = async () => { throw new Error("stuck"); };
      return source;
    })`),
    );
    await expect(source.close?.()).rejects.toThrow("stuck");
    await source.close?.();
  });

  // (Four programs, one after the other: on a busy machine they took half of the half minute that a test has.)
  it("lets the program end when it is idle or was given up, but not while it is being closed", {
    timeout: 110_000,
  }, () => {
    const dist = new URL("../../dist/index.js", import.meta.url);
    const run = (body: string, options = {}) => {
      const code = `
        import { openInWorker, SourceIo, readInto } from ${JSON.stringify(dist.href)};
        const source = await openInWorker(${JSON.stringify(moduleOf(PATIENT))}, ${JSON.stringify(options)});
        const io = new SourceIo(source);
        ${body}
      `;
      const directory = fileURLToPath(new URL("../..", import.meta.url));
      const argv = ["--input-type=module", "-e", code];
      return execFileSync(process.execPath, argv, { cwd: directory, encoding: "utf8", timeout: 25_000 });
    };
    expect(run("console.log(readInto(io, 1, 1).sync()[0]);")).toBe("1\n");
    expect(run("console.log((await readInto(io, 200, 1))[0]);")).toBe("200\n");
    const refused = "try { readInto(io, 99, 1).sync() } catch (error) { console.log(error.cause.code) }";
    expect(run(refused, { timeout: 100 })).toBe("TIMEOUT\n");
    expect(run("await io.close(); console.log('closed');")).toBe("closed\n");
  });
});

/** Answers at 200 late, at 99 never, and elsewhere at once. */
const PATIENT = `Promise.resolve({
  name: "patient",
  supports: { write: false, live: false },
  ranges: () => ({ starts: Float64Array.of(0), ends: Float64Array.of(250) }),
  async transfer(batch) {
    for (let row = 0; row < batch.length; row++) {
      const at = batch.address(row);
      if (at === 99) await new Promise(() => setInterval(() => {}, 1000));
      if (at === 200) await new Promise((resolve) => setTimeout(resolve, 100));
      batch.bytes(row).forEach((_, i, mine) => { mine[i] = at + i; });
      batch.done(row);
    }
  },
})`;

/** Its first byte tells whether it is paused; it is so once. */
const PAUSED = `(() => { let paused = false; let pauses = 0; return {
  name: "paused",
  supports: { write: false, live: true },
  ranges: () => ({ starts: Float64Array.of(0), ends: Float64Array.of(1) }),
  get still() { return paused ? "is paused" : undefined; },
  notes: () => Promise.reject(new Error("no registers here")),
  freeze: async () => { if (pauses++ > 0) throw new Error("not twice"); paused = true; },
  thaw: async () => { paused = false; },
  async transfer(batch) {
    for (let row = 0; row < batch.length; row++) {
      batch.bytes(row)[0] = paused ? 1 : 0;
      batch.done(row);
    }
  },
}; })()`;

/** The URL of a module whose factory gives this. */
function moduleOf(source: string): string {
  return `data:text/javascript,${encodeURIComponent(`export const openSource = () => ${source};`)}`;
}
