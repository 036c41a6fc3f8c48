/** The memory that LeechCore's connector reads into, and writes from: its caller's, which it may hand to the library. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressOf, loadFfi } from "../../../connectors/ffi.js";
import { type LeechCoreOptions, openLeechCore } from "../../../connectors/leechcore/source.js";
import { all, Batch, faultState, readPartial, Scheduler, SourceIo } from "../../../src/io/index.js";
import { pattern } from "../../support/bytes.js";
import { hasCompiler, standIn } from "../../support/leechcore.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-leechcore-memory-"));
const ram = join(directory, "ram");
const PAGES = 600;
/** For a row's bytes and free ones around them. */
const ROOM = 12_500;
const truth = pattern(PAGES * 4096, 5);
beforeAll(() => writeFileSync(ram, truth));
afterAll(() => rmSync(directory, { recursive: true }));

function card(told: Readonly<Record<string, string | number>> = {}, options: LeechCoreOptions = {}) {
  const parameters = new Map([
    ["file", ram],
    ...Object.entries(told).map(([k, v]) => [k, String(v)] as const),
  ]);
  return openLeechCore("card", { library: standIn(), parameters, ...options });
}

/** ECMAScript 2024; memtool's own code is of 2022. */
function resizable(size: number) {
  const Resizable = ArrayBuffer as unknown as new (
    size: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(size: number): void };
  return new Resizable(size, { maxByteLength: size });
}

/** A batch of the first pages, one after the other in memory. */
function pagesInto(memory: Uint8Array, count: number): Batch {
  const batch = new Batch();
  batch.reset("read", count);
  for (let i = 0; i < count; i++) batch.push(i * 4096, 0, memory, i * 4096, 4096);
  return batch;
}

/** Rows that failed whole, as `row state`. */
function failedRows(batch: Batch): string[] {
  return Array.from(batch.status.subarray(0, batch.length))
    .map((status, row) => `${row} ${status > 0 ? faultState(status) : status}`)
    .filter((text) => !text.endsWith(" 0"));
}

