import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { MachineSource } from "../../connectors/connector.js";
import { openFile } from "../../connectors/file.js";
import { isInline } from "../../connectors/mapped-file.js";
import { open } from "../../connectors/open.js";
import { registerConnector } from "../../connectors/registry.js";
import { AddressRanges, type Output, Packet, Scheduler, type Source, SourceIo } from "../../src/io/index.js";
import { pointer, u32 } from "../../src/memory/index.js";
import { aarch64, EPT4, NPT4, SV39, X86_32, X86_64, X86_64_LA57 } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";
import { DummyKernel, IMAGE } from "../support/kernel.js";
import { type ElfNote, prstatus, qemuState, writeElf } from "../support/write-elf.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-open-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function saved(bytes: Uint8Array): string {
  const path = join(folder, `dump${files++}`);
  writeFileSync(path, bytes);
  return path;
}

function vmcoreinfo(text: string): ElfNote {
  return { name: "VMCOREINFO", type: 0, description: Uint8Array.from(text, (c) => c.charCodeAt(0)) };
}

/** Open files of this process that are in the test's folder. */
function openHere(): number {
  return readdirSync("/proc/self/fd").length;
}

describe.each([0, 0x7fff_0000, 0x8000_0000, 0xffff_e000, 2 ** 46, 2 ** 52 - 2 ** 20])("RAM at %d", (base) => {
  const machine = new DummyMachine({ base, frames: 256 });
  const low = machine.map(0x1000n);
  const high = machine.map(0xffff_ffff_ffff_f000n);
  const path = saved(writeElf([{ physical: base, bytes: machine.bytes }]));

  it("is read by physical and by virtual address", async () => {
    const dump = await open(path, { root: machine.root });
    const physical = low.physical - base;
    const expected = machine.bytes.slice(physical, physical + 4096);
    expect(await dump.physical?.read(low.physical, 4096)).toEqual(expected);
    expect(await dump.memory.read(0x1000n, 4096)).toEqual(expected);
    const end = high.physical - base + 4096;
    expect(await dump.memory.read(2n ** 64n - 16n, 16)).toEqual(machine.bytes.slice(end - 16, end));
    expect(dump.physical?.map.range(0)).toEqual({ start: base, end: base + 2 ** 20, state: "present" });
    const runs = await dump.addressSpace(machine.root).maps().toArray();
    expect(runs.map(({ start, end: stop }) => [start, stop])).toEqual([
      [0x1000n, 0x2000n],
      [2n ** 64n - 4096n, 2n ** 64n],
    ]);
    expect(runs.map((run) => "physical" in run && run.physical)).toEqual([low.physical, high.physical]);
    await dump.close();
  });
});

