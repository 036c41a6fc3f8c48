import { describe, expect, it } from "vitest";
import { Io, MemoryIo, type Routine } from "../../src/io/index.js";
import { PhysicalMap } from "../../src/memory/index.js";
import { X86_64, X86_64_LA57 } from "../../src/paging/index.js";
import { type KernelPart, RootJudge } from "../../src/paging/roots/judge-roots.js";
import { scanRoots } from "../../src/paging/roots/scan-roots.js";
import { ARCH_KERNELS, type ArchKernelOptions, makeArchKernel } from "../support/arch-kernels.js";
import { DummyMachine } from "../support/dummy-machine.js";

const FIVE = ARCH_KERNELS["x86-64, five levels"] as ArchKernelOptions;
/** The same with an image of large pages, which lack the last table. */
const LARGE: ArchKernelOptions = {
  ...FIVE,
  layout: { ...FIVE.layout, shifts: [48, 39, 30, 21], page: (at) => at | 0x1e1n },
  pageSize: 2 << 20,
  length: 32 << 20,
  imageAt: 2 << 20,
};

/** What a kernel's image, with a landmark at its third page, comes to. */
function partOf(options: ArchKernelOptions, mmu: typeof X86_64) {
  const { io, map, root } = makeArchKernel(options);
  const judge = new RootJudge(io, map, mmu, false);
  const mark = { name: "a landmark", physical: options.imageAt + 2 * options.pageSize + 16 };
  function* look(): Routine<KernelPart> {
    return yield* judge.kernelPart(root, undefined, [mark]);
  }
  return { part: Io.of(io.scheduler as never, look).sync(), mark };
}

describe("a landmark in a root's kernel part", () => {
  it("is where the image is mapped", () => {
    for (const options of [FIVE, LARGE]) {
      const { part, mark } = partOf(options, X86_64_LA57);
      expect(part.count).toBe(1);
      expect(part.place).toEqual({
        ...mark,
        virtual: options.image + BigInt(2 * options.pageSize + 16),
      });
    }
  });

  it("is none in a format with a level less, which takes each large page for a single small one", () => {
    expect(partOf(LARGE, X86_64).part).toMatchObject({ place: undefined, content: { sound: 6 } });
  });

  it("is none where the image's pages are not marked as accessed, as kernels' are", () => {
    const other = { ...FIVE, layout: { ...FIVE.layout, page: (at: bigint) => at | 0x141n } };
    expect(partOf(other, X86_64_LA57).part.place).toBeUndefined();
  });
});

describe("a scan for roots", () => {
  it("finds none where memory is left out, whatever lay at that place before", () => {
    const machine = new DummyMachine({ frames: 512 });
    machine.map(0x1000n);
    // The same place in the second piece of 1 MiB is outside of the range that begins there.
    const root = 0x1000;
    const bytes = new Uint8Array(machine.bytes);
    bytes.copyWithin(root, machine.root, machine.root + 4096);
    // (Entries as kernels write them: accessed.)
    for (let at = root; at < root + 4096; at += 8) {
      if (bytes[at] !== 0) (bytes[at] as number) |= 0x20;
    }
    const map = PhysicalMap.from([
      { start: 0, end: 0x10_0000, state: "present" },
      { start: 0x10_8000, end: 0x20_0000, state: "present" },
    ]);
    const io = new MemoryIo(bytes);
    function* scan() {
      return yield* scanRoots(io, map, [X86_64], []);
    }
    const { candidates } = Io.of(io.scheduler, scan).sync();
    const found = [...(candidates[0]?.addresses.subarray(0, candidates[0].length) ?? [])];
    expect(found).toContain(root);
    expect(found).not.toContain(root + 0x10_0000);
  });
});