describe.skipIf(!hasCompiler)("LeechCore's connector", () => {
  it.each([
    ["in one buffer", () => new ArrayBuffer(PAGES * ROOM)],
    ["in shared memory", () => new SharedArrayBuffer(PAGES * ROOM)],
  ])("reads many rows %s at once, whole or in part, and touches nothing beside them", async (_, make) => {
    const io = new SourceIo(await card({ fail: 200 }), new Scheduler());
    const memory = new Uint8Array(make()).fill(0xee);
    // Pieces at odd places, short and long ones, with free bytes before and behind each.
    const rows = Array.from({ length: PAGES }, (_, i) => {
      const length = [4096, 8192, 1500, 7, 12_289][i % 5] as number;
      return {
        address: ((i * 7) % (PAGES - 4)) * 4096 + (i % 3) * 8,
        place: i * ROOM + 9 + (i % 64),
        length,
      };
    });
    const read = () =>
      all(
        rows.map(({ address, place, length }) =>
          readPartial(io, address, memory.subarray(place, place + length)),
        ),
      );
    const check = (results: ReturnType<typeof read> extends { sync(): infer R } ? R : never) => {
      const free = new Uint8Array(memory);
      let failed = 0;
      results.forEach(({ good, holes }, i) => {
        const { address, place, length } = rows[i] as (typeof rows)[0];
        failed += holes.length;
        for (const { start, end } of good) {
          const bytes = memory.subarray(place + start, place + end);
          expect(Buffer.compare(bytes, truth.subarray(address + start, address + end))).toBe(0);
        }
        expect([...good, ...holes].reduce((sum, { start, end }) => sum + end - start, 0)).toBe(length);
        free.fill(0xee, place, place + length);
      });
      expect(free.every((byte) => byte === 0xee)).toBe(true);
      expect(failed).toBeGreaterThan(50);
      return results.map(({ good }) => good);
    };
    const now = check(read().sync());
    memory.fill(0xee);
    expect(check(await read())).toEqual(now);
    await io.close();
  });

  it("hands a large buffer's own pages to the library, and those of its own for a small one", async () => {
    const ffi = await loadFfi();
    const source = await card();
    /** Where the last page of the last call was to go. */
    const lastBytes = () => source.getOption(0x7e57_0003_0000_0000n);
    const large = new Uint8Array(PAGES * 4096);
    source.transferSync?.(pagesInto(large, PAGES));
    expect(lastBytes()).toBe(addressOf(ffi, large) + BigInt((PAGES - 1) * 4096));
    expect(Buffer.compare(large, truth)).toBe(0);
    const small = new Uint8Array(4 * 4096);
    source.transferSync?.(pagesInto(small, 4));
    expect(lastBytes()).not.toBe(addressOf(ffi, small) + 3n * 4096n);
    expect(Buffer.compare(small, truth.subarray(0, small.length))).toBe(0);
    await source.close?.();
  });

  it("reads rows of several ranges, and of the gap between them, in one batch", async () => {
    const memoryMap = [
      { start: 0x10_0000, end: 0x20_0000, offset: 0 },
      { start: 0x30_0000, end: 0x38_0000, offset: 0x10_0000 },
    ];
    const source = await card({}, { memoryMap });
    const io = new SourceIo(source, new Scheduler());
    const place = (address: number) => address - (address < 0x30_0000 ? 0x10_0000 : 0x20_0000);
    const read = (address: number) => readPartial(io, address, 4096);
    const inside = [0x10_1000, 0x37_f000, 0x1f_f000, 0x30_0000, 0x10_0000];
    const rows = [...inside, 0x1f_f800, 0x20_0000, 0x2f_f800, 0x37_f800, 0x38_0000, 0xf_f800];
    const results = all(rows.map(read)).sync();
    inside.forEach((address, i) => {
      const expected = truth.subarray(place(address), place(address) + 4096);
      expect([results[i]?.holes, Buffer.compare(results[i]?.bytes as Uint8Array, expected)]).toEqual([[], 0]);
    });
    const good = results.slice(inside.length).map((each) => each.good.map(({ start, end }) => [start, end]));
    expect(good).toEqual([[[0, 2048]], [], [[2048, 4096]], [[0, 2048]], [], [[2048, 4096]]]);
    await io.close();
  });

  it("writes to no memory that its owner gave away or made smaller, and answers the other rows", async () => {
    const source = await card();
    const buffer = resizable(PAGES * 4096);
    const memory = new Uint8Array(buffer, 0, PAGES * 4096);
    const other = new Uint8Array(4096);
    const batch = pagesInto(memory, PAGES);
    batch.push(0x5000, 0, other, 0, 4096);
    buffer.resize(PAGES * 2048);
    source.transferSync?.(batch);
    expect(failedRows(batch)).toEqual(Array.from({ length: PAGES }, (_, row) => `${row} io`));
    buffer.resize(PAGES * 4096);
    expect(new Uint8Array(buffer).every((byte) => byte === 0)).toBe(true);
    expect([batch.status[PAGES], Buffer.compare(other, truth.subarray(0x5000, 0x6000))]).toEqual([0, 0]);
    await source.close?.();
  });

  it("writes nothing of memory that was given away before it could be written", async () => {
    const file = join(directory, "written");
    writeFileSync(file, truth);
    const source = await card({ file, write: 1 }, { write: true });
    for (const length of [8, 4096]) {
      const gone = new Uint8Array(length).fill(0xcc);
      const batch = new Batch();
      batch.reset("write", 2);
      batch.push(0x1000, 0, gone, 0, length);
      batch.push(0x2000, 0, Uint8Array.of(1, 2, 3), 0, 3);
      structuredClone(gone.buffer, { transfer: [gone.buffer] });
      source.transferSync?.(batch);
      expect(failedRows(batch)).toEqual(["0 io"]);
      expect(batch.status[1]).toBe(0);
    }
    await source.close?.();
    const expected = truth.slice();
    expected.set([1, 2, 3], 0x2000);
    expect(Buffer.compare(readFileSync(file), expected)).toBe(0);
  });

  it("hands no caller's memory to a call in another thread: it may be elsewhere before that ends", async () => {
    const source = await card({ delay: 100_000 });
    const memory = new Uint8Array(PAGES * 4096).fill(0xee);
    const batch = pagesInto(memory, PAGES);
    const reading = source.transfer?.(batch);
    await new Promise((resolve) => setImmediate(resolve));
    const moved = new Uint8Array(structuredClone(memory.buffer, { transfer: [memory.buffer] }));
    await reading;
    expect(moved.every((byte) => byte === 0xee)).toBe(true);
    expect(failedRows(batch)).toHaveLength(PAGES);
    await source.close?.();
  });
});
