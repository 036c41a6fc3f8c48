import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryIo } from "../../src/io/index.js";
import {
  aarch64,
  alignRoot,
  type MmuDef,
  pagingOfRegisters,
  SV39,
  SV48,
  SV57,
  VirtualMemory,
  X86_32,
  X86_64,
  X86_64_LA57,
  X86_PAE,
} from "../../src/paging/index.js";

/** Intel SDM vol. 3A, figure 4-1 and 2.5: CR0.PG, CR4.PAE, CR4.PCIDE, CR4.LA57; EFER.LMA. */
const CR0 = 0x8005_0033n;
const PAE = 1n << 5n;
const PCIDE = 1n << 17n;
const LA57 = 1n << 12n;
const LMA = 0xd01n;

describe("x86 registers", () => {
  const of = (registers: Record<string, bigint>, architecture?: string) =>
    pagingOfRegisters({ cr0: CR0, cr3: 0x1234_5018n, cr4: PAE, ...registers }, architecture);

  it.each<[string, Record<string, bigint>, string | undefined, MmuDef, number]>([
    ["no PAE: two levels", { cr4: 0x10n }, "x86_64", X86_32, 0x1234_5000],
    ["EFER.LMA: four levels", { efer: LMA }, "i386", X86_64, 0x1234_5000],
    ["EFER.LMA and LA57: five", { efer: LMA, cr4: PAE | LA57 }, undefined, X86_64_LA57, 0x1234_5000],
    ["no EFER.LMA: PAE, whatever the dump's architecture", { efer: 0x800n }, "x86_64", X86_PAE, 0x1234_5000],
    ["LA57 without EFER: five levels", { cr4: PAE | LA57 }, undefined, X86_64_LA57, 0x1234_5000],
    ["a dump of i386 without EFER: PAE", {}, "i386", X86_PAE, 0x1234_5000],
    ["a root above 4 GiB: long mode", { cr3: 0x1_2345_5000n }, "i386", X86_64, 0x1_2345_5000],
    ["a root between pages: PAE, of 32 bytes", { cr3: 0x1234_5fe0n }, "x86_64", X86_PAE, 0x1234_5fe0],
    ["a PCID is no such root", { cr3: 0x1234_5fe1n, cr4: PAE | PCIDE }, "x86_64", X86_64, 0x1234_5000],
    ["an IDT above 4 GiB: long mode", { idt_base: 0xffff_fe00_0000_0000n }, "i386", X86_64, 0x1234_5000],
    [
      "a CR3 with no-flush, LAM and an address of 52 bits",
      { cr3: 0xe00f_ffff_1234_5fffn, cr4: PAE | PCIDE },
      "x86_64",
      X86_64,
      0xf_ffff_1234_5000,
    ],
  ])("%s", (_, registers, architecture, mmu, root) => {
    expect(of(registers, architecture)).toEqual({ mmu, root, register: "CR3" });
  });

  it("say nothing while paging is off, or where some are missing", () => {
    expect(of({ cr0: 0x11n })).toBeUndefined();
    expect(pagingOfRegisters({ cr3: 0x1000n })).toBeUndefined();
    expect(pagingOfRegisters({})).toBeUndefined();
  });
});

/** Arm ARM DDI 0487, TCR_EL1: T0SZ 5:0, TG0 15:14, T1SZ 21:16, TG1 31:30, IPS 34:32, HD 40, HPD1 42, DS 59. */
function tcr(fields: {
  t0sz?: number;
  tg0?: number;
  t1sz?: number;
  tg1?: number;
  ips?: number;
  bits?: number[];
}): bigint {
  const { t0sz = 16, tg0 = 0, t1sz = 16, tg1 = 2, ips = 2, bits = [] } = fields;
  let value = BigInt(t0sz) | (BigInt(tg0) << 14n) | (BigInt(t1sz) << 16n) | (BigInt(tg1) << 30n);
  value |= BigInt(ips) << 32n;
  for (const bit of bits) value |= 1n << BigInt(bit);
  return value;
}

