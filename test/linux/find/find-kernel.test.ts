import { describe, expect, it } from "vitest";
import { layer, MemtoolError, OUTSIDE } from "../../../src/io/index.js";
import { type FindKernelOptions, findKernel, KallsymsError, SymbolError } from "../../../src/linux/index.js";
import { PhysicalMap } from "../../../src/memory/index.js";
import { X86_64, X86_64_LA57 } from "../../../src/paging/index.js";
import { DummyKernel, IMAGE } from "../../support/kernel.js";

const find = (kernel: DummyKernel, options: Partial<FindKernelOptions> = {}) =>
  findKernel(kernel.io, { map: PhysicalMap.single(0, kernel.ram.length), ...options }).sync();

/** The error of finding a kernel. */
function failure(action: () => unknown): MemtoolError {
  try {
    action();
  } catch (error) {
    if (error instanceof MemtoolError) return error;
    throw error;
  }
  throw new Error("nothing went wrong");
}

describe("finding the kernel", () => {
  it("takes the note's word, if the tables agree with it", () => {
    const kernel = new DummyKernel();
    const linux = find(kernel, { note: kernel.note });
    expect(linux.release).toBe("6.1.0-dummy");
    expect(linux.root).toBe(kernel.root);
    expect(linux.physBase).toBe(Number(kernel.physBase));
    expect(linux.kaslrOffset).toBe(0x10000000n);
    expect(linux.origin).toEqual({
      vmcoreinfo: "note",
      vmcoreinfoAddress: undefined,
      root: "swapper_pg_dir",
      verified: true,
      warnings: [],
    });
    const bytes = linux.memory.read(IMAGE + 0x100000n, 4).sync();
    expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(kernel.list.length);
  });

  it.each([
    { asNote: false, address: 0x3ff000 },
    { asNote: true, address: 0x3ff000 },
    { asNote: false, address: 0x8000 },
  ])("scans RAM for the text (as a note: $asNote, at $address)", ({ asNote, address }) => {
    const progress: number[][] = [];
    const linux = find(new DummyKernel({ textAt: address, asNote }), {
      onProgress: (done, total) => progress.push([done, total]),
    });
    expect(linux.origin).toMatchObject({
      vmcoreinfo: "scan",
      vmcoreinfoAddress: address + (asNote ? 24 : 0),
      verified: true,
    });
    for (const [done, total] of progress) expect(done).toBeLessThanOrEqual(total ?? 0);
  });

  it("passes texts by that only look like one: another kernel's, one that is cut short, one in the middle of a page", () => {
    const kernel = new DummyKernel({ textAt: 0x9000 });
    kernel.put(new DummyKernel({ physBaseError: 0x1000n }).text, 0x5000);
    kernel.put("OSRELEASE=5.10.0\nPAGESIZE=4096\n", 0x6000);
    kernel.put(kernel.text, 0x7100);
    expect(find(kernel).origin).toMatchObject({ vmcoreinfoAddress: 0x9000, verified: true });
  });

  it("finds a text wherever ranges and pieces of the scan begin", () => {
    const kernel = new DummyKernel({ textAt: 0x103000 });
    // Something that begins as a text does, but in the middle of a page.
    kernel.put("OSRELEASE=5.10.0\n", 0x1800);
    const map = PhysicalMap.from([
      { start: 0x1800, end: 0x3000, state: "present" },
      // Pieces of 1 MiB from here on would cut the text.
      { start: 0x3040, end: 0x400000, state: "present" },
    ]);
    expect(find(kernel, { map }).origin).toMatchObject({ vmcoreinfoAddress: 0x103000, verified: true });
    const cut = PhysicalMap.single(0x1800, 0x3000);
    expect(failure(() => find(kernel, { map: cut })).code).toBe("NO_KERNEL");
  });

  it("passes by any number of texts that name no root", () => {
    const kernel = new DummyKernel({ textAt: 0x3ff000 });
    for (let at = 0x80000; at < 0x180000; at += 4096) kernel.put("OSRELEASE=5.10.0\n", at);
    expect(find(kernel).origin).toMatchObject({ vmcoreinfoAddress: 0x3ff000, verified: true });
  });

  it("judges a bounded number of texts that name one", () => {
    const kernel = new DummyKernel({ textAt: 0x3ff000 });
    const decoy = new DummyKernel({ physBaseError: 0x1000n }).text;
    for (let at = 0x80000; at < 0x180000; at += 4096) kernel.put(decoy, at);
    expect(find(kernel).origin).toMatchObject({ vmcoreinfoAddress: 0x80000, verified: false });
  });

  it("passes by a text of which a part can't be read", () => {
    const kernel = new DummyKernel({ textAt: 0x9000, physBaseError: 0x1000n });
    const holed = layer<number>(kernel.io.scheduler, (at, view) => {
      // The last 512 bytes of the text's page fail; a page table is read whole.
      if (at > 0x9e00 || at + view.length <= 0x9e00) return kernel.io.sendIo(at, view);
      const bad = view.split(0x9e00 - at);
      const good = bad.length > 0x200 ? bad.split(0x200) : undefined;
      kernel.io.sendIo(at, view);
      bad.fail(OUTSIDE);
      if (good !== undefined) kernel.io.sendIo(0xa000, good);
    });
    const map = PhysicalMap.single(0, kernel.ram.length);
    expect(findKernel(kernel.io, { map }).sync().origin).toMatchObject({ vmcoreinfoAddress: 0x9000 });
    expect(failure(() => findKernel(holed, { map }).sync()).code).toBe("NO_KERNEL");
  });

  it("takes no root below physical address 0, nor one from a symbol that is not in the image", () => {
    const kernel = new DummyKernel();
    const below = kernel.text.replace(/phys_base\)=-?\d+/, "phys_base)=-4503599627370496");
    const note = Uint8Array.from(below, (character) => character.charCodeAt(0));
    expect(failure(() => find(kernel, { note, scan: false })).code).toBe("NO_ROOT");
    const other = `SYMBOL(init_top_pgt)=${(IMAGE + 0x10000n).toString(16)}\n${kernel.text}`;
    const low = other.replace(/swapper_pg_dir\)=[0-9a-f]+/, "swapper_pg_dir)=ffff800000001000");
    const lowNote = Uint8Array.from(low, (character) => character.charCodeAt(0));
    expect(find(kernel, { note: lowNote, scan: false }).origin).toMatchObject({ verified: true });
  });

  it("reads only what is present", () => {
    const kernel = new DummyKernel({ textAt: 0x9000 });
    const map = PhysicalMap.from([
      { start: 0, end: 0x9000, state: "present" },
      { start: 0x9000, end: 0xa000, state: "excluded" },
      { start: 0xa000, end: 0x400000, state: "present" },
    ]);
    const error = failure(() => find(kernel, { map }));
    expect(error.code).toBe("NO_KERNEL");
    expect(error.message).toContain("4190208 bytes");
  });

  it("prefers what a scan finds to a note that does not hold up, and the note to nothing", () => {
    const stale = new DummyKernel({ physBaseError: 0x1000n });
    const kernel = new DummyKernel({ textAt: 0x9000 });
    expect(find(kernel, { note: stale.note }).origin).toMatchObject({ vmcoreinfo: "scan", verified: true });
    const doubtful = find(new DummyKernel(), { note: stale.note });
    expect(doubtful.origin).toMatchObject({ vmcoreinfo: "note", verified: false });
    expect(doubtful.origin.warnings.join()).toContain("don't map the kernel's own symbols");
  });

  it("takes another root if it maps the kernel, and keeps swapper_pg_dir if it does not", () => {
    const kernel = new DummyKernel();
    const process = kernel.copyRoot(0x10000);
    expect(find(kernel, { note: kernel.note, root: process })).toMatchObject({
      root: process,
      origin: { root: "given", verified: true },
    });
    const user = kernel.emptyRoot(0x11000);
    const linux = find(kernel, { note: kernel.note, root: user });
    expect(linux.root).toBe(kernel.root);
    expect(linux.origin.warnings.join()).toContain("user copy");
  });

  it("a root makes up for what the text lacks", () => {
    for (const without of ["NUMBER(phys_base)", "SYMBOL(swapper_pg_dir)"]) {
      const kernel = new DummyKernel({ without: [without] });
      const error = failure(() => find(kernel, { note: kernel.note, scan: false }));
      expect(error.code).toBe("NO_ROOT");
      expect(error.message).toContain(without);
      const linux = find(kernel, { note: kernel.note, root: kernel.root });
      expect(linux.origin).toMatchObject({ root: "given", verified: true });
      expect(linux.physBase).toBe(Number(kernel.physBase));
    }
  });

  it("a root outside of RAM, or one that loops, is said to be doubtful", () => {
    const kernel = new DummyKernel({ without: ["NUMBER(phys_base)"] });
    expect(find(kernel, { note: kernel.note, root: 0xffff_ffff_f000 }).origin.verified).toBe(false);
    const view = new DataView(kernel.ram.buffer);
    for (let i = 0; i < 512; i++) view.setBigUint64(0x12000 + 8 * i, 0x12003n, true);
    expect(find(kernel, { note: kernel.note, root: 0x12000 }).origin.verified).toBe(false);
  });

  it("none says what to do", () => {
    const error = failure(() => find(new DummyKernel()));
    expect(error.code).toBe("NO_KERNEL");
    expect(error.message).toContain("none of its 4194304 bytes of RAM has one");
    expect(error.message).toContain("--physical");
  });

  it("a text of five levels is not believed by tables of four, and its format is told in the error", () => {
    const kernel = new DummyKernel({ fiveLevel: true });
    expect(find(kernel, { note: kernel.note }).origin.verified).toBe(false);
    const without = new DummyKernel({ fiveLevel: true, without: ["NUMBER(phys_base)"] });
    expect(failure(() => find(without, { note: without.note, scan: false }))).toMatchObject({
      code: "NO_ROOT",
      mmu: X86_64_LA57,
    });
    expect(find(kernel, { note: kernel.note, mmu: X86_64 }).origin.verified).toBe(true);
  });

  it("does not scan if it is not to", () => {
    const error = failure(() => find(new DummyKernel({ textAt: 0x9000 }), { scan: false }));
    expect(error.message).toContain("not scanned");
  });
});

