/** Cores of processes whose mapped ranges, or swap areas, are hostile or damaged. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { open } from "../../../connectors/index.js";
import { fitting } from "../../../src/linux/core/process-core.js";
import { type Damage, findProcess, listVmas, type Vma } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { coreOf } from "../../support/core-suite.js";
import { PatchedKernel } from "../../support/patched-kernel.js";
import { writeSwapArea } from "../../support/write-swap.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
const PID = 97;

describe("the list of mapped files of a core", () => {
  const LIMIT = 4 << 20;
  const filesOf = (paths: readonly string[]) =>
    paths.map((path, i) => ({ start: BigInt(i * 4096), end: BigInt((i + 1) * 4096), offset: 0n, path }));
  function keptOf(paths: readonly string[], word: 4 | 8) {
    const damage: Damage[] = [];
    const found = fitting(filesOf(paths), word, (each) => damage.push(each));
    return { found: found.map(({ path }) => path), damage };
  }
  /** Bytes of a NT_FILE note's description. */
  const sizeOf = (paths: readonly string[], word: number) =>
    paths.reduce((sum, path) => sum + 3 * word + Buffer.byteLength(path) + 1, 2 * word);

  test("has as many as the kernel's limit of 4 MiB takes, the first ones, and what is left out is told once", () => {
    const path = fc.tuple(
      fc.constantFrom("/x", "/é", "/\u{1f600}", "/\u4e2d"),
      fc.integer({ min: 1, max: 4000 }),
    );
    fc.assert(
      fc.property(
        fc.array(path, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(4 as const, 8 as const),
        (kinds, word) => {
          const names = kinds.map(([letter, count]) => letter.repeat(count));
          const count = Math.ceil((1.1 * LIMIT) / (sizeOf(names, word) / names.length));
          const paths = Array.from({ length: count }, (_, i) => names[i % names.length] as string);
          const { found, damage } = keptOf(paths, word);
          expect(found).toEqual(paths.slice(0, found.length));
          expect(sizeOf(found, word)).toBeLessThanOrEqual(LIMIT);
          if (found.length < count)
            expect(sizeOf(paths.slice(0, found.length + 1), word)).toBeGreaterThan(LIMIT);
          expect(damage.map(({ what, reason, address }) => [what, reason, address])).toEqual(
            found.length === count
              ? []
              : [["the mapped files of the process", "too long", BigInt(4096 * found.length)]],
          );
          if (damage[0] !== undefined)
            expect(damage[0].message).toContain(`names ${found.length} of ${count} mapped`);
        },
      ),
      { numRuns: 12 },
    );
  });

  test("is whole, and nothing is told, where it is of 4 MiB to the byte; a byte more leaves one out", () => {
    const paths = new Array<string>(1023).fill("/".padEnd(4096 - 25, "x"));
    const rest = LIMIT - sizeOf(paths, 8) - 25;
    expect(keptOf([...paths, "/".padEnd(rest, "y")], 8)).toMatchObject({
      found: { length: 1024 },
      damage: [],
    });
    expect(keptOf([...paths, "/".padEnd(rest + 1, "y")], 8).found).toHaveLength(1023);
  });
});

