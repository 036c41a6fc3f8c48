/** Pages that are not present for the processor, in a real guest: what the guest's pagemap says of them is the judge. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../connectors/machine.js";
import { open } from "../../connectors/open.js";
import { patternPage, type Truth } from "../../fixtures/vm/truth.mjs";
import { faultState } from "../../src/io/index.js";
import { readZeroPages, zeroPageAt } from "../../src/linux/index.js";
import { writeSwapArea } from "../support/write-swap.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")) as Truth;
const root = Number(truth.stops.kernel.root);

/** Every page of the program's regions, with what pagemap said. */
const pages = truth.regions.flatMap(({ name, runs }) =>
  runs.flatMap((run) => {
    const start = BigInt(run.start);
    return Array.from({ length: Number(BigInt(run.end) - start) / 4096 }, (_, i) => ({
      name,
      run,
      virtual: start + BigInt(i * 4096),
      physical: run.physical === null ? undefined : Number(run.physical) + i * 4096,
    }));
  }),
);

const folder = mkdtempSync(join(tmpdir(), "memtool-absent-"));
afterAll(() => rmSync(folder, { recursive: true }));

function saved(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

describe("a process of the committed dump", () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await open(DUMP, { root });
  });
  afterAll(() => machine.close());

  it("has every page where pagemap has it, those behind PROT_NONE among them", async () => {
    const memory = machine.addressSpace(root);
    const wrong: string[] = [];
    for (const { virtual, physical, run } of pages) {
      const found = await memory.translate(virtual);
      const at = found.state === undefined ? found.physical : undefined;
      if (at !== physical) wrong.push(`${virtual.toString(16)} (${run.state}): ${at} for ${physical}`);
    }
    expect(wrong).toEqual([]);
    expect(pages.length).toBe(4340);
  });

  it("has its data behind PROT_NONE, and no right to them", async () => {
    const hidden = pages.filter(({ run }) => run.state === "prot-none");
    expect(hidden).toHaveLength(16);
    const memory = machine.addressSpace(root);
    for (const { virtual, physical, run } of hidden) {
      const { steps, result } = await memory.walk(virtual);
      expect(result).toMatchObject({
        physical,
        pageSize: 4096,
        readable: false,
        writable: false,
        user: false,
        executable: false,
      });
      expect(steps.at(-1)?.present).toBe(false);
      expect(steps.at(-1)?.absent).toEqual({
        kind: "prot-none",
        physical,
        note: "PROT_NONE, the entry holds the complement of its address",
      });
      expect(Buffer.from(await memory.read(virtual, 4096)).equals(patternPage(virtual, run.generation))).toBe(
        true,
      );
    }
  });

  it("has nothing behind PROT_NONE where nothing was written", async () => {
    const never = pages.filter(({ run }) => run.state === "prot-none-never-touched");
    expect(never.length).toBeGreaterThan(0);
    for (const { virtual } of never) {
      expect((await machine.memory.readPartial(virtual, 1)).holes).toHaveLength(1);
    }
  });

  it("has its swapped pages at the number and page that pagemap says", async () => {
    const swapped = pages.filter(({ run }) => run.state === "paged-out");
    expect(swapped).toHaveLength(16);
    const memory = machine.addressSpace(root);
    for (const { virtual, run } of swapped) {
      const { steps, result } = await memory.walk(virtual);
      // pagemap: bits 0 to 4 are the type, the offset above.
      const entry = BigInt(run.swapEntry as string);
      expect(result).toMatchObject({ state: "swapped", level: 1 });
      expect(steps.at(-1)?.absent).toMatchObject({
        kind: "swap",
        type: Number(entry & 31n),
        offset: Number(entry >> 5n),
      });
      const [hole] = (await memory.readPartial(virtual, 8)).holes;
      expect(faultState(hole?.fault ?? 0)).toBe("swapped");
    }
  });

  it("lists exactly those as runs that are mapped and hidden, or swapped", async () => {
    const runs = await machine.addressSpace(root).maps().toArray();
    const hidden = runs.filter((run) => run.state === undefined && !run.readable);
    expect(hidden.map(({ start, end }) => Number(end - start))).toEqual([16 * 4096]);
    const swapped = runs.filter((run) => run.state === "swapped");
    expect(swapped.map(({ start }) => start)).toEqual(
      pages.filter(({ run }) => run.state === "paged-out").map(({ virtual }) => virtual),
    );
    expect(runs.filter((run) => run.state !== undefined)).toHaveLength(16);
  });

  it("has the kernel's page of zeros where it only read", async () => {
    const zero = await readZeroPages(await machine.linux());
    const read = pages.filter(({ run }) => run.zeroPage === true);
    expect(read.length).toBeGreaterThan(0);
    for (const { physical } of read) expect(zeroPageAt(zero, physical as number)).toBe("page");
    const others = pages.filter(({ run, physical }) => run.zeroPage !== true && physical !== undefined);
    expect(others.filter(({ physical }) => zeroPageAt(zero, physical as number) !== undefined)).toEqual([]);
    expect(await machine.zeroPages()).toEqual(zero);
  });

  it("has numbers of swap areas that are the kernel's own, 27 of them", async () => {
    expect(await machine.swapTypes()).toMatchObject({ maxSwapFiles: 27, from: "swap_info" });
  });
});

