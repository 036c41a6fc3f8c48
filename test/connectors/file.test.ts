import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { openFile, SHRUNK } from "../../connectors/file.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { Batch, ROW_PARTIAL } from "../../src/io/batch.hot.js";
import {
  AddressRanges,
  all,
  readInto,
  readPartial,
  type Source,
  SourceIo,
  write,
  writePartial,
} from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-file-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let made = 0;
const file = (bytes: Uint8Array) => {
  const path = join(directory, `file${made++}`);
  writeFileSync(path, bytes);
  return path;
};

it("reads any ranges side by side as they are in the file", async () => {
  const bytes = pattern(60_000, 1);
  const source = openFile(file(bytes));
  const io = new SourceIo(source);
  expect(source.size).toBe(60_000);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(61_000), fc.nat(9000)), { minLength: 1 }), async (wanted) => {
      const results = await all(wanted.map(([at, length]) => readPartial(io, at, length)));
      for (const [i, [at, length]] of wanted.entries()) {
        const { bytes: got, holes } = results[i] as (typeof results)[0];
        const there = Math.max(0, Math.min(length, 60_000 - at));
        expect(Buffer.compare(got.subarray(0, there), bytes.subarray(at, at + there))).toBe(0);
        const missing = { start: there, end: length, state: "outside" };
        expect(holes).toMatchObject(there === length ? [] : [missing]);
      }
    }),
  );
  await io.close();
});

it("reads pages side by side into scattered memory, and of a cut file those that are left", () => {
  const PAGE = 4096;
  const bytes = pattern(64 * PAGE, 3);
  fc.assert(
    fc.property(
      fc.shuffledSubarray([...Array(20).keys()], { minLength: 2 }),
      fc.constantFrom(1, 3),
      fc.oneof(fc.constant(60 * PAGE), fc.nat(60 * PAGE)),
      (order, pages, size) => {
        const path = file(bytes.subarray(0, 60 * PAGE));
        const source = openFile(path);
        truncateSync(path, size);
        // The pages of the memory in another order than those of the file.
        const batch = new Batch();
        batch.reset("read", order.length);
        const memory = new Uint8Array(60 * PAGE).fill(0xa5);
        const length = pages * PAGE;
        const rows = [...order].sort((a, b) => a - b);
        for (const [i, row] of rows.entries())
          batch.push(row * length, 0, memory, (order[i] as number) * length, length);
        source.transferSync?.(batch);
        const wanted = new Uint8Array(60 * PAGE).fill(0xa5);
        for (const [i, row] of rows.entries()) {
          const there = Math.max(0, Math.min(length, size - row * length));
          wanted.set(bytes.subarray(row * length, row * length + there), (order[i] as number) * length);
          expect(batch.status[i]).toBe(there === length ? 0 : there === 0 ? SHRUNK : ROW_PARTIAL);
          if (there !== 0 && there !== length)
            expect(batch.faults).toEqual([{ row: i, start: there, end: length, fault: SHRUNK }]);
        }
        expect(Buffer.compare(memory, wanted)).toBe(0);
        source.close?.();
        rmSync(path);
      },
    ),
  );
});

it("holes of the file system are zeros", () => {
  const path = file(Uint8Array.of(1));
  const fd = openSync(path, "r+");
  ftruncateSync(fd, 2 ** 33);
  writeSync(fd, Uint8Array.of(9, 9), 0, 2, 2 ** 33 - 2);
  closeSync(fd);
  const io = new SourceIo(openFile(path));
  expect(readInto(io, 0, 4).sync()).toEqual(Uint8Array.of(1, 0, 0, 0));
  expect(readInto(io, 2 ** 33 - 4, 4).sync()).toEqual(Uint8Array.of(0, 0, 9, 9));
  expect(readInto(io, 2 ** 32 + 5, 100).sync()).toEqual(new Uint8Array(100));
});

it("what was cut off while it was open fails as gone, and the rest is read", async () => {
  const bytes = pattern(20_000, 1);
  const path = file(bytes);
  const io = new SourceIo(openFile(path));
  truncateSync(path, 10_000);
  const { bytes: got, holes } = readPartial(io, 9000, 2000).sync();
  expect(got.subarray(0, 1000)).toEqual(bytes.subarray(9000, 10_000));
  expect(holes).toMatchObject([{ start: 1000, end: 2000, state: "gone" }]);
  // Rows near each other, which are read in one call.
  const near = await all([0, 1, 2, 3].map((i) => readPartial(io, 9700 + i * 200, 100)));
  expect(near.map(({ holes: h }) => h.map(({ start, end, state }) => [start, end, state]))).toEqual([
    [],
    [],
    [[0, 100, "gone"]],
    [[0, 100, "gone"]],
  ]);
  expect(near[1]?.bytes).toEqual(bytes.slice(9900, 10_000));
});

