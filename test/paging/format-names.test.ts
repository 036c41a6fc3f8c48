import { describe, expect, it } from "vitest";
import { MemoryIo } from "../../src/io/index.js";
import {
  aarch64,
  formatsOf,
  MACHINE_FORMATS,
  MMU_FORMATS,
  type MmuDef,
  mmuNamed,
  VirtualMemory,
  X86_PAE,
} from "../../src/paging/index.js";

describe("names of page-table formats", () => {
  it("are each of one format, and find it", () => {
    const names = MMU_FORMATS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const def of MMU_FORMATS) expect(mmuNamed(def.name)).toBe(def);
    expect(mmuNamed("x86-pae")).toBe(X86_PAE);
    expect(mmuNamed("ept4")?.canonical).toBe("zeros");
  });

  it("of AArch64 may be of any size, with what TCR_EL1 says besides", () => {
    expect(mmuNamed("aarch64-4k-40")).toBe(aarch64({ granule: 4096, bits: 40 }));
    // Down to what the walker can take: a name that is known can be used.
    for (const name of ["aarch64-4k-32", "aarch64-16k-32", "aarch64-64k-32"]) {
      const mmu = mmuNamed(name);
      expect(
        () => new VirtualMemory(new MemoryIo(new Uint8Array(8)), { root: { lower: 0 }, mmu: mmu as MmuDef }),
      ).not.toThrow();
    }
    for (const options of [
      { granule: 65_536, bits: 48, physical52: true, hierarchical: false, dirtyState: true },
      { granule: 16_384, bits: 47, dirtyState: true },
      { granule: 65_536, bits: 48, lowerBits: 52, physical52: true },
      { granule: 4096, bits: 52, lowerBits: 48 },
    ] as const) {
      const def = aarch64(options);
      expect(mmuNamed(def.name)).toBe(def);
    }
    expect(mmuNamed("aarch64-64k-52+48")).toBe(aarch64({ granule: 65_536, bits: 48, lowerBits: 52 }));
    expect(mmuNamed("aarch64-4k-48+48")).toBe(aarch64({ granule: 4096, bits: 48 }));
  });

  it("that are none find none", () => {
    for (const name of [
      "",
      "x86",
      "aarch64",
      "aarch64-8k-48",
      "aarch64-4k-60",
      "aarch64-4k-31",
      "aarch64-4k-39+48",
      "aarch64-4k-31+48",
      "__proto__",
    ]) {
      expect(mmuNamed(name), name).toBeUndefined();
    }
  });

  it("an architecture has those that its machines may run with", () => {
    expect(formatsOf("i386").map(({ name }) => name)).toEqual(["x86-64", "x86-64-la57", "x86-pae", "x86-32"]);
    expect(formatsOf("riscv64")).toHaveLength(3);
    expect(formatsOf("aarch64").every(({ halves }) => halves !== undefined)).toBe(true);
    expect(formatsOf("s390x")).toEqual([]);
    expect(formatsOf(undefined)).toBe(MACHINE_FORMATS);
  });
});
