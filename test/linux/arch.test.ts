import { describe, expect, it } from "vitest";
import { findKernel, KernelNotFoundError, mmuOfVmcoreinfo, parseVmcoreinfo } from "../../src/linux/index.js";
import { u32 } from "../../src/memory/index.js";
import { aarch64, X86_64 } from "../../src/paging/index.js";
import { ARCH_KERNELS, makeArchKernel } from "../support/arch-kernels.js";

describe.each(Object.entries(ARCH_KERNELS))("a kernel of %s", (_, options) => {
  const kernel = makeArchKernel(options);

  it("is found by the dump's note, with its root and format, and its memory is read", () => {
    const linux = findKernel(kernel.io, { map: kernel.map, note: kernel.note, scan: false }).sync();
    expect(linux.origin).toMatchObject({ vmcoreinfo: "note", root: "swapper_pg_dir", verified: true });
    expect(linux.memory.mmu.name).toBe(options.mmu);
    expect(linux.root).toBe(kernel.root);
    expect(linux.memory.read(u32, kernel.word.virtual).sync()).toBe(kernel.word.value);
    expect(linux.imageOffset).toBe(BigInt(kernel.word.physical) - kernel.word.virtual);
  });

  it("is found by a scan", () => {
    const scanned = makeArchKernel(options, options.imageAt - options.pageSize);
    const linux = findKernel(scanned.io, { map: scanned.map }).sync();
    expect(linux.origin).toMatchObject({ vmcoreinfo: "scan", verified: true });
    expect(linux.memory.read(u32, kernel.word.virtual).sync()).toBe(kernel.word.value);
  });

  it("names its own symbols, and no pointer that lies as near", () => {
    const linux = findKernel(kernel.io, { map: kernel.map, note: kernel.note }).sync();
    const names = linux
      .symbols("*")
      .map(({ name }) => name)
      .toArray()
      .sync();
    expect(names).toEqual(["_stext", "swapper_pg_dir", "init_uts_ns", "node_online_map"]);
  });

  it("is not believed if its tables are another's", () => {
    const other = makeArchKernel({ ...options, imageAt: options.imageAt + options.pageSize });
    const linux = findKernel(other.io, { map: other.map, note: kernel.note, scan: false }).sync();
    expect(linux.origin.verified).toBe(false);
  });
});

describe("what a text of VMCOREINFO says", () => {
  const mmuOf = (text: string) =>
    mmuOfVmcoreinfo(parseVmcoreinfo(Uint8Array.from(text, (c) => c.charCodeAt(0))))?.name;

  it("of its format, as real kernels wrote it", () => {
    // Debian's 6.1 for amd64, its 6.12 for arm64 with 16 KiB pages, and for RISC-V.
    expect(mmuOf("NUMBER(phys_base)=-956301312\nNUMBER(pgtable_l5_enabled)=1\n")).toBe("x86-64-la57");
    expect(
      mmuOf(
        "PAGESIZE=16384\nNUMBER(VA_BITS)=52\nNUMBER(kimage_voffset)=0xffffdcf39f800000\nNUMBER(TCR_EL1_T1SZ)=0xc\n",
      ),
    ).toBe("aarch64-16k-52-lpa");
    expect(mmuOf("NUMBER(VA_BITS)=48\nNUMBER(va_kernel_pa_offset)=0xfffffffeffe00000\n")).toBe("riscv-sv48");
    expect(mmuOf("SYMBOL(swapper_pg_dir)=c4e98000\nCONFIG_X86_PAE=y\n")).toBe("x86-pae");
    expect(mmuOf("SYMBOL(swapper_pg_dir)=c4e74000\n")).toBe("x86-32");
  });

  it.each(["arm", "s390x"])(
    "is nothing of a dump of %s, whose root may lie where i386's does",
    (architecture) => {
      const text = "PAGESIZE=4096\nSYMBOL(swapper_pg_dir)=c0004000\n";
      const info = parseVmcoreinfo(Uint8Array.from(text, (c) => c.charCodeAt(0)));
      expect(mmuOfVmcoreinfo(info, architecture)).toBeUndefined();
      // A kdump header of a 32-bit guest may name its processor.
      expect(mmuOfVmcoreinfo(info, "x86_64")?.name).toBe("x86-32");
    },
  );

  it("of a kernel with one root is not read in a format with two, nor the other way round", () => {
    for (const [name, mmu] of [
      ["arm64, 4 KiB, 48 bits", X86_64],
      ["x86-64, five levels", aarch64({ granule: 4096, bits: 48 })],
    ] as const) {
      const options = ARCH_KERNELS[name];
      if (options === undefined) throw new Error(name);
      const { io, map, note } = makeArchKernel(options);
      const find = () => findKernel(io, { map, note, mmu, scan: false }).sync();
      expect(find).toThrow(KernelNotFoundError);
      expect(find).toThrow(mmu.name);
    }
  });

  it("is nothing where it names no architecture", () => {
    expect(mmuOf("OSRELEASE=6.1.0\nPAGESIZE=4096\n")).toBeUndefined();
  });

  it.each([
    ["aarch64", "NUMBER(kimage_voffset)"],
    ["riscv64", "NUMBER(va_kernel_pa_offset)"],
    ["i386", "SYMBOL(swapper_pg_dir)"],
  ])(
    "of a dump of %s, without a place of the image, ends in an error that names what is missing",
    (architecture, missing) => {
      const { io, map } = makeArchKernel(ARCH_KERNELS["arm64, 4 KiB, 48 bits"] as never);
      const note = Uint8Array.from("OSRELEASE=6.1.0\n", (c) => c.charCodeAt(0));
      const find = () => findKernel(io, { map, note, architecture, scan: false }).sync();
      expect(find).toThrow(missing);
      expect(find).toThrow(KernelNotFoundError);
    },
  );
});
