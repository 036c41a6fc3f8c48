/** process_vm_readv(2) gives what /proc/PID/mem gives, and never a byte of another program. */
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ffi, type FfiCall, loadFfiNow } from "../../../connectors/ffi.js";
import { openProcessWith, type ProcessSource } from "../../../connectors/proc/open-process.js";
import { all, readInto, readPartial, Scheduler, SourceIo, write } from "../../../src/io/index.js";
import { BASE, canRun, endNow, FAR, PAGE, pageAt, Targets, waitUntil, wordOf } from "./target.js";

const targets = new Targets();
const opened: SourceIo[] = [];
afterAll(async () => {
  for (const io of opened) await io.close();
  targets.close();
});

/** The package, with what is done before or after each of its calls that reads. */
function watched(before: (call: FfiCall, count: number) => void = () => {}) {
  const seen = { calls: 0, mostRows: 0 };
  const ffi = loadFfiNow();
  const load = (): Ffi => ({
    open: ffi.open,
    createExternalBuffer: ffi.createExternalBuffer,
    DataType: ffi.DataType,
    load: (call: FfiCall) => {
      if (call.funcName === "process_vm_readv") {
        before(call, seen.calls++);
        seen.mostRows = Math.max(seen.mostRows, call.paramsValue[4] as number);
      }
      return ffi.load(call);
    },
  });
  return { seen, load };
}

function openIo(pid: number, parts: Parameters<typeof openProcessWith>[2], writable = false): SourceIo {
  const io = new SourceIo(openProcessWith(pid, { write: writable }, parts), new Scheduler());
  opened.push(io);
  return io;
}

/** Rows with gaps, so that no two become one. */
function readPages(io: SourceIo, pages: readonly number[], bytes = PAGE) {
  return all(pages.map((page) => readPartial(io, pageAt(page), bytes))).sync();
}

const firstWord = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
/** Every third page of those without a hole among them. */
const PLAIN = Array.from({ length: 300 }, (_, i) => 3 * i);

const generationOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[1];

