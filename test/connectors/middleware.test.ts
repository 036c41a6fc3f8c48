/** Layers around sources: each is a conforming source, and does what it is for. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConnectorError } from "../../connectors/errors.js";
import { withDelay } from "../../connectors/middleware/delay.js";
import { withMetrics } from "../../connectors/middleware/metrics.js";
import { withReadOnly } from "../../connectors/middleware/read-only.js";
import { withRecording } from "../../connectors/middleware/record.js";
import { withMap } from "../../connectors/middleware/remap.js";
import { openRecording } from "../../connectors/middleware/replay.js";
import { open } from "../../connectors/open.js";
import {
  checkOptions,
  findConnector,
  openTarget,
  parseTarget,
  registerConnector,
} from "../../connectors/registry.js";
import {
  type Batch,
  PartialReadError,
  readInto,
  readPartial,
  type Source,
  write,
} from "../../src/io/index.js";
import { memorySource, sourceSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";
import { BROKEN, BYTES, brokenMemory, ioOf } from "../support/sources.js";
import { testFolder } from "../support/test-folder.js";

const { folder, file } = testFolder();
let files = 0;
const newFile = () => join(folder, `${++files}.rec`);

const LAYERS: Record<string, (source: Source) => Source> = {
  delay: (source) => withDelay(source, 0.01),
  metrics: withMetrics,
  record: (source) => withRecording(source, newFile(), "physical"),
  "delay, metrics and record": (source) =>
    withRecording(withMetrics(withDelay(source, 0.01)), newFile(), "physical"),
};

describe.each(["sync", "async", "both"] as const)("over a source that answers %s", (mode) => {
  for (const live of [false, true]) {
    for (const [name, wrap] of Object.entries(LAYERS)) {
      if (mode === "sync" ? name.includes(",") : !name.includes(",")) continue;
      sourceSuite(`${name}, ${live ? "live" : "still"}`, () => {
        const bytes = pattern(BYTES, 5);
        return {
          source: wrap(brokenMemory(bytes, { mode, live })),
          base: 0,
          truth: () => bytes.slice(),
          writable: true,
          bad: [{ ...BROKEN, state: "io" }],
        };
      });
    }
  }

  sourceSuite(`map of ranges in another order, ${mode}`, () => {
    const bytes = pattern(BYTES, 5);
    const truth = () => {
      const all = new Uint8Array(BYTES);
      all.set(bytes.subarray(8192), 0);
      all.set(bytes.subarray(0, 8192), BYTES - 8192);
      return all;
    };
    return {
      source: withMap(memorySource(bytes, { mode, base: 0x10000 }), [
        { start: 0x1000 + BYTES - 8192, end: 0x1000 + BYTES, offset: 0x10000 },
        { start: 0x1000, end: 0x1000 + BYTES - 8192, offset: 0x12000 },
      ]),
      base: 0x1000,
      truth,
      writable: true,
    };
  });

  sourceSuite(`readonly, ${mode}`, () => {
    const bytes = pattern(BYTES, 5);
    return { source: withReadOnly(memorySource(bytes, { mode })), base: 0, truth: () => bytes.slice() };
  });
});

describe("map", () => {
  it("is the same as a slow lookup byte for byte, whatever the ranges are", () => {
    const bytes = pattern(600, 1);
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ gap: fc.nat(50), length: fc.integer({ min: 1, max: 90 }), offset: fc.nat(650) }),
          {
            maxLength: 6,
          },
        ),
        fc.nat(500),
        fc.integer({ min: 1, max: 300 }),
        (list, at, length) => {
          let next = 0;
          const map = list.map(({ gap, length, offset }) => {
            const start = next + gap;
            next = start + length;
            return { start, end: next, offset };
          });
          const source = withMap(memorySource(bytes), map);
          const { bytes: got, holes } = readPartial(ioOf(source), at, length).sync();
          for (let i = 0; i < length; i++) {
            const range = map.find(({ start, end }) => start <= at + i && at + i < end);
            const want = range === undefined ? undefined : bytes[range.offset + (at + i - range.start)];
            const hole = holes.find(({ start, end }) => start <= i && i < end);
            expect(hole === undefined ? got[i] : undefined).toBe(want);
          }
        },
      ),
    );
  });

  it("refuses ranges that overlap", () => {
    const map = [
      { start: 0, end: 10, offset: 0 },
      { start: 9, end: 20, offset: 100 },
    ];
    expect(() => withMap(memorySource(new Uint8Array(200)), map)).toThrow(RangeError);
  });

  it("makes physical memory of a process's addresses", async () => {
    registerConnector("far", {
      kind: "virtual",
      about: "memory at high addresses",
      open: () => memorySource(pattern(8192, 7), { base: 0x7f00_0000_0000, live: true }),
    });
    const machine = await open({ connector: "far:x:map=0x1000-0x3000@0x7f0000000000" }, { kernel: "none" });
    expect(machine.physical?.map.end).toBe(0x3000);
    expect(await machine.physical?.read(0x1000, 8192)).toEqual(pattern(8192, 7));
    await machine.close();
  });

  it("is an error where nothing of it is there, not where a part of it is", async () => {
    const target = `proc:${process.pid}:map=`;
    await expect(openTarget(`${target}0-4K@0x1000,8K-12K@0x3000`)).rejects.toMatchObject({
      code: "NOT_MAPPED",
      message: `${target}0-4K@0x1000,8K-12K@0x3000: map: 0x0 would be at 0x1000, which is not mapped there, nor is any other of its 2 ranges`,
    });
    const at = readFileSync("/proc/self/maps", "latin1").split("-")[0];
    const { source } = await openTarget(`${target}0-4K@0x1000,8K-12K@0x${at}`);
    expect([...source.ranges()]).toEqual([{ start: 0x2000, end: 0x3000 }]);
    await source.close?.();
  });
});

describe("metrics", () => {
  it("count rows, bytes, failures by their state, and the time that batches took", async () => {
    const source = withMetrics(
      withDelay(memorySource(pattern(9000, 1), { broken: [{ start: 100, end: 200 }], live: true }), 2),
    );
    expect(source.metrics()).toMatchObject({ batches: 0, latency: undefined });
    const reads = ioOf(source);
    readPartial(reads, 0, 1000).sync();
    readPartial(reads, 8000, 500).sync();
    write(reads, 0, new Uint8Array(10)).sync();
    const metrics = source.metrics();
    expect(metrics).toMatchObject({
      batches: 3,
      rows: 3,
      rowsWritten: 1,
      bytes: 1510,
      bytesMoved: 1410,
      rowsFailed: 1,
      failures: { io: 1 },
      thrown: 0,
    });
    const { least, p50, p99, most, mean } = metrics.latency as NonNullable<typeof metrics.latency>;
    expect(least).toBeGreaterThanOrEqual(2);
    expect([least <= p50, p50 <= p99, p99 <= most, least <= mean, mean <= most]).toEqual(Array(5).fill(true));
    expect(JSON.parse(JSON.stringify(metrics))).toEqual(metrics);
  });

  it("count batches that throw", () => {
    const source = withMetrics(
      memorySource(new Uint8Array(10), {
        onBatch: () => {
          throw new Error("no line");
        },
      }),
    );
    expect(() => readInto(ioOf(source), 0, 4).sync()).toThrow(PartialReadError);
    expect(source.metrics()).toMatchObject({ thrown: 1, rowsFailed: 1 });
  });
});

describe("delay", () => {
  it("makes a synchronous batch wait once, and asynchronous ones side by side", async () => {
    const source = withDelay(memorySource(new Uint8Array(100), { live: true }), 20);
    const reads = ioOf(source);
    const begin = performance.now();
    readInto(reads, 0, 4).sync();
    expect(performance.now() - begin).toBeGreaterThanOrEqual(20);
    let batches = 0;
    let most = 0;
    let under = 0;
    const counted: Source = {
      ...memorySource(new Uint8Array(100)),
      transferSync: () => expect.unreachable(),
      transfer: async (batch: Batch) => {
        batches++;
        most = Math.max(most, ++under);
        await source.transfer?.(batch);
        under--;
      },
    };
    const both = ioOf(counted);
    const first = readInto(both, 0, 4).promise();
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
    await Promise.all([first, readInto(both, 50, 4).promise()]);
    expect([batches, most]).toEqual([2, 2]);
  });
});

describe("options of every target", () => {
  const path = file("plain", pattern(4096, 9));

  it("are read by their kind, beside the connector's own", () => {
    const { options } = parseTarget("x:y:cache=1M,age=2s,delay=50us,metrics=true,record=a.rec,write=true");
    expect(checkOptions("x", findConnector("proc"), options)).toEqual({
      cache: 2 ** 20,
      age: 2000,
      delay: 0.05,
      metrics: true,
      record: "a.rec",
      write: true,
    });
    for (const bad of ["delay=-1", "delay=1h", "delay=", "delay=2d", "age=99999999s", "record=", "cache=x"]) {
      expect(() => checkOptions("x", findConnector("proc"), parseTarget(`x:y:${bad}`).options)).toThrow(
        /option/,
      );
    }
  });

  it("a connector's own option of that name is the connector's", async () => {
    let given: unknown;
    registerConnector("own-delay", {
      kind: "physical",
      about: "has a delay of its own",
      options: { delay: "string" },
      open: (_target, options) => {
        given = options.delay;
        return memorySource(new Uint8Array(10));
      },
    });
    const { source } = await openTarget("own-delay:x:delay=later");
    expect([given, source.transfer]).toEqual(["later", undefined]);
  });

  it("are joined by what is asked for beside the target, unless it says no", async () => {
    let paused = 0;
    registerConnector("pausable", {
      kind: "physical",
      about: "is paused while it is open",
      options: { freeze: "boolean" },
      open: (_target, { freeze }) => {
        if (freeze === true) paused++;
        return { ...memorySource(new Uint8Array(10)), close: () => void paused-- };
      },
    });
    const { source } = await openTarget("pausable:x", { freeze: true });
    expect(paused).toBe(1);
    await source.close?.();
    expect(paused).toBe(0);
    await expect(openTarget("pausable:x:freeze=no", { freeze: true })).rejects.toThrow(
      "freeze is asked for, and the target says freeze=false",
    );
    await expect(openTarget("pausable:x", { write: true })).rejects.toMatchObject({ code: "READ_ONLY" });
  });

  it.each([
    [`file:${path}:write=true,readonly=true`, "write and readonly exclude each other"],
    [`file:${path}:record=x,replay=y`, "record and replay exclude each other"],
    [`file:${path}:write=true,replay=y`, "a recording can't be written"],
    [`proc:${process.pid}:cache=1M`, "cache is for physical memory"],
    [`proc:${process.pid}:age=1s`, "age is for physical memory"],
    [`file:${path}:delya=1`, "every connector has cache=size, age=duration, readonly=boolean"],
  ])("%s is refused", async (text, problem) => {
    await expect(openTarget(text)).rejects.toThrow(problem);
  });

  it("readonly refuses writes of whoever did not ask for them", async () => {
    const machine = await open({ connector: `file:${path}:readonly=true` }, { kernel: "none" });
    expect(machine.source.source.supports.write).toBe(false);
    await machine.close();
    await expect(open({ connector: `file:${path}:readonly=true` }, { write: true })).rejects.toThrow(
      "write and readonly",
    );
  });

  it("metrics are the machine's, through all layers", async () => {
    const recording = newFile();
    const target = `file:${path}:metrics=true,delay=10us,record=${recording}`;
    const machine = await open({ connector: target }, { kernel: "none" });
    expect(await machine.physical?.read(0, 4096)).toEqual(pattern(4096, 9));
    expect(machine.metrics?.bytesMoved).toBeGreaterThanOrEqual(4096);
    await machine.close();
    const again = openRecording(recording);
    expect(again.complete).toBe(true);
    again.close?.();
    const plain = await open(path, { kernel: "none" });
    expect(plain.metrics).toBeUndefined();
    await plain.close();
  });

  it("a mapped file is read through its layers", async () => {
    const machine = await open({ connector: `file:${path}:map=true,metrics=true` }, { kernel: "none" });
    expect(await machine.physical?.read(0, 4096)).toEqual(pattern(4096, 9));
    expect(machine.metrics?.bytesMoved).toBeGreaterThanOrEqual(4096);
    await machine.close();
  });

  it.each([
    "net:127.0.0.1:1:token=hush-hush,nothing=1",
    "net:127.0.0.1:1:write=yes,token=hush-hush,readonly=true",
    "net:127.0.0.1:1:token=hush-hush,token=hush-hush",
    "net:127.0.0.1:1:token=hush-hush,delay=x:y",
    "net:nowhere:token=hush-hush",
    "file:none:token=hush-hush",
  ])("%s: the token is not in the error", async (text) => {
    const error = await openTarget(text).then(
      () => undefined,
      (thrown: ConnectorError) => thrown,
    );
    expect(error).toBeInstanceOf(ConnectorError);
    expect(`${error} ${error?.target}`).not.toContain("hush");
    await expect(open({ connector: text }, { freeze: true })).rejects.not.toThrow(/hush/);
  });

  it.skipIf(process.platform === "win32")(
    "a recording is its user's alone (no such files elsewhere)",
    async () => {
      const recording = newFile();
      const { source } = await openTarget(`file:${path}:record=${recording}`);
      await source.close?.();
      expect(statSync(recording).mode & 0o777).toBe(0o600);
    },
  );

  it("a recording is not made over another file", async () => {
    await expect(openTarget(`file:${path}:record=${path}`)).rejects.toThrow(
      expect.objectContaining({ code: "RECORD_FAILED" }),
    );
    await expect(openTarget(`file:${path}:record=${folder}/none/x`)).rejects.toThrow(ConnectorError);
  });
});