describe("open", () => {
  const machine = new DummyMachine();
  machine.map(0x1000n);
  const bytes = writeElf([{ physical: 0, bytes: machine.bytes }]);

  it("gives every layer of a machine one scheduler", async () => {
    const dump = await open(saved(bytes), { root: machine.root });
    const schedulers = [
      dump.source.scheduler,
      dump.image?.io.scheduler,
      dump.physical?.scheduler,
      dump.memory.scheduler,
      dump.addressSpace(machine.root).scheduler,
    ];
    for (const scheduler of schedulers) expect(scheduler).toBe(dump.scheduler);
    const other = await open(saved(bytes));
    expect(other.scheduler).not.toBe(dump.scheduler);
    await dump.close();
    await other.close();
  });

  it("with a root gives one address space, which keeps the tables that it read", async () => {
    const dump = await open(saved(bytes), { root: machine.root, kernel: "none" });
    const { memory } = dump;
    expect(dump.memory === memory).toBe(true);
    await dump.memory.read(0x1000n, 8);
    const { batches } = dump.source.counters;
    await dump.memory.read(0x1000n, 8);
    expect(dump.source.counters.batches).toBe(batches);
    await dump.close();
  });

  it.each([
    [
      "VMCOREINFO's pgtable_l5_enabled",
      { notes: [vmcoreinfo("NUMBER(pgtable_l5_enabled)=1\n")] },
      X86_64_LA57,
    ],
    ["a CPU's CR4.LA57", { notes: [prstatus(1, 0), qemuState(0, 0x1000, 0x16f0)] }, X86_64_LA57],
    ["a CPU's CR4 without PAE", { notes: [prstatus(1, 0), qemuState(0, 0x1000, 0x10)] }, X86_32],
    [
      "the most of its CPUs, and not the first, in its firmware,",
      { notes: [qemuState(0, 0x1000, 0x10), qemuState(1, 0x1000), qemuState(2, 0x2000)] },
      X86_64,
    ],
    [
      "the first of as many CPUs",
      { notes: [qemuState(0, 0x1000, 0x16f0), qemuState(1, 0x1000)] },
      X86_64_LA57,
    ],
    ["nothing else", {}, X86_64],
  ])("tables are walked in the format that %s says", async (_, options, mmu) => {
    const dump = await open(saved(writeElf([{ physical: 0, bytes: machine.bytes }], options)), {
      root: machine.root + 0xabc,
    });
    expect(dump.paging?.mmu).toBe(mmu);
    expect(dump.memory).toMatchObject({ mmu, root: machine.root });
    expect(dump.addressSpace(0x1000).mmu).toBe(mmu);
    await dump.close();
  });

  it("the format that was given comes before what the dump says", async () => {
    const options = { notes: [vmcoreinfo("NUMBER(pgtable_l5_enabled)=1\n")] };
    const path = saved(writeElf([{ physical: 0, bytes: machine.bytes }], options));
    const dump = await open(path, { root: machine.root, mmu: X86_64 });
    expect(dump.memory).toMatchObject({ mmu: X86_64 });
    expect(dump.addressSpace(0x1000, SV39).mmu).toBe(SV39);
    await dump.close();
  });

  it.each([
    ["arm", 40],
    ["s390x", 22],
    ["MIPS, which memtool knows nothing of,", 8],
    ["RISC-V of 32 bits", 243, 1],
  ])(
    "a dump of %s is not walked as i386's, though its VMCOREINFO looks alike",
    async (_, elfMachine, elfClass = 2) => {
      const notes = [vmcoreinfo("OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=c0004000\n")];
      const options = { machine: elfMachine, class: elfClass as 1 | 2, notes };
      const dump = await open(saved(writeElf([{ physical: 0, bytes: machine.bytes }], options)));
      expect(dump.paging).toBeUndefined();
      expect(() => dump.rootSpace(0x4000)).toThrow(expect.objectContaining({ code: "OTHER_PAGING" }));
      expect(dump.noKernel).toMatchObject({ code: "OTHER_ARCHITECTURE" });
      expect(await dump.findRoots()).toMatchObject({ mmu: undefined, roots: [] });
      await dump.close();
    },
  );

  it("a machine that memtool knows nothing of is called by its number; one that is not named may be any", async () => {
    const memory = [{ physical: 0, bytes: machine.bytes }];
    const mips = await open(saved(writeElf(memory, { machine: 8 })));
    expect(mips.noKernel?.message).toMatch("this is a dump of ELF machine 8, whose page tables");
    const unnamed = await open(saved(writeElf(memory, { machine: 0 })), { root: machine.root });
    expect(unnamed.memory).toMatchObject({ mmu: X86_64 });
    await mips.close();
    await unnamed.close();
  });

  it("a hypervisor's tables in a Linux host have none of the swap entries that its own have", async () => {
    const options = { notes: [vmcoreinfo("OSRELEASE=6.1.0\nPAGESIZE=4096\nNUMBER(phys_base)=0\n")] };
    const dump = await open(saved(writeElf([{ physical: 0, bytes: machine.bytes }], options)));
    expect(dump.addressSpace(machine.root).mmu.absentEntries?.name).toBe("linux");
    for (const mmu of [EPT4, NPT4]) expect(dump.addressSpace(machine.root, mmu).mmu).toBe(mmu);
    await dump.close();
  });

  it.each([
    ["UNKNOWN_PAGING", 183, /which format its page tables have, of those of aarch64: .*aarch64-4k-48/],
    ["OTHER_PAGING", 22, /doesn't know page tables of s390x/],
  ])(
    "%s: tables of which nothing tells the format are not walked as x86-64's",
    async (code, elfMachine, why) => {
      const path = saved(writeElf([{ physical: 0, bytes: machine.bytes }], { machine: elfMachine }));
      const dump = await open(path, { root: machine.root });
      expect(() => dump.memory).toThrow(why);
      expect(() => dump.addressSpace(0x1000)).toThrow(expect.objectContaining({ code }));
      expect(await dump.physical?.read(0, 8)).toEqual(machine.bytes.slice(0, 8));
      await dump.close();
    },
  );

  it("of a format with two roots, the one that is given is the lower half's, beside the processor's upper one", async () => {
    const path = saved(writeElf([{ physical: 0, bytes: machine.bytes }], { machine: 183 }));
    const dump = await open(path, { root: 0x1000, mmu: aarch64({ granule: 4096, bits: 48 }) });
    expect(dump.memory).toMatchObject({ roots: { lower: 0x1000 } });
    await dump.close();
  });

  it.each([
    ["little-endian of 64 bits", { machine: 62 }, 0x04030201, 0x0807060504030201n],
    ["little-endian of 32 bits (i386 in ELFCLASS64)", { machine: 3 }, 0x04030201, 0x04030201n],
    ["big-endian of 64 bits (s390x)", { machine: 22, order: 2 }, 0x01020304, 0x0102030405060708n],
    ["big-endian of 32 bits (arm)", { machine: 40, class: 1, order: 2 }, 0x01020304, 0x01020304n],
    ["big-endian of 32 bits, not known", { machine: 20, class: 1, order: 2 }, 0x01020304, 0x01020304n],
  ])("values of a dump that is %s are read as its machine has them", async (_, options, word, address) => {
    const dump = await open(
      saved(writeElf([{ physical: 0x1000, bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }], options)),
    );
    expect(await dump.physical?.read(u32, 0x1000)).toBe(word);
    expect(await dump.physical?.read(pointer, 0x1000)).toBe(address);
    expect(await dump.memory.read(u32, 0x1000n)).toBe(word);
    expect(await dump.memory.read(pointer, 0x1000n)).toBe(address);
    await dump.close();
  });

  it("no kernel is looked for where tables are of another architecture, and the advice fits it", async () => {
    const bytes = new Uint8Array(16 * 4096);
    bytes.set(vmcoreinfo("OSRELEASE=6.1.0\nPAGESIZE=4096\n").description, 4096);
    const dump = await open(saved(writeElf([{ physical: 0x40000000, bytes }], { machine: 22 })));
    expect(dump.noKernel).toMatchObject({
      code: "OTHER_ARCHITECTURE",
      message: expect.stringMatching(/this is a dump of s390x.*--physical/),
    });
    expect(dump.noKernel?.message).not.toMatch(/--root/);
    await expect(dump.linux()).rejects.toThrow(/dump of s390x/);
    await dump.close();
  });

  it("a scan that finds a kernel of five levels counts too", async () => {
    const bytes = new Uint8Array(16 * 4096);
    bytes.set(vmcoreinfo("OSRELEASE=6.1.0\nNUMBER(pgtable_l5_enabled)=1\n").description, 4096);
    const dump = await open(saved(writeElf([{ physical: 0, bytes }])), { root: 0x2000 });
    expect(dump.paging?.mmu).toBe(X86_64_LA57);
    await dump.close();
  });

  it("leaves no file open when it fails", async () => {
    const bad = [
      saved(new Uint8Array(0)),
      saved(writeElf([], { class: 1 })),
      saved(writeElf([])),
      saved(Uint8Array.of(0x1f, 0x8b, 8)),
    ];
    const before = openHere();
    for (const path of bad) {
      await expect(open(path)).rejects.toThrow(/dump\d+/);
      await expect(open(path, { format: "nonsense" })).rejects.toThrow(/dump\d+/);
    }
    expect(openHere()).toBe(before);
  });

  it("a format that is forced is not detected", async () => {
    const dump = await open(saved(bytes), { format: "raw", kernel: "none" });
    expect(dump.format).toBe("raw");
    expect(await dump.physical?.read(0, 4)).toEqual(Uint8Array.from([0x7f, 0x45, 0x4c, 0x46]));
    await dump.close();
  });

  it("a dump that another process truncates meanwhile costs what is gone, not the rest", async () => {
    const path = saved(bytes);
    const dump = await open(path, { kernel: "none" });
    const truncate = 'require("node:fs").truncateSync(process.argv[1], Number(process.argv[2]))';
    execFileSync(process.execPath, ["-e", truncate, path, String(5 * 4096)]);
    const { good, holes } = (await dump.physical?.readPartial(0, 10 * 4096)) ?? { good: [], holes: [] };
    const dataAt = bytes.length - machine.bytes.length;
    expect(good).toEqual([{ start: 0, end: 5 * 4096 - dataAt }]);
    expect(holes).toMatchObject([{ start: 5 * 4096 - dataAt, end: 10 * 4096, state: "gone" }]);
    await dump.close();
  });

  it("what is submitted while it closes does not reach the file, whose descriptor may be another's by then", async () => {
    const source = openFile(saved(bytes));
    let calls = 0;
    const counted: Source = {
      ...source,
      ranges: () => source.ranges(),
      transferSync: (batch) => {
        calls++;
        source.transferSync?.(batch);
      },
      close: () => source.close?.(),
    };
    const io = new SourceIo(counted, new Scheduler());
    const first = Packet.reading(8);
    const second = Packet.reading(8);
    const again: Output = { onFragment: () => io.sendIo(0, second.view().bind()) };
    io.sendIo(0, first.view().bind(again));
    await io.close();
    for (let turn = 0; turn < 20; turn++) await null;
    expect(calls).toBe(0);
    expect(second.holes()).toMatchObject([{ state: "gone" }]);
  });

  it("a machine that is closed answers, with holes, and closes again", async () => {
    const dump = await open(saved(bytes), { kernel: "none" });
    const reading = dump.physical?.readPartial(0x3000, 8).promise();
    const closing = dump.close();
    expect((await reading)?.holes).toMatchObject([{ start: 0, end: 8, state: "gone" }]);
    await closing;
    await dump.close();
    const { holes } = (await dump.physical?.readPartial(0x4000, 8)) ?? { holes: [] };
    expect(holes).toMatchObject([{ start: 0, end: 8, state: "gone" }]);
  });

  it("writes only where it was asked to", async () => {
    const path = saved(bytes);
    const closed = await open(path, { kernel: "none" });
    const refused = await closed.physical?.writePartial(0x5000, Uint8Array.of(1)).promise();
    expect(refused?.holes).toMatchObject([{ state: "read-only" }]);
    await closed.close();
    const dump = await open(path, { kernel: "none", write: true });
    await dump.physical?.write(0x5000, Uint8Array.of(1, 2, 3));
    expect(await dump.physical?.read(0x5000, 3)).toEqual(Uint8Array.of(1, 2, 3));
    await dump.close();
    const again = await open(path, { kernel: "none" });
    expect(await again.physical?.read(0x5000, 3)).toEqual(Uint8Array.of(1, 2, 3));
    await again.close();
  });
});

it("a kernel and a root in memory that changes are walked anew for each request", async () => {
  const kernel = new DummyKernel({ textAt: 0x9000 });
  registerConnector("test-live", {
    kind: "physical",
    about: "RAM that changes",
    open: () => ({
      name: "test-live",
      supports: { write: false, live: true },
      ranges: () => AddressRanges.single(0, kernel.ram.length),
      transferSync: (batch) => {
        for (let row = 0; row < batch.length; row++) {
          const at = batch.address(row);
          batch.bytes(row).set(kernel.ram.subarray(at, at + (batch.lengths[row] as number)));
          batch.done(row);
        }
      },
    }),
  });
  const machine = await open({ connector: "test-live" });
  const linux = await machine.linux();
  const spaces = [linux.memory, machine.addressSpace(kernel.root)];
  // One that may go by tables of a while ago: all its roots share them.
  const aged = await open({ connector: "test-live" }, { maxAge: 3_600_000 });
  const agedKernel = (await aged.linux()).memory;
  const agedSpaces = [agedKernel, aged.addressSpace(kernel.root)];
  for (const space of [...spaces, ...agedSpaces])
    expect(await space.translate(IMAGE)).toMatchObject({ physical: 0x200000 });
  // The page directory's entry: 2 MiB at 0 instead of at 2 MiB.
  const at = 0x2000 + 8 * Number((IMAGE >> 21n) & 511n);
  new DataView(kernel.ram.buffer).setBigUint64(at, 0x83n, true);
  for (const space of spaces) expect(await space.translate(IMAGE)).toMatchObject({ physical: 0 });
  for (const space of agedSpaces) expect(await space.translate(IMAGE)).toMatchObject({ physical: 0x200000 });
  agedKernel.flush();
  for (const space of agedSpaces) expect(await space.translate(IMAGE)).toMatchObject({ physical: 0 });
  await aged.close();
  kernel.ram[0x1234] = 77;
  expect(await machine.physical?.read(0x1234, 1)).toEqual(Uint8Array.of(77));
  kernel.ram[0x1234] = 78;
  expect(await machine.physical?.read(0x1234, 1)).toEqual(Uint8Array.of(78));
  await machine.close();
});

it("what a live machine tells is gone by: its page tables' format and roots are those of its registers", async () => {
  registerConnector("test-told", {
    kind: "physical",
    about: "RAM of a machine that tells its registers",
    open: (): MachineSource => ({
      name: "test-told",
      supports: { write: false, live: true },
      ranges: () => AddressRanges.single(0, 2 ** 20),
      transferSync: (batch) => {
        for (let row = 0; row < batch.length; row++) batch.done(row);
      },
      notes: async () => ({
        architecture: "x86_64",
        cpus: [{ registers: { cr0: 0x8005_0033n, cr3: 0x5000n, cr4: 0x1020n, efer: 0xd01n } }],
      }),
    }),
  });
  const machine = await open({ connector: "test-told" }, { kernel: "none" });
  expect(machine.paging).toEqual({ mmu: X86_64_LA57, source: "registers of CPU 0" });
  expect(machine.dumpRoots).toEqual([{ root: 0x5000, reason: "CR3 of CPU 0" }]);
  expect(machine.notes?.cpus).toHaveLength(1);
  expect(machine.image).toBeUndefined();
  await machine.close();
});

describe("a raw image with a memory map", () => {
  const bytes = Uint8Array.from({ length: 0x3000 }, (_, i) => (i >>> 8) ^ i);
  const path = saved(bytes);
  const MAP = "0x1000-0x3000@0,0x100000000-0x100001000@0x2000";

  it.each([
    ["as an option", path, { memoryMap: MAP }],
    [
      "as ranges",
      path,
      {
        memoryMap: [
          { start: 0x1000, end: 0x3000, offset: 0 },
          { start: 2 ** 32, end: 2 ** 32 + 0x1000, offset: 0x2000 },
        ],
      },
    ],
    ["of a connector", { connector: `file:${path}:map=${MAP}` }, {}],
    ["beside a connector", { connector: `file:${path}:write=false` }, { memoryMap: MAP }],
    ["of a mapped file", path, { memoryMap: MAP, map: true }],
    ["of a connector whose file is mapped", { connector: `file:${path}:map=${MAP}` }, { map: true }],
  ])("%s is read where the map says", async (_what, target, options) => {
    const machine = await open(target, { ...options, kernel: "none" });
    expect(isInline(machine.source.source)).toBe("map" in options);
    expect(await machine.physical?.read(2 ** 32, 4096)).toEqual(bytes.slice(0x2000));
    expect(await machine.physical?.read(0x1010, 16)).toEqual(bytes.slice(0x10, 0x20));
    await machine.close();
  });

  it("is refused beside one of the connector, for what is no file, and before the file is opened", async () => {
    const before = openHere();
    const refused = (target: Parameters<typeof open>[0], memoryMap?: string) =>
      expect(open(target, { memoryMap })).rejects.toMatchObject({ code: "BAD_MEMORY_MAP" });
    await refused({ connector: `file:${path}:map=${MAP}` }, MAP);
    await refused({ connector: `proc:${process.pid}` }, MAP);
    await refused({ connector: `file:${path}:map=5-4` });
    await refused(path, "5-4");
    await refused("/nowhere", "5-4");
    await refused(path, "/nowhere.map");
    await refused(saved(writeElf([{ physical: 0, bytes }])), MAP);
    expect(openHere()).toBe(before);
  });
});

describe("holes of the file system", () => {
  const path = saved(new Uint8Array(0));
  truncateSync(path, 2 ** 24);
  const isSparse = statSync(path).blocks === 0;

  it.runIf(isSparse).each([{}, { map: true }])(
    "are zeros of a raw image for those who ask (%j)",
    async (options) => {
      const machine = await open(path, { ...options, holes: true, kernel: "none" });
      const zeros = await machine.image?.mapWithZeros?.();
      expect([zeros?.bytesZero, zeros?.bytesPresent]).toEqual([2 ** 24, 2 ** 24]);
      await machine.close();
    },
  );

  it.runIf(isSparse)(
    "are passed by when the kernel is looked for, once much of the file was blank",
    async () => {
      const size = 2 ** 30;
      const at = 640 * 2 ** 20;
      const kernel = new DummyKernel();
      const sparse = saved(kernel.ram);
      const file = openSync(sparse, "r+");
      writeSync(file, kernel.note, 0, kernel.note.length, at);
      closeSync(file);
      truncateSync(sparse, size);
      const machine = await open(sparse);
      expect(machine.kernel?.origin).toMatchObject({ verified: true, vmcoreinfoAddress: at });
      expect(machine.source.counters.bytes).toBeLessThan(2 ** 26);
      // That is no reason to tell zeros apart.
      expect(machine.image?.mapWithZeros).toBeUndefined();
      await machine.close();
      // What is asked for later may be driven synchronously: it waits for nobody.
      const later = await open(sparse, { kernel: "none" });
      expect(later.linux().sync().origin).toMatchObject({ verified: true, vmcoreinfoAddress: at });
      await later.close();
    },
  );

  it("cost nothing for those who don't", async () => {
    const machine = await open(path, { kernel: "none" });
    expect(machine.image?.mapWithZeros).toBeUndefined();
    await machine.close();
  });
});