describe("writes", () => {
  it("go to the file where it was opened for them", () => {
    const path = file(pattern(5000, 1));
    const io = new SourceIo(openFile(path, { write: true }));
    write(io, 100, Uint8Array.of(1, 2, 3)).sync();
    expect(readInto(io, 99, 5).sync().subarray(1, 4)).toEqual(Uint8Array.of(1, 2, 3));
    expect(readFileSync(path).subarray(100, 103)).toEqual(Buffer.of(1, 2, 3));
  });

  it("are refused where it was not", () => {
    const path = file(pattern(5000, 1));
    const io = new SourceIo(openFile(path));
    expect(writePartial(io, 100, Uint8Array.of(1, 2, 3)).sync().holes).toMatchObject([
      { state: "read-only" },
    ]);
    expect(readFileSync(path)).toEqual(Buffer.from(pattern(5000, 1)));
  });

  it("never make the file longer, not even again after it was cut", () => {
    const path = file(pattern(5000, 1));
    const io = new SourceIo(openFile(path, { write: true }));
    expect(writePartial(io, 4998, Uint8Array.of(1, 2, 3)).sync().holes).toMatchObject([
      { start: 2, end: 3, state: "outside" },
    ]);
    truncateSync(path, 1000);
    expect(writePartial(io, 998, Uint8Array.of(1, 2, 3)).sync().holes).toMatchObject([
      { start: 2, end: 3, state: "gone" },
    ]);
    expect(writePartial(io, 2000, Uint8Array.of(1)).sync().holes).toMatchObject([{ state: "gone" }]);
    expect(statSync(path).size).toBe(1000);
  });
});

describe("what is no file to read is an error that says what it is", () => {
  const fails = (path: string, code: string, message: RegExp, options = {}) =>
    expect(() => openFile(path, options)).toThrow(
      expect.objectContaining({ code, target: `file:${path}`, message: expect.stringMatching(message) }),
    );

  it("missing", () => {
    fails(join(directory, "nothing"), "NO_SUCH_FILE", /no such file/);
    fails(join(file(pattern(1, 1)), "below"), "NO_SUCH_FILE", /no such file/);
  });

  it("a directory", () => fails(directory, "NOT_A_FILE", /this is a directory; name the file in it/));

  it("a FIFO, without waiting for whoever would write to it", () => {
    const path = join(directory, "fifo");
    execFileSync("mkfifo", [path]);
    fails(path, "NOT_A_FILE", /this is a FIFO; .* copy it to a file first/);
  });

  it("a character device", () => fails("/dev/zero", "NOT_A_FILE", /a character device/));

  it("a socket", async () => {
    const path = join(directory, "socket");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    fails(path, "NOT_A_FILE", /a socket/);
    await new Promise((resolve) => server.close(resolve));
  });

  it.skipIf(process.getuid?.() === 0)("unreadable", () => {
    const path = file(pattern(10, 1));
    chmodSync(path, 0);
    fails(path, "NO_PERMISSION", /no permission to read it \(EACCES\)/);
  });
});

it("Node's inflate refuses what is longer than a page before it has allocated it", () => {
  const bomb = execFileSync(process.execPath, [
    "-e",
    "process.stdout.write(require('zlib').deflateSync(Buffer.alloc(50_000_000)))",
  ]);
  const before = process.memoryUsage().arrayBuffers;
  expect(() => nodeDecoders.inflate?.(bomb, 4096)).toThrow(/4096/);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
});

it("of rows that one call reads, only those that fail are missing", async () => {
  // A regular file that can't be read everywhere: this process's memory, at the end of something mapped.
  const ends = readFileSync("/proc/self/maps", "latin1")
    .split("\n")
    .map((line) => /^([0-9a-f]+)-([0-9a-f]+) rw.p .* 0 *$/.exec(line))
    .map((match) => ({
      start: Number.parseInt(match?.[1] ?? "", 16),
      end: Number.parseInt(match?.[2] ?? "", 16),
    }));
  const all64 = readFileSync("/proc/self/maps", "latin1");
  const found = ends.find(({ end }) => end > 0 && !all64.includes(`\n${end.toString(16)}-`));
  const end = found?.end ?? Number.NaN;
  const file = openFile("/proc/self/mem");
  const source: Source = {
    name: file.name,
    supports: file.supports,
    ranges: () => AddressRanges.single(0, 2 ** 47),
    transferSync: (batch) => file.transferSync?.(batch),
  };
  const io = new SourceIo(source);
  const [good, bad] = await all([readPartial(io, end - 16, 8), readPartial(io, end + 64, 8)]);
  expect(good?.holes).toEqual([]);
  expect(bad?.holes).toMatchObject([{ start: 0, end: 8, state: "io" }]);
  file.close?.();
});
