/** Page-table roots in memory of which the map tells what is zero. */
import { describe, expect, it } from "vitest";
import { LINUX_LANDMARKS } from "../../src/linux/index.js";
import { PhysicalMap, PhysicalMapBuilder } from "../../src/memory/physical-map.js";
import { encodeUtf8 } from "../../src/memory/text.js";
import { findRoots } from "../../src/paging/index.js";
import { ARCH_KERNELS, type ArchKernel, makeArchKernel } from "../support/arch-kernels.js";
import { sparseFile } from "../support/sparse-file.js";

const landmarks = LINUX_LANDMARKS;

/** A kernel with a banner in its image. */
function kernelOf(options: (typeof ARCH_KERNELS)[string]): ArchKernel {
  const kernel = makeArchKernel(options);
  kernel.bytes.set(encodeUtf8("Linux version 6.1.0-dummy"), options.imageAt + 2 * options.pageSize + 16);
  return kernel;
}

/** Blocks of file systems: less than a page, and than a root, parts of which may be none. */
const BLOCK = 512;

/** The map with each block of zeros told apart. */
function zerosOf({ map, bytes }: ArchKernel, base: number): PhysicalMap {
  const told = new PhysicalMapBuilder();
  for (const { start, end, state, reason } of map.ranges()) {
    for (let at = start; at < end; at += BLOCK) {
      const block = bytes.subarray(at - base, Math.min(at + BLOCK, end) - base);
      told.push(
        at,
        Math.min(at + BLOCK, end),
        state,
        reason,
        block.every((byte) => byte === 0),
      );
    }
  }
  return told.build();
}

/** Those whose roots are found by their shape. */
const KERNELS = Object.entries(ARCH_KERNELS).filter(([name]) => !/encryption|PAE/.test(name));

describe("roots in memory whose zeros are told", () => {
  it.each(KERNELS)("of %s are those that are found without", (_, options) => {
    const kernel = kernelOf(options);
    const progress: [number, number][] = [];
    const found = (map: PhysicalMap) => {
      const onProgress = (done: number, total: number) => progress.push([done, total]);
      return findRoots(kernel.io, { map, landmarks, onProgress }).sync();
    };
    const map = zerosOf(kernel, options.base);
    expect(map.bytesZero).toBeGreaterThan(options.length / 2);
    const wanted = found(kernel.map);
    expect(wanted.roots.map(({ root }) => root)).toContain(kernel.root);
    expect(found(map)).toEqual(wanted);
    expect(progress.at(-1)).toEqual([map.bytesPresent, map.bytesPresent]);
  });

  it("are looked for without reading the zeros of a large file", () => {
    const size = 2 ** 34;
    const kernel = kernelOf(ARCH_KERNELS["x86-64, five levels"] as (typeof ARCH_KERNELS)[string]);
    const { length } = kernel.bytes;
    const file = sparseFile(size, [{ at: 0, bytes: kernel.bytes }]);
    const map = PhysicalMap.from([
      { start: 0, end: length, state: "present" },
      { start: length, end: size - 4096, state: "present", zero: true },
      { start: size - 4096, end: size, state: "present" },
    ]);
    const { roots } = findRoots(file, { map, landmarks }).sync();
    expect(roots.map(({ root }) => root)).toContain(kernel.root);
    expect(file.asked.bytes).toBeLessThan(2 * length + 2 ** 20);
  });
});