describe("a core of a process whose ranges are hostile", () => {
  let patched: PatchedKernel;
  let vmas: Vma[];
  let sound: Awaited<ReturnType<typeof coreOf>>;
  beforeAll(async () => {
    patched = await PatchedKernel.open(FIXTURE);
    vmas = await listVmas(patched.kernel, { pid: PID, pages: false }).toArray();
    sound = await coreOf(patched.kernel, PID);
  });
  afterAll(() => patched?.close());

  /** What holds of every core: segments ascend, none overlaps another, and no more is there than in the sound one. */
  function check({ file, summary }: Awaited<ReturnType<typeof coreOf>>, most: number): void {
    let end = 0n;
    for (const { address, memoryBytes } of file.segments) {
      expect(address).toBeGreaterThanOrEqual(end);
      end = address + BigInt(memoryBytes);
    }
    expect(end).toBeLessThanOrEqual(
      sound.file.segments.reduce((last, { address, memoryBytes }) => {
        const own = address + BigInt(memoryBytes);
        return own > last ? own : last;
      }, 1n << 47n),
    );
    expect(summary.bytes).toBeLessThanOrEqual(most);
  }

  test.each([
    ["ends before it begins", "vm_end", (vma: Vma) => vma.start - 4096n],
    ["is empty", "vm_end", (vma: Vma) => vma.start],
    ["overlaps the one in front of it", "vm_start", (_: Vma, before: Vma) => before.start],
    ["overlaps all that follow", "vm_end", () => (1n << 47n) - 4096n],
    ["reaches into the kernel's part", "vm_end", () => (1n << 64n) - 4096n],
    ["begins within a page", "vm_start", (vma: Vma) => vma.start + 16n],
  ] as const)("that has one that %s ends, tells it, and has the others", async (_, member, value) => {
    const index = vmas.findIndex(({ path, rights }) => path === "/guest" && rights === "r-xp");
    const [before, vma] = [vmas[index - 1] as Vma, vmas[index] as Vma];
    const at = vma.address + BigInt(offsetOf(await patched.kernel.types(), "vm_area_struct", member));
    await patched.setPointer(at, value(vma, before));
    try {
      const found = await coreOf(patched.kernel, PID);
      expect(found.damage.length).toBeGreaterThan(0);
      check(found, 2 * sound.summary.bytes);
      expect(found.file.read(before.start, 64)).toEqual(sound.file.read(before.start, 64));
    } finally {
      patched.restore();
    }
  });

  test("whose tree leads to itself ends, and tells it", async () => {
    const { kernel } = patched;
    const { mm } = await findProcess(kernel, PID);
    const root = (mm ?? 0n) + BigInt(offsetOf(await kernel.types(), "mm_struct", "mm_mt.ma_root"));
    const bytes = await kernel.memory.read(root, 8);
    const top = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    const node = (await kernel.memory.read(top & ~0xffn, 256)).slice();
    const view = new DataView(node.buffer);
    // Every child is the node itself.
    for (let i = 8; i < 256; i += 8) {
      if (view.getBigUint64(i, true) >> 47n === (1n << 17n) - 1n) view.setBigUint64(i, top, true);
    }
    await patched.set(top & ~0xffn, node);
    try {
      const found = await coreOf(kernel, PID).catch((error: Error) => error);
      if (found instanceof Error) throw found;
      expect(found.damage.join("\n")).toMatch(/the tree of mapped ranges/);
      check(found, sound.summary.bytes);
    } finally {
      patched.restore();
    }
  });
});

describe("a core with the file of a swap area that is", () => {
  const SWAPPED = 0x4900_0000_8000n;
  const PAGE_OF_IT = 0x67;
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "memtool-core-swap-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function coreWith(area: Uint8Array) {
    const path = join(folder, "area");
    writeFileSync(path, area);
    const machine = await open(FIXTURE, { swap: [path] });
    try {
      const kernel = await machine.linux();
      await machine.swapTypes();
      const ranges = [{ start: SWAPPED, end: SWAPPED + 4096n }];
      const { file, summary } = await coreOf(kernel, PID, { ranges });
      return {
        page: file.read(SWAPPED, 4096),
        holes: [...summary.holes].map(([why, { bytes }]) => [why, bytes]),
      };
    } finally {
      await machine.close();
    }
  }
  const whole = writeSwapArea({ pageSize: 4096, pages: 256 });

  test("whole has the page", async () => {
    expect(await coreWith(whole)).toEqual({ page: Buffer.alloc(4096, PAGE_OF_IT), holes: [] });
  });

  test.each([
    ["cut off before the page", whole.subarray(0, PAGE_OF_IT * 4096), "excluded (truncated)"],
    ["cut off within the page", whole.subarray(0, PAGE_OF_IT * 4096 + 100), "excluded (truncated)"],
    ["another, which has no such page", writeSwapArea({ pageSize: 4096, pages: 16 }), "outside"],
    [
      "one that says that the page is bad",
      writeSwapArea({ pageSize: 4096, pages: 256, badPages: [PAGE_OF_IT] }),
      "outside",
    ],
  ])("%s has a hole there, no zeros, and says why", async (_, area, why) => {
    const { page, holes } = await coreWith(area);
    expect(page).toBeUndefined();
    expect(holes.map(([reason]) => reason)).toEqual([why]);
  });
});