describe.skipIf(!canRun)("many rows of a process in one call", () => {
  let pid = 0;
  let fast: SourceIo;
  let slow: SourceIo;
  const { seen, load } = watched();

  beforeAll(async () => {
    ({ pid } = await targets.start("7"));
    fast = openIo(pid, { after: 0, load });
    slow = openIo(pid, { after: Number.POSITIVE_INFINITY });
  });

  it("come whole, in a few calls", () => {
    const before = seen.calls;
    const results = readPages(fast, PLAIN);
    expect(results.map(({ bytes }) => firstWord(bytes))).toEqual(PLAIN.map((page) => wordOf(page, 7n)));
    expect(seen.calls - before).toBeGreaterThan(0);
    expect(seen.calls - before).toBeLessThanOrEqual(3);
  });

  it("go straight into one large buffer", async () => {
    const into = new Uint8Array(PLAIN.length * PAGE);
    await all(PLAIN.map((page, i) => readInto(fast, pageAt(page), into.subarray(i * PAGE, (i + 1) * PAGE))));
    for (const [i, page] of PLAIN.entries())
      expect(firstWord(into.subarray(i * PAGE))).toBe(wordOf(page, 7n));
  });

  it("are never more than the system takes", () => {
    const rows = Array.from({ length: 3000 }, (_, i) => FAR + BigInt(i * 3 * PAGE));
    const results = all(rows.map((at) => readPartial(fast, at, 8))).sync();
    expect(results.every(({ holes }) => holes.length === 0)).toBe(true);
    expect(seen.mostRows).toBe(1024);
  });

  it("lie more than 1 GiB apart", () => {
    const results = all(
      Array.from({ length: 64 }, (_, i) => readPartial(fast, FAR + BigInt(i * 2 ** 25), 8)),
    ).sync();
    expect(results.map(({ bytes }) => firstWord(bytes))).toEqual(
      Array.from({ length: 64 }, (_, i) => BigInt(i)),
    );
  });

  it("a large row comes in a call of its own, and a hole in it costs only itself", () => {
    const before = seen.calls;
    const whole = readPartial(fast, BASE, 999 * PAGE).sync();
    expect([whole.holes, seen.calls - before]).toEqual([[], 1]);
    const broken = readPartial(fast, pageAt(900), 200 * PAGE).sync();
    expect(broken.holes.map(({ start, end, state }) => [start / PAGE, end / PAGE, state])).toEqual([
      [100, 103, "outside"],
    ]);
    expect(firstWord(broken.bytes.subarray(103 * PAGE))).toBe(wordOf(1003, 7n));
  });

  it("a hole in the middle costs only its own row", () => {
    const pages = Array.from({ length: 40 }, (_, i) => 960 + 2 * i);
    const results = readPages(fast, pages);
    expect(pages.filter((_, i) => results[i]?.holes.length !== 0)).toEqual([1000, 1002]);
    expect(results.at(-1)?.bytes.length).toBe(PAGE);
  });

  it("pages without rights come all the same", () => {
    const pages = Array.from({ length: 30 }, (_, i) => 1480 + 2 * i);
    const results = readPages(fast, pages);
    expect(results.map(({ bytes }) => firstWord(bytes))).toEqual(pages.map((page) => wordOf(page, 7n)));
  });

  it("any rows are what /proc/PID/mem gives, bytes and failures", () => {
    const place = fc.oneof(
      fc.integer({ min: -2 * PAGE, max: 4098 * PAGE }),
      fc.integer({ min: 998 * PAGE, max: 1004 * PAGE }),
      fc.integer({ min: 2990 * PAGE, max: 3110 * PAGE }),
    );
    const length = fc.oneof(
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 3 * PAGE }),
      fc.constant(300_000),
    );
    const rows = fc.array(fc.tuple(place, length), { minLength: 1, maxLength: 60 });
    const parts = ({
      bytes,
      good,
      holes,
    }: {
      bytes: Uint8Array;
      good: readonly { start: number; end: number }[];
      holes: readonly object[];
    }) => ({
      good: good.map(({ start, end }) => Buffer.from(bytes.subarray(start, end)).toString("latin1")),
      holes: holes.map((hole) => JSON.stringify({ ...hole, error: undefined })),
    });
    fc.assert(
      fc.property(rows, (asked) => {
        const read = (io: SourceIo) =>
          all(asked.map(([at, bytes]) => readPartial(io, BASE + BigInt(at), bytes)))
            .sync()
            .map(parts);
        expect(read(fast)).toEqual(read(slow));
      }),
      { numRuns: 60 },
    );
  });

  it("a page that the process may not write to is written, and read back", () => {
    const io = openIo(pid, { after: 0, load }, true);
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const pages = [1590, 1592, 1594, 1596, 1598, 1600, 1602, 1604, 1606, 1608];
    all(pages.map((page) => write(io, pageAt(page) + 16n, bytes))).sync();
    const now = all(pages.map((page) => readInto(fast, pageAt(page) + 16n, 8))).sync();
    expect(now).toEqual(pages.map(() => bytes));
  });

  it("memory that was given away before it was filled is left alone", async () => {
    const into = new Uint8Array(64 * PAGE);
    readInto(fast, BASE, into).sync();
    const pending = all(
      Array.from({ length: 32 }, (_, i) =>
        readPartial(fast, pageAt(2 * i), into.subarray(i * PAGE, (i + 1) * PAGE)),
      ),
    );
    const settled = Promise.resolve(pending).then(
      () => "done",
      () => "failed",
    );
    const moved = structuredClone(into, { transfer: [into.buffer] });
    const was = moved.slice();
    await settled;
    expect(Buffer.compare(moved, was)).toBe(0);
    expect(readPages(fast, PLAIN).every(({ holes }) => holes.length === 0)).toBe(true);
  });

  it("a few rows are read without the package", () => {
    const { seen: few, load: loadFew } = watched();
    const io = openIo(pid, { after: 0, load: loadFew });
    readPages(io, [1, 3, 5]);
    expect(few.calls).toBe(0);
  });

  it("without the package, or where the call is refused, everything is read as well", () => {
    const missing = openIo(pid, {
      after: 0,
      load: () => {
        throw new Error("Cannot find package");
      },
    });
    const { seen: tried, load: real } = watched();
    const refused = openIo(pid, {
      after: 0,
      load: () => {
        const ffi = real();
        return {
          ...ffi,
          load: (call) => {
            const result = ffi.load(call);
            return call.funcName === "process_vm_readv" ? { value: -1, errnoCode: 1 } : result;
          },
        };
      },
    });
    for (const io of [missing, refused]) {
      for (let i = 0; i < 2; i++) {
        const results = readPages(io, PLAIN);
        expect(results.map(({ bytes }) => firstWord(bytes))).toEqual(PLAIN.map((page) => wordOf(page, 7n)));
      }
    }
    expect(tried.calls).toBe(1);
  });

  it("of a thread are those of its process", async () => {
    const threads = (fast.source as ProcessSource).threads();
    expect(threads).toEqual([{ tid: pid, name: "target", state: "S" }]);
    const own = openProcessWith(process.pid, {}, {});
    const thread = own.threads().find(({ tid }) => tid !== process.pid);
    await own.close?.();
    const io = openIo(thread?.tid as number, { after: 0, load });
    const map = (io.source as ProcessSource).maps().find(({ path }) => path.endsWith("/node"));
    expect(firstWord(readInto(io, map?.start as bigint, 8).sync()) & 0xffff_ffffn).toBe(0x464c_457fn);
  });
});