describe("AArch64 registers", () => {
  const of = (tcr_el1: bigint, more: Record<string, bigint> = {}) => pagingOfRegisters({ tcr_el1, ...more });

  it.each<[string, bigint, MmuDef]>([
    ["4 KiB, 48 bits", tcr({}), aarch64({ granule: 4096, bits: 48 })],
    ["4 KiB, 39 bits", tcr({ t1sz: 25 }), aarch64({ granule: 4096, bits: 39 })],
    ["16 KiB, 47 bits", tcr({ t1sz: 17, tg1: 1 }), aarch64({ granule: 16_384, bits: 47 })],
    ["64 KiB, 42 bits", tcr({ t1sz: 22, tg1: 3 }), aarch64({ granule: 65_536, bits: 42 })],
    [
      "LPA: IPS says 52",
      tcr({ t1sz: 12, tg1: 3, ips: 6 }),
      aarch64({ granule: 65_536, bits: 52, physical52: true }),
    ],
    [
      "LPA2: DS",
      tcr({ t0sz: 12, t1sz: 12, tg1: 2, ips: 6, bits: [59] }),
      aarch64({ granule: 4096, bits: 52, physical52: true }),
    ],
    [
      "a kernel of 48 bits with programs of 52 (ARM64_USER_VA_BITS_52)",
      tcr({ t0sz: 12, tg0: 1, t1sz: 16, tg1: 3, ips: 6 }),
      aarch64({ granule: 65_536, bits: 48, lowerBits: 52, physical52: true }),
    ],
    [
      "a kernel of 52 bits, and 48 below, one level less",
      tcr({ t0sz: 16, t1sz: 12, bits: [59] }),
      aarch64({ granule: 4096, bits: 52, lowerBits: 48, physical52: true }),
    ],
    ["HPD1", tcr({ bits: [42] }), aarch64({ granule: 4096, bits: 48, hierarchical: false })],
    ["HPD0 is the other half's", tcr({ bits: [41] }), aarch64({ granule: 4096, bits: 48 })],
    ["HD", tcr({ bits: [40] }), aarch64({ granule: 4096, bits: 48, dirtyState: true })],
    [
      "the upper half off: the lower one's",
      tcr({ t0sz: 25, tg0: 1, tg1: 0, bits: [23] }),
      aarch64({ granule: 65_536, bits: 39 }),
    ],
    [
      "the upper half off: the lower one's HPD0",
      tcr({ bits: [23, 41] }),
      aarch64({ granule: 4096, bits: 48, hierarchical: false }),
    ],
    // As Debian's 16 KiB kernel left it in QEMU's `max` processor.
    [
      "a real one",
      0x095001f6754cb50cn,
      aarch64({ granule: 16_384, bits: 52, physical52: true, dirtyState: true }),
    ],
  ])("%s", (_, value, mmu) => {
    expect(of(value)?.mmu.name).toBe(mmu.name);
  });

  it("TTBR0 and TTBR1 are the roots, without ASID and common bit; a half that is off has none", () => {
    const roots = { ttbr0_el1: 0x61_0000_4157_9001n, ttbr1_el1: 0x4157_b000n };
    expect(of(tcr({}), roots)).toMatchObject({ root: 0x4157_9000, upper: 0x4157_b000, register: "TTBR0" });
    expect(of(tcr({ bits: [7] }), roots)).toMatchObject({ root: undefined, upper: 0x4157_b000 });
    expect(of(tcr({ bits: [23], tg0: 0 }), roots)).toMatchObject({ root: 0x4157_9000, upper: undefined });
  });

  it("a lower half of another kind than the kernel's has no root: its tables are not walked as the kernel's", () => {
    const roots = { ttbr0_el1: 0x4157_9000n, ttbr1_el1: 0x4157_b000n };
    const only = { root: undefined, upper: 0x4157_b000 };
    expect(of(tcr({ tg0: 1 }), roots)).toMatchObject({ ...only, mmu: { name: "aarch64-4k-48" } });
    expect(of(tcr({ bits: [41] }), roots)).toMatchObject(only);
    expect(of(tcr({ t0sz: 5 }), roots)).toMatchObject(only);
    // 39 and 48 bits: roots that no table holds side by side.
    expect(of(tcr({ t0sz: 25 }), roots)).toMatchObject({ ...only, mmu: { name: "aarch64-4k-48" } });
  });

  it("roots of halves of different sizes are aligned to their own", () => {
    const value = tcr({ t0sz: 12, tg0: 1, t1sz: 16, tg1: 3, ips: 6 });
    const found = of(value, { ttbr0_el1: 0x4157_a200n, ttbr1_el1: 0x4157_b200n });
    expect(found).toMatchObject({ root: 0x4157_a000, upper: 0x4157_b200 });
  });

  it("of 52-bit addresses, the high bits come from bits 2 to 5", () => {
    const wide = tcr({ t1sz: 12, bits: [59] });
    expect(of(wide, { ttbr1_el1: 0x39_0000_41f5_c02dn })).toMatchObject({ upper: 0xb_0000_41f5_c000 });
  });

  it("say nothing with the MMU off, after reset, and with reserved values", () => {
    expect(of(tcr({}), { sctlr_el1: 0n })).toBeUndefined();
    expect(of(0n)).toBeUndefined();
    expect(of(tcr({ tg1: 0 }))).toBeUndefined();
    expect(of(tcr({ t1sz: 5 }))).toBeUndefined();
    // More than 48 bits need DS or pages of 64 KiB; under 32, nothing here walks.
    expect(of(tcr({ t1sz: 12 }))).toBeUndefined();
    expect(of(tcr({ t1sz: 12, tg1: 1, ips: 6 }))).toBeUndefined();
    expect(of(tcr({ t1sz: 12, tg1: 3 }))?.mmu.name).toBe("aarch64-64k-52");
    expect(of(tcr({ t1sz: 33 }))).toBeUndefined();
    expect(of(tcr({ t1sz: 32 }))?.mmu.name).toBe("aarch64-4k-32");
  });
});

