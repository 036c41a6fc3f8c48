import { expect, it } from "vitest";
import type { Routine } from "../../../src/io/index.js";
import { type Damage, findProcess, listElfs } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { type ByteSource, readTable, type SourceBytes } from "../../../src/linux/userland/byte-source.js";
import { readElfImage } from "../../../src/linux/userland/elf-image.js";
import { fileEnd, filePartsOf } from "../../../src/linux/userland/image-file.js";
import {
  findImages,
  type MappedRange,
  type ProcessSpace,
} from "../../../src/linux/userland/process-images.js";
import { PatchedKernel } from "../../support/patched-kernel.js";
import { PieceSource, runNow, writeUserElf } from "../../support/write-user-elf.js";

const BASE = 0x7f00_0000_0000n;

/** The same page again and again, as a process may map it. */
class SamePage implements ByteSource {
  readonly #page: Uint8Array;

  constructor(page: Uint8Array) {
    this.#page = page;
  }

  // biome-ignore lint/correctness/useYield: nothing here has to wait
  *read(at: bigint, length: number): Routine<SourceBytes> {
    const from = Number(at % 4096n);
    if (from + length <= this.#page.length)
      return { bytes: this.#page.slice(from, from + length), holes: [] };
    return { bytes: new Uint8Array(length), holes: [] };
  }
}

function spaceOf(page: Uint8Array, ranges: readonly MappedRange[]): ProcessSpace {
  const memory = {
    mmu: { splits: [9, 9, 9, 9, 12] },
    *gather(addresses: BigUint64Array) {
      const bytes = new Uint8Array(4 * addresses.length);
      for (let i = 0; i < addresses.length; i++) bytes.set(page.subarray(0, 4), 4 * i);
      return { bytes, faultOf: () => 0 };
    },
  };
  const auxv = { values: new Map() };
  const source = new SamePage(page);
  return { task: { tgid: 7 }, memory, source, auxv, end: 1n << 47n, ranges } as unknown as ProcessSpace;
}

function rangesOf(count: number, isCode: (i: number) => boolean): MappedRange[] {
  return Array.from({ length: count }, (_, i) => {
    const start = BASE + BigInt(i) * 0x10_0000n;
    return { start, end: start + 0x1000n, executable: isCode(i), file: 0n, offset: 0n, path: undefined };
  });
}

it("a process whose mappings all begin with one header of thousands of segments is read up to a point, which is told", () => {
  const page = writeUserElf({}).bytes;
  new DataView(page.buffer).setUint16(56, 4096, true);
  const damage: Damage[] = [];
  const images = runNow(
    findImages(
      spaceOf(
        page,
        rangesOf(400, () => false),
      ),
      false,
      (each) => damage.push(each),
    ),
  );
  expect(images.reduce((sum, { image }) => sum + image.segments.length, 0)).toBeLessThan(2 ** 20 + 4097);
  expect(images.length).toBeLessThan(400);
  expect(damage.map(({ reason, what }) => `${what}: ${reason}`)).toContain(
    "the ELF images of process 7: too long",
  );
});

it("an image is executable where a mapping that it reaches into is", () => {
  const page = writeUserElf({}).bytes;
  const images = runNow(
    findImages(
      spaceOf(
        page,
        rangesOf(5, (i) => i === 1 || i === 4),
      ),
      false,
      () => {},
    ),
  );
  expect(images.map(({ executable }) => executable)).toEqual([false, true, false, false, true]);
});

it("a table of any length, where a page is mapped again and again, is read up to 256 MiB", () => {
  const chunk = new Uint8Array(1 << 18);
  const source: ByteSource = {
    // biome-ignore lint/correctness/useYield: nothing here has to wait
    *read(_, length) {
      return { bytes: chunk.subarray(0, length), holes: [] };
    },
  };
  expect(runNow(readTable(source, 0n, 2 ** 50)).bytes.length).toBe(2 ** 28);
});

it("the file of what is to be linked, which has no segments, is as it lies in memory", () => {
  const { bytes } = writeUserElf({ type: 1 });
  const view = new DataView(bytes.buffer);
  view.setBigUint64(40, 0x1000n, true);
  view.setUint16(56, 0, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, 4, true);
  const image = runNow(readElfImage(new PieceSource({ at: BASE, bytes }), BASE, "of a test", () => {}));
  if (image === undefined) throw new Error("no image");
  expect(fileEnd(image)).toBe(0x1100n);
  expect(filePartsOf(image)).toEqual([{ start: 0n, end: 0x1100n, address: BASE }]);
});

it("pages are looked at for images up to a point, which is told, where page tables map terabytes", () => {
  const damage: Damage[] = [];
  const space = spaceOf(new Uint8Array(4096), []);
  const terabytes = {
    // biome-ignore lint/correctness/useYield: nothing here has to wait
    *next() {
      return { done: false, value: { start: 0n, end: 1n << 46n, state: undefined } };
    },
    *end() {},
  };
  Object.assign(space.memory, { areas: () => ({ cursor: () => terabytes }) });
  const images = runNow(findImages(space, true, (each) => damage.push(each)));
  expect(images).toEqual([]);
  expect(damage).toMatchObject([{ what: "the pages of process 7", reason: "too long", address: 1n << 37n }]);
});

it("what a process says is the end of its addresses hides no image, and shows nothing of the kernel's part", async () => {
  const patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
  try {
    const { kernel } = patched;
    const addresses = async () => (await listElfs(kernel, { pid: 97 }).toArray()).map(({ base }) => base);
    const sound = await addresses();
    expect(sound.length).toBeGreaterThan(0);
    const { mm } = await findProcess(kernel, 97);
    const at = (mm ?? 0n) + BigInt(offsetOf(await kernel.types(), "mm_struct", "task_size"));
    for (const size of [4096n, 1n << 48n]) {
      await patched.setPointer(at, size);
      expect(await addresses()).toEqual(sound);
    }
  } finally {
    await patched.close();
  }
});