describe("a kernel's symbols", () => {
  const kernel = new DummyKernel();
  const linux = find(kernel, { note: kernel.note });
  const symbolError = (name: string, of = linux) => {
    const error = failure(() => of.symbol(name).sync());
    expect(error).toBeInstanceOf(SymbolError);
    return error as SymbolError;
  };

  it("are found by name, in kallsyms or else in VMCOREINFO", () => {
    expect(linux.symbol("init_task").sync()).toEqual({
      name: "init_task",
      type: "D",
      address: IMAGE + 0x40000n,
    });
    expect(linux.symbol("swapper_pg_dir").sync()).toMatchObject({ type: "?", address: IMAGE + 0x10000n });
  });

  it("an unknown name suggests similar ones, an ambiguous one lists what it could be", () => {
    const unknown = symbolError("init_tsk");
    expect(unknown.code).toBe("NO_SYMBOL");
    expect(unknown.message).toBe('no kernel symbol "init_tsk"; did you mean init_task?');
    const ambiguous = symbolError("twin");
    expect(ambiguous.code).toBe("AMBIGUOUS_SYMBOL");
    expect(ambiguous.candidates.map(({ address }) => address)).toEqual([IMAGE + 0x30000n, IMAGE + 0x30010n]);
    expect(symbolError("ffff8000").message).toContain("an address is written 0xffff8000");
  });

  it("values that are no addresses in the image are no symbols", () => {
    expect(symbolError("mem_section").code).toBe("NO_SYMBOL");
  });

  it("by pattern come ascending, VMCOREINFO's own among them", () => {
    const names = linux
      .symbols("[is]*_[tpu]*")
      .map(({ name }) => name)
      .toArray()
      .sync();
    expect(names).toEqual(["init_top_pgt", "swapper_pg_dir", "init_uts_ns", "init_task"]);
    expect(linux.symbols("twin").toArray().sync()).toHaveLength(2);
  });

  it("without kallsyms are VMCOREINFO's, and the error says what is missing", () => {
    const old = new DummyKernel({ without: ["SYMBOL(kallsyms_"] });
    const without = find(old, { note: old.note });
    expect(without.symbol("init_uts_ns").sync().address).toBe(IMAGE + 0x20000n);
    expect(symbolError("init_utsns", without).message).toContain(
      "did you mean init_uts_ns? (no kallsyms: kallsyms_",
    );
    expect(without.nameOf(IMAGE + 0x20010n).sync()).toMatchObject({ name: "init_uts_ns", offset: 0x10n });
    expect(without.nameOf(IMAGE + 0x40000n).sync()).toBeUndefined();
    expect(failure(() => without.kallsyms().sync())).toBeInstanceOf(KallsymsError);
    expect(
      without
        .symbols("*")
        .toArray()
        .sync()
        .map(({ name }) => name),
    ).toEqual(["_stext", "swapper_pg_dir", "init_uts_ns"]);
  });

  it("name an address", () => {
    expect(linux.nameOf(IMAGE + 0x40123n).sync()).toMatchObject({ name: "init_task", offset: 0x123n });
  });
});
