import { describe, expect, it } from "vitest";
import { type DumpFile, dumpFile, FormatError, openDump } from "../../src/formats/index.js";
import { type PacketIo, readInto, readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { testFile } from "../support/dump.js";
import { type DumpInput, openInput } from "../support/format-suite.js";
import {
  cpuBlocks,
  cpuGroup,
  memoryGroup,
  type VmwareRegion,
  type VmwareTagToWrite,
  writeSnapshot,
} from "../support/write-vmware.js";

const PAGE = 4096;
/** A page under the hole, two above it. */
const regions: VmwareRegion[] = [
  { ppn: 0, pageNum: 0, size: 1 },
  { ppn: 0x100, pageNum: 1, size: 2 },
];
const memory = pattern(3 * PAGE, 1);
const state = writeSnapshot([memoryGroup(regions)]);
const ranges = [
  { start: 0, end: PAGE, state: "present" },
  { start: 0x100 * PAGE, end: 0x102 * PAGE, state: "present" },
];

const refusal = (input: DumpInput): FormatError => {
  try {
    openInput(input).sync();
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
  throw new Error("it was opened");
};

/** A sparse file of zeros, as large as one likes. */
function sparse(name: string, size: number): DumpFile {
  const io: PacketIo<number> = { sendIo: (_, view) => view.transfer(new Uint8Array(view.length)) };
  return dumpFile(io, size, name);
}

describe("a .vmem with its snapshot state", () => {
  it.each([
    ["the memory", { file: memory, name: "/vms/a b/guest.vmem", beside: { "guest.vmss": state } }],
    [
      "the memory, a snapshot's",
      { file: memory, name: "C:\\vms\\guest-Snapshot1.vmem", beside: { "guest-Snapshot1.vmsn": state } },
    ],
    ["the memory, in capitals", { file: memory, name: "GUEST.VMEM", beside: { "GUEST.VMSS": state } }],
    ["the snapshot state", { file: state, name: "/vms/guest.vmss", beside: { "guest.vmem": memory } }],
  ])("is opened by the name of %s, with its hole", (_, input) => {
    const image = openInput(input).sync();
    expect(image.format).toBe("vmware");
    expect(image.description).toMatch(/VMware memory, 2 regions, in .*\.vmem/i);
    expect(image.warnings).toEqual([]);
    expect([...image.map.ranges()]).toEqual(ranges);
    expect(readInto(image.io, 0x100 * PAGE, 2 * PAGE).sync()).toEqual(memory.subarray(PAGE));
    expect(readPartial(image.io, PAGE, 8).sync().holes).toMatchObject([{ state: "outside" }]);
    expect(image.details).toMatchObject({
      id: "0xbed2bed2",
      version: 8,
      regionsCount: 2,
      alignMask: "0xffff",
      memoryOffset: 0,
      memoryBytes: 3 * PAGE,
    });
  });

  it("is one piece if the state says that there are no regions", () => {
    const file = writeSnapshot([memoryGroup([])]);
    const image = openInput({ file: memory, name: "guest.vmem", beside: { "guest.vmss": file } }).sync();
    expect([...image.map.ranges()]).toEqual([{ start: 0, end: 3 * PAGE, state: "present" }]);
    expect(image.warnings).toEqual([]);
  });

  it("warns if there are no regions and more than 3 GiB", () => {
    const file = openInput({ file: writeSnapshot([memoryGroup([])]), name: "x.vmss" }, "sync", {
      beside: () => sparse("x.vmem", 4 * 2 ** 30),
    }).sync();
    expect(file.warnings.join()).toMatch(/describes no regions, and there are more than 3 GiB/);
  });

  it("is an error, not memory in the wrong place, if the state beside it is none or is cut short", () => {
    const other = refusal({ file: memory, name: "g.vmem", beside: { "g.vmss": pattern(500, 1) } });
    expect(other.message).toMatch(/g\.vmss: id at file offset 0x0: 0x\w+ begins no snapshot state/);
    const cut = refusal({ file: memory, name: "g.vmem", beside: { "g.vmss": state.subarray(0, 100) } });
    expect(cut.code).toBe("TRUNCATED_DUMP");
    expect(cut.message).toMatch(/g\.vmss: group "memory".*cut short before they say.*force the format raw/);
    const alone = openInput({ file: memory, name: "g.vmem", format: "raw", beside: { "g.vmss": state } });
    expect([...alone.sync().map.ranges()]).toEqual([{ start: 0, end: 3 * PAGE, state: "present" }]);
  });

  it("has the regions that are described whole, where others are not", () => {
    const group = memoryGroup(regions);
    const tags = group.tags.filter(({ name, indices }) => name !== "regionPPN" || indices?.[0] !== 0);
    const file = writeSnapshot([{ ...group, tags }]);
    const image = openInput({ file: memory, name: "g.vmem", beside: { "g.vmss": file } }).sync();
    expect(image.warnings).toEqual([
      "g.vmss: regionsCount is 2, and 1 regions are described whole: memory of the others is missing",
    ]);
    expect([...image.map.ranges()]).toEqual(ranges.slice(1));
  });

  it("with a count of regions beyond all others is read as far as they go", () => {
    const group = memoryGroup(regions);
    const tags = group.tags.map((tag) =>
      tag.name === "regionsCount" ? { ...tag, value: { bytes: 4 as const, number: 0xffffffff } } : tag,
    );
    const file = writeSnapshot([{ ...group, tags }]);
    const image = openInput({ file: memory, name: "g.vmem", beside: { "g.vmss": file } }).sync();
    expect(image.warnings.join()).toMatch(/regionsCount is 4294967295, and 2 regions are described whole/);
    expect([...image.map.ranges()]).toEqual(ranges);
  });

  it("has no more regions than their count says", () => {
    const group = memoryGroup(regions);
    const tags = group.tags.map((tag) =>
      tag.name === "regionsCount" ? { ...tag, value: { bytes: 4 as const, number: 1 } } : tag,
    );
    const file = writeSnapshot([{ ...group, tags }]);
    const image = openInput({ file: memory, name: "g.vmem", beside: { "g.vmss": file } }).sync();
    expect([...image.map.ranges()]).toEqual(ranges.slice(0, 1));
    expect(image.warnings).toEqual([
      "g.vmss: regionsCount is 1, and 2 regions are described: those beyond are ignored",
    ]);
  });

  it("is left to a memory map, if one is given", () => {
    const memoryMap = [{ start: 0, end: 3 * PAGE, offset: 0 }];
    const image = openInput({ file: memory, name: "g.vmem", memoryMap, beside: { "g.vmss": state } }).sync();
    expect(image.format).toBe("raw");
    expect([...image.map.ranges()]).toEqual([{ start: 0, end: 3 * PAGE, state: "present" }]);
    // The state says itself where memory lies.
    const error = refusal({ file: state, name: "g.vmss", memoryMap, beside: { "g.vmem": memory } });
    expect([error.code, error.file]).toEqual(["BAD_MEMORY_MAP", "g.vmss"]);
  });

  it("refuses a memory map where the snapshot state itself is opened", () => {
    const memoryMap = [{ start: 0, end: 3 * PAGE, offset: 0 }];
    const error = refusal({ file: state, name: "g.vmss", memoryMap, beside: { "g.vmem": memory } });
    expect(error).toMatchObject({ code: "BAD_MEMORY_MAP" });
    expect(error.message).toMatch(/g\.vmss: a memory map is for the \.vmem/);
  });

  it.each([
    ["missing", undefined],
    ["0", 0],
  ])("has the regions that are described, where their count is %s", (claimed, number) => {
    const group = memoryGroup(regions);
    const tags = group.tags.flatMap((tag): VmwareTagToWrite[] => {
      if (tag.name !== "regionsCount") return [tag];
      return number === undefined ? [] : [{ ...tag, value: { bytes: 4, number } }];
    });
    const file = writeSnapshot([{ ...group, tags }]);
    const image = openInput({ file: memory, name: "g.vmem", beside: { "g.vmss": file } }).sync();
    expect([...image.map.ranges()]).toEqual(ranges);
    expect(image.warnings).toEqual([
      `g.vmss: regionsCount is ${claimed}, and 2 regions are described: they are read all the same`,
    ]);
  });

  it("without a region that can be is an error", () => {
    const empty = writeSnapshot([memoryGroup([{ ppn: 5, pageNum: 0, size: 0 }])]);
    expect(refusal({ file: memory, name: "g.vmem", beside: { "g.vmss": empty } }).message).toMatch(
      /regionSize: all regions are empty/,
    );
    const wild = memoryGroup([]);
    const u64 = { bytes: 8 as const, number: -1 };
    const more: VmwareTagToWrite[] = ["regionPPN", "regionPageNum", "regionSize"].map((name) => ({
      name,
      indices: [0],
      value: u64,
    }));
    const count = { name: "regionsCount", value: { bytes: 4 as const, number: 1 } };
    const file = writeSnapshot([{ ...wild, tags: [count, ...more] }]);
    expect(refusal({ file: memory, name: "g.vmem", beside: { "g.vmss": file } }).message).toMatch(
      /region 0 \(0x\w+, 0x\w+, 0x\w+ pages\) is no memory/,
    );
  });

  it("without a group of memory is an error", () => {
    const file = writeSnapshot([cpuGroup(1, 0n)]);
    expect(refusal({ file: memory, name: "g.vmem", beside: { "g.vmss": file } }).message).toMatch(
      /there is no group "memory"/,
    );
  });

  it("that was cut lacks the end of its last region, and says so", () => {
    const file = memory.subarray(0, 2 * PAGE + 10);
    const image = openInput({ file, name: "g.vmem", beside: { "g.vmss": state } }).sync();
    expect(image.warnings.join()).toMatch(
      /g\.vmem: memory ends at file offset 0x200a.*4086 bytes of physical memory/,
    );
    expect(image.map.stateOf(0x101 * PAGE + 9)).toBe("present");
    expect(image.map.reasonOf(0x101 * PAGE + 10)).toBe("truncated");
  });
});

describe("a .vmem without its snapshot state", () => {
  it("is read as it lies", () => {
    const image = openInput({ file: memory, name: "guest.vmem" }).sync();
    expect(image.format).toBe("vmware");
    expect(image.warnings).toEqual([]);
    expect(readInto(image.io, 0, 3 * PAGE).sync()).toEqual(memory);
  });

  it("warns that memory from 3 GiB on is elsewhere, if it is larger", () => {
    const small = openDump(sparse("x.vmem", 3 * 2 ** 30)).sync();
    expect(small.warnings).toEqual([]);
    const large = openDump(sparse("x.vmem", 3 * 2 ** 30 + PAGE)).sync();
    expect(large.warnings.join()).toMatch(/from 3 GiB on is shifted by a hole/);
  });
});

describe("a snapshot state alone", () => {
  const whole = (tag: Partial<VmwareTagToWrite> = {}) =>
    writeSnapshot([
      memoryGroup(regions, undefined, [{ name: "Memory", indices: [0, 0], block: memory, ...tag }]),
    ]);

  it("has the memory that is in it", () => {
    const image = openInput({ file: whole(), name: "guest.vmss" }).sync();
    expect(image.description).toBe("VMware memory, 2 regions, in the snapshot state itself");
    expect([...image.map.ranges()]).toEqual(ranges);
    expect(readInto(image.io, 0x100 * PAGE, 2 * PAGE).sync()).toEqual(memory.subarray(PAGE));
  });

  it("whose memory is cut lacks its end", () => {
    const file = whole();
    const image = openInput({ file: file.subarray(0, file.length - 2 - PAGE), name: "guest.vmss" }).sync();
    expect(image.warnings.join("\n")).toMatch(
      /guest\.vmss: memory ends at .* 4096 bytes of physical memory are missing/,
    );
    expect(image.map.bytesPresent).toBe(2 * PAGE);
    expect(image.map.reasonOf(0x101 * PAGE)).toBe("truncated");
  });

  it("whose memory is compressed is refused with what to do", () => {
    const error = refusal({ file: whole({ compressed: true }), name: "guest.vmss" });
    expect(error.code).toBe("UNSUPPORTED_FORMAT");
    expect(error.message).toMatch(/compressed.*mainMem\.useNamedFile/);
  });

  it("that holds none, and has none beside it, says what is missing", () => {
    const error = refusal({ file: state, name: "/vms/guest-1.vmsn" });
    expect(error.message).toMatch(/holds no memory, and guest-1\.vmem, which should, is not beside it/);
  });

  it("whose block would end beyond 2^53 is an error", () => {
    expect(refusal({ file: whole({ size: -1 }), name: "guest.vmss" }).message).toMatch(
      /cut short.*the block "Memory" at 0x\w+ has a size of 0xffffffffffffffff/,
    );
  });

  it("that claims more groups than it has room for is read as far as they go", () => {
    const file = writeSnapshot([memoryGroup(regions, memory)], { groupCount: 0xffffffff });
    const image = openInput({ file, name: "guest.vmss" }).sync();
    expect(image.warnings.join()).toMatch(/numgroups is 4294967295: only \d+ groups are read/);
    expect(image.map.bytesPresent).toBe(3 * PAGE);
  });
});

describe("the registers in a snapshot state", () => {
  const cpus = (group: ReturnType<typeof cpuGroup>) =>
    openInput({ file: writeSnapshot([group, memoryGroup(regions, memory)]), name: "g.vmss" }).sync();

  it("are read, for each processor", () => {
    const image = cpus(cpuGroup(2, 0xffffffff81000000n));
    expect(image.notes.architecture).toBe("x86_64");
    expect(image.details.numVCPUs).toBe(2);
    expect(image.notes.cpus.map(({ pid }) => pid)).toEqual([0, 1]);
    expect(image.notes.cpus[1]?.registers).toEqual({
      ...Object.fromEntries(
        "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip"
          .split(" ")
          .map((name, i) => [name, 0xffffffff81000000n + 100n + BigInt(i)]),
      ),
      rflags: 0x246n,
      cr0: 0x80050033n,
      cr2: 0xabcn,
      cr3: 0x2000n,
      cr4: 0x6f0n,
      idt_base: 0xffffffff12345000n,
    });
  });

  it("are read of as many processors as there are, however long the group", () => {
    const image = cpus(cpuGroup(128, 0xffffffff81000000n));
    expect(image.warnings).toEqual([]);
    expect(image.notes.cpus).toHaveLength(128);
    for (const [i, { registers }] of image.notes.cpus.entries()) {
      expect(registers.rip).toBe(0xffffffff81000010n + BigInt(100 * i));
      expect(Object.keys(registers)).toHaveLength(23);
    }
  });

  it("are read from blocks, in their own order", () => {
    const { registers } = cpus(cpuBlocks(0x100n)).notes.cpus[0] ?? { registers: {} };
    expect(registers).toMatchObject({
      rax: 0x100n,
      rbp: 0x104n,
      rsp: 0x105n,
      r15: 0x10fn,
      cr0: 0x1000n,
      cr3: 0x4000n,
      cr4: 0x5000n,
      idt_base: 0xfffffe0000000000n,
    });
    expect(registers).not.toHaveProperty("cr1");
  });

  it("of older files have their control registers in 32 bits", () => {
    const tags: VmwareTagToWrite[] = [0x80050033, 0, 0xabc, 0x39000, 0x6d9].map((number, i) => ({
      name: "CR",
      indices: [0, i],
      value: { bytes: 4, number },
    }));
    // Where both are there, the wider ones hold.
    const wide: VmwareTagToWrite = { name: "CR64", indices: [0, 3], value: { bytes: 8, number: 0x39000 } };
    const narrow: VmwareTagToWrite = { name: "CR", indices: [0, 3], value: { bytes: 4, number: 1 } };
    const image = cpus({
      name: "cpu",
      tags: [wide, ...tags.filter(({ indices }) => indices?.[1] !== 3), narrow],
    });
    expect(image.notes.cpus[0]?.registers).toEqual({
      cr0: 0x80050033n,
      cr2: 0xabcn,
      cr3: 0x39000n,
      cr4: 0x6d9n,
    });
  });

  it("of small addresses name no architecture: nothing is certain", () => {
    expect(cpus(cpuGroup(1, 0x8000n)).notes.architecture).toBeUndefined();
  });

  it("that are cut short leave memory as it is", () => {
    const group = { ...cpuGroup(1, 0n), endless: true };
    const file = writeSnapshot([memoryGroup(regions), group]);
    const image = openInput({ file, name: "g.vmss", beside: { "g.vmem": memory } }).sync();
    expect(image.warnings.join()).toMatch(/g\.vmss: the group "cpu" is cut short: the file ends at/);
    expect(image.notes.cpus).toHaveLength(1);
    expect([...image.map.ranges()]).toEqual(ranges);
  });

  it("of a group beyond the file are not read", () => {
    const group = { ...cpuGroup(1, 0n), position: -1 };
    const file = writeSnapshot([memoryGroup(regions, memory), group]);
    const image = openInput({ file, name: "g.vmss" }).sync();
    expect(image.notes.cpus).toEqual([]);
    expect(image.map.bytesPresent).toBe(3 * PAGE);
  });
});

it("thousands of groups of registers at one place are not each read again", () => {
  const tags = Array.from(
    { length: 20_000 },
    (): VmwareTagToWrite => ({ name: "", value: { bytes: 1, number: 1 } }),
  );
  const at = 12 + 80 * 4096;
  const position = (name: string, place: number) => ({ name, tags: [], position: place, endless: true });
  const group = writeSnapshot([{ name: "x", tags }]).subarray(12 + 80);
  const end = at + group.length;
  const memoryTags = writeSnapshot([memoryGroup(regions)]).subarray(12 + 80);
  const groups = Array.from({ length: 4095 }, () => position("cpu", at));
  const head = writeSnapshot([position("memory", end), ...groups]);
  const file = testFile(new Uint8Array([...head.subarray(0, at), ...group, ...memoryTags]), "sync", "g.vmss");
  const image = openDump(file, { beside: () => testFile(memory, "sync", "g.vmem") }).sync();
  expect([...image.map.ranges()]).toEqual(ranges);
  expect(image.warnings.join()).toMatch(/the group "cpu" is cut short: there are more than 1000000 tags/);
  expect(file.source.counters.batches).toBeLessThan(1000);
});