describe.skipIf(!canRun)("a process that is another one meanwhile", () => {
  it("a program that took its place right before a call gives nothing", async () => {
    const { pid } = await targets.start("1");
    let armed = false;
    const { load } = watched(() => {
      if (!armed) return;
      armed = false;
      process.kill(pid, "SIGUSR1");
      waitUntil(() => generationOf(pid) === "2");
    });
    const io = openIo(pid, { after: 0, load });
    expect(firstWord((readPages(io, PLAIN)[9] as { bytes: Uint8Array }).bytes)).toBe(wordOf(27, 1n));
    armed = true;
    const into = new Uint8Array(PLAIN.length * PAGE);
    const results = all(
      PLAIN.map((page, i) => readPartial(io, pageAt(page), into.subarray(i * PAGE, (i + 1) * PAGE))),
    ).sync();
    expect(results.every(({ holes }) => holes[0]?.state === "gone")).toBe(true);
    expect(into.every((byte) => byte === 0)).toBe(true);
    expect((io.source as ProcessSource).maps()).toEqual([]);
    expect((io.source as ProcessSource).threads()).toEqual([]);
  });

  it("a fork of it that got its number gives nothing", async () => {
    const { pid, next } = await targets.start("launch", "1");
    process.kill(pid, "SIGUSR2");
    const fork = await next();
    targets.others.push(fork);
    let armed = false;
    const { load } = watched((call) => {
      if (!armed) return;
      process.kill(pid, "SIGKILL");
      waitUntil(() => !existsSync(`/proc/${pid}`));
      // As if the fork, which has the same random bytes, had that number now.
      call.paramsValue[0] = fork;
    });
    const io = openIo(pid, { after: 0, load });
    readPages(io, PLAIN);
    armed = true;
    const results = readPages(io, PLAIN);
    expect(
      results.every(({ holes, bytes }) => holes[0]?.state === "gone" && bytes.every((byte) => byte === 0)),
    ).toBe(true);
  });

  it("that starts a program over and over is only ever seen as the one that was opened", async () => {
    const { pid, next } = await targets.start("1");
    // Reads between the signal and the old program's end. Often 12 programs give none: then more of them are started.
    let raced = 0;
    for (let generation = 1n; generation <= 12n || (raced === 0 && generation <= 200n); generation++) {
      const io = openIo(pid, { after: 0 });
      for (let round = 0; ; round++) {
        if (round === 1) process.kill(pid, "SIGUSR1");
        const results = readPages(io, PLAIN, 64);
        let isGone = false;
        for (const [i, { good, bytes, holes }] of results.entries()) {
          if (good.length > 0) expect(firstWord(bytes)).toBe(wordOf(PLAIN[i] as number, generation));
          else isGone = holes[0]?.state === "gone";
        }
        if (isGone) break;
        if (round > 0) raced++;
      }
      await io.close();
      await next();
    }
    expect(raced).toBeGreaterThan(0);
  });

  it("what was read before it ended is kept", async () => {
    const { pid } = await targets.start("1");
    const { seen, load } = watched((_, count) => {
      if (count !== 2) return;
      endNow(pid);
    });
    const io = openIo(pid, { after: 0, load });
    const pages = Array.from({ length: 999 }, (_, i) => i);
    const results = all(pages.map((page) => readPartial(io, pageAt(page), 3000))).sync();
    const gone = results.findIndex(({ holes }) => holes.length > 0);
    expect(seen.calls).toBe(3);
    expect(gone).toBeGreaterThan(200);
    for (const [page, { bytes, holes }] of results.entries()) {
      if (page < gone) expect(firstWord(bytes)).toBe(wordOf(page, 1n));
      else expect(holes).toMatchObject([{ start: 0, end: 3000, state: "gone" }]);
    }
  });
});
