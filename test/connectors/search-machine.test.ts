import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import type { Machine } from "../../connectors/machine.js";
import { open } from "../../connectors/open.js";
import { bound, nodeSearchHost } from "../../connectors/search-host.js";
import { search, searchMachine } from "../../connectors/search-machine.js";
import { startWorker } from "../../connectors/start-worker.js";
import type { ScanHole, SearchHit, SearchPattern, SearchTask } from "../../src/search/index.js";
import { TaskView } from "../../src/search/search-task.js";
import type { Wasm } from "../../src/wasm/platform.js";
import { writeElf } from "../support/write-elf.js";

const MIB = 2 ** 20;
const PATTERNS: readonly SearchPattern[] = [
  { text: "needle" },
  { regex: /[a-z]{3,}/ },
  { hex: "00 00 00 00 00 01" },
  { number: 0x6c6465656en, size: 8, align: 1 },
];

let folder: string;
let machine: Machine;

/** 12 MiB in two ranges: few needles, some over where pieces end, and text that runs over such places. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "memtool-search-"));
  const bytes = Buffer.alloc(12 * MIB, 1);
  for (let i = 0; i < 300; i++) bytes.write("needle", (i * 7919 * 5) % (12 * MIB - 8), "latin1");
  for (let at = MIB; at < 12 * MIB; at += MIB) bytes.write("needleneedle", at - 7, "latin1");
  bytes.fill("abcdefghij", 2 * MIB - 5000, 2 * MIB + 5000, "latin1");
  bytes.fill(0, 5 * MIB, 5 * MIB + 20_000);
  const path = join(folder, "two.elf");
  writeFileSync(
    path,
    writeElf([
      { physical: 0, bytes: bytes.subarray(0, 7 * MIB + 100) },
      { physical: 0x10000000, bytes: bytes.subarray(7 * MIB + 100) },
    ]),
  );
  machine = await open(path, { kernel: "none" });
});

afterAll(async () => {
  await machine.close();
  rmSync(folder, { recursive: true, force: true });
});

const listed = async (hits: AsyncIterable<SearchHit>): Promise<SearchHit[]> => {
  const list: SearchHit[] = [];
  for await (const hit of hits) list.push(hit);
  return list;
};

describe("searchMachine", () => {
  test("finds what one thread finds, in the same order, with the same holes", async () => {
    const physical = machine.physical as NonNullable<Machine["physical"]>;
    const alone: ScanHole[] = [];
    const together: ScanHole[] = [];
    const at: bigint[] = [];
    const ranges = { start: 0, end: 0x20000000 };
    const expected = await listed(search(physical, PATTERNS, { ranges, onHole: (hole) => alone.push(hole) }));
    const found = await listed(
      searchMachine(machine, PATTERNS, {
        ranges,
        threads: 3,
        piece: MIB / 4,
        onHole: (hole) => together.push(hole),
        onProgress: (address) => at.push(address),
      }),
    );
    expect(expected.length).toBeGreaterThan(600);
    expect(found).toEqual(expected);
    expect(together).toEqual(alone);
    expect(at).toEqual(at.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
  });

  test("tells the address as a number too", async () => {
    const [hit] = await listed(searchMachine(machine, [{ text: "needle" }], { threads: 1 }));
    expect(hit).toEqual({ address: 0n, physical: 0, length: 6, pattern: 0 });
  });

  test("has a thread look through what was read while this one is at other things", async () => {
    let task: SearchTask | undefined;
    const start = (given: SearchTask) => {
      task = given;
      startWorker("search-worker", { workerData: given }).unref();
    };
    const host = { ...nodeSearchHost, helpers: { count: 1, start } };
    const physical = machine.physical as NonNullable<Machine["physical"]>;
    for (const _ of search(physical, [{ text: "needle" }], { host }).sync()) {
      // This thread has looked through the first piece alone.
      const view = new TaskView(task as SearchTask, hostWasm as Wasm, nodeSearchHost);
      expect(view.isDone(2, 20_000)).toBe(true);
      break;
    }
  });

  test("ends its threads when the loop ends early", async () => {
    const others = process.getActiveResourcesInfo().length;
    for await (const hit of searchMachine(machine, PATTERNS, { threads: 2 })) {
      expect(hit.pattern).toBeLessThan(PATTERNS.length);
      break;
    }
    expect(process.getActiveResourcesInfo().length).toBeLessThanOrEqual(others);
  });

  test("refuses patterns that can't be before anything starts", () => {
    expect(() => searchMachine(machine, [{ hex: "0" }])).toThrow(/hex digits/);
    expect(() => searchMachine(machine, [{ hex: "00" }], { threads: 0 })).toThrow(RangeError);
  });
});

describe("a regular expression that tries endless ways", () => {
  const endless: readonly SearchPattern[] = [{ regex: /(?:a+)+b/ }];
  const host = { ...nodeSearchHost, bound: (work: () => void) => bound(work, 200) };

  test("ends the search with an error that says what to do", async () => {
    const path = join(folder, "a.raw");
    writeFileSync(path, Buffer.alloc(8192, "a"));
    const slow = await open(path, { kernel: "none" });
    const physical = slow.physical as NonNullable<Machine["physical"]>;
    const error = await listed(search(physical, endless, { host })).catch((each: unknown) => each);
    expect(error).toMatchObject({
      code: "REGEX_TIME",
      address: 0n,
      message: expect.stringMatching(/from 0x0 on.* Do not repeat/),
      cause: { message: expect.stringMatching(/more than 0.2 s/) },
    });
    await slow.close();
  });

  test("tells first what was found before, and where it ended, also if another thread came to it", async () => {
    const path = join(folder, "late.raw");
    const bytes = Buffer.alloc(3 * MIB, "x");
    bytes.write("needle", 5000, "latin1");
    bytes.fill("a", MIB + 4096 + 512, MIB + 8192);
    writeFileSync(path, bytes);
    const slow = await open(path, { kernel: "none" });
    const physical = slow.physical as NonNullable<Machine["physical"]>;
    let times = 0;
    const counted = {
      ...host,
      bound: (work: () => void) => {
        times++;
        // (The first piece is the one with the needle: a busy machine may take its time with it.)
        bound(work, times === 1 ? 10_000 : 200);
      },
    };
    const nobody = { ...counted, helpers: { count: 1, start: () => {} } };
    for (const each of [counted, nobody]) {
      times = 0;
      const found: SearchHit[] = [];
      const run = async () => {
        for await (const hit of search(physical, [{ regex: /needle|(?:a+)+b/ }], { host: each }))
          found.push(hit);
      };
      await expect(run()).rejects.toMatchObject({ code: "REGEX_TIME", address: BigInt(MIB + 4096) });
      expect(found.map(({ address }) => address)).toEqual([5000n]);
      // (Nobody waits for it twice.)
      expect(times).toBeLessThanOrEqual(3);
    }
    await slow.close();
  });
});