describe("a page of zeros", () => {
  it("is told apart from the large one, and from what lies beside them", () => {
    const zero = { pageSize: 4096, page: 0x5000, huge: 0x40_0000 };
    expect([0x4fff, 0x5000, 0x5fff, 0x6000].map((at) => zeroPageAt(zero, at))).toEqual([
      undefined,
      "page",
      "page",
      undefined,
    ]);
    expect([0x3f_ffff, 0x40_0000, 0x5f_ffff, 0x60_0000].map((at) => zeroPageAt(zero, at))).toEqual([
      undefined,
      "huge",
      "huge",
      undefined,
    ]);
    expect(zeroPageAt({ pageSize: 4096, page: undefined, huge: undefined }, 0)).toBeUndefined();
  });
});

describe("swap areas that are given", () => {
  const area = () => saved("area", writeSwapArea({ pageSize: 4096, pages: 200 }));
  const swapped = pages.filter(({ run }) => run.state === "paged-out");
  const offsetOf = ({ run }: (typeof pages)[number]) => Number(BigInt(run.swapEntry as string) >> 5n);

  it("have the bytes of swapped pages: at the offset, in the page, and across pages", async () => {
    for (const given of [area(), { type: 0, path: area() }]) {
      const machine = await open(DUMP, { root, swap: [given] });
      try {
        for (const page of swapped) {
          const bytes = await machine.memory.read(page.virtual, 4096);
          expect(bytes.every((byte) => byte === offsetOf(page) % 251)).toBe(true);
        }
        const [first, second] = swapped as [(typeof pages)[number], (typeof pages)[number]];
        const across = await machine.memory.read(first.virtual + 4090n, 12);
        expect([...across]).toEqual([...Array(6).fill(offsetOf(first)), ...Array(6).fill(offsetOf(second))]);
        // A column of records takes the same way as single reads.
        const addresses = BigUint64Array.from(swapped, ({ virtual }) => virtual + 8n);
        const values = new Uint8Array(swapped.length * 4);
        await machine.memory.gather(addresses, 4, values);
        expect([...values]).toEqual(swapped.flatMap((page) => Array(4).fill(offsetOf(page))));
        expect(machine.swapAreas.map(({ type }) => type)).toEqual([0]);
      } finally {
        await machine.close();
      }
    }
  });

  it("of another number have none of them, and those that are read-only take no writes", async () => {
    const machine = await open(DUMP, { root, swap: [{ type: 1, path: area() }] });
    const { holes } = await machine.memory.readPartial((swapped[0] as (typeof pages)[number]).virtual, 8);
    expect(holes.map(({ fault }) => faultState(fault))).toEqual(["swapped"]);
    await machine.close();
    const other = await open(DUMP, { root, swap: [area()] });
    const written = await other.memory.writePartial(
      (swapped[0] as (typeof pages)[number]).virtual,
      Uint8Array.of(1),
    );
    expect(written.holes.map(({ fault }) => faultState(fault))).toEqual(["read-only"]);
    await other.close();
  });

  it("get the lowest free numbers in their order", async () => {
    const machine = await open(DUMP, {
      swap: [area(), { type: 1, path: area() }, area(), { type: 0, path: area() }],
    });
    expect(machine.swapAreas.map(({ type }) => type)).toEqual([0, 1, 2, 3]);
    await machine.close();
  });

  it("are closed with the machine", async () => {
    const before = readdirSync("/proc/self/fd").length;
    const machine = await open(DUMP, { kernel: "none", swap: [area(), area()] });
    expect(readdirSync("/proc/self/fd").length).toBe(before + 3);
    await machine.close();
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  it("are refused with the reason, and nothing stays open", async () => {
    const before = readdirSync("/proc/self/fd").length;
    const large = saved("large", writeSwapArea({ pageSize: 16_384, pages: 4 }));
    const none = saved("none", new Uint8Array(5000));
    const refuse = async (swap: Parameters<typeof open>[1], text: string) => {
      await expect(open(DUMP, swap)).rejects.toThrow(text);
    };
    await refuse({ root, swap: [large] }, "pages of 16384 bytes; this one's have 4096");
    await refuse({ swap: [area(), none] }, "no swap area");
    await refuse({ swap: [area()], format: "lime" }, "is not LiME's");
    await refuse({ swap: [join(folder, "missing")] }, "there is no such file");
    await refuse({ swap: [{ type: 32, path: area() }] }, "from 0 to 31, not 32");
    await refuse(
      {
        swap: [
          { type: 3, path: area() },
          { type: 3, path: area() },
        ],
      },
      "two swap areas with the number 3",
    );
    await refuse({ swap: Array.from({ length: 33 }, area) }, "more than 32 swap areas");
    await expect(open({ connector: `proc:${process.pid}` }, { swap: [area()] })).rejects.toThrow(
      "swap areas are of no use",
    );
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });
});