describe("registers of any values", () => {
  it("say a format and roots that an address space can be made of, or nothing", () => {
    const io = new MemoryIo(new Uint8Array(8));
    const value = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    const registers = fc.oneof(
      fc.record({ tcr_el1: value, ttbr0_el1: value, ttbr1_el1: value }),
      fc.record({
        satp: fc
          .tuple(fc.constantFrom(0n, 8n, 9n, 10n), value)
          .map(([mode, low]) => (mode << 60n) | (low >> 4n)),
      }),
      fc.record({ cr0: value, cr3: value, cr4: value, efer: value }),
    );
    fc.assert(
      fc.property(registers, (values) => {
        const said = pagingOfRegisters(values);
        if (said === undefined) return;
        const { mmu, root, upper } = said;
        if (root === undefined && upper === undefined) return;
        if (mmu.halves !== undefined) {
          new VirtualMemory(io, {
            mmu,
            root: {
              ...(root === undefined ? {} : { lower: root }),
              ...(upper === undefined ? {} : { upper }),
            },
          });
        } else if (root !== undefined) new VirtualMemory(io, { mmu, root });
      }),
      { numRuns: 2000 },
    );
  });

  it("a TTBR whose lowest bits are reserved in its table's size has the root below it", () => {
    expect(of64k({ ttbr1_el1: 0x4157_be08n })).toMatchObject({ upper: 0x4157_be00 });
  });

  it("a satp beyond physical addresses of 52 bits has no root, and tells the format", () => {
    expect(pagingOfRegisters({ satp: (9n << 60n) | (1n << 40n) })).toEqual({
      mmu: SV48,
      root: undefined,
      register: "satp",
    });
  });
});

/** 64 KiB and 48 bits: roots of 64 entries. */
function of64k(more: Record<string, bigint>) {
  return pagingOfRegisters({ tcr_el1: tcr({ tg0: 1, tg1: 3 }), ...more });
}

describe("satp of RISC-V", () => {
  it.each([
    [8n, SV39],
    [9n, SV48],
    [10n, SV57],
  ])("mode %d", (mode, mmu) => {
    const satp = (mode << 60n) | (0x1cn << 44n) | 0x82f12n;
    expect(pagingOfRegisters({ satp })).toEqual({ mmu, root: 0x82f1_2000, register: "satp" });
  });

  it("bare: no paging", () => {
    expect(pagingOfRegisters({ satp: 0x82f12n })).toBeUndefined();
  });
});

describe("a root as a register holds it", () => {
  it("loses the bits that are no address in its format", () => {
    expect(alignRoot(0x1234_5fff, X86_64)).toBe(0x1234_5000);
    expect(alignRoot(0x1234_5fff, X86_32)).toBe(0x1234_5000);
    expect(alignRoot(0x1234_5fff, X86_PAE)).toBe(0x1234_5fe0);
    expect(alignRoot(2 ** 48 + 0x4157_9001, aarch64({ granule: 4096, bits: 48 }))).toBe(0x4157_9000);
    expect(alignRoot(2 ** 48 + 0x4157_9001, aarch64({ granule: 4096, bits: 52 }))).toBe(
      2 ** 48 + 0x4157_9000,
    );
  });
});
