import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../connectors/machine.js";
import { open } from "../../connectors/open.js";
import { MemoryIo, Scheduler, withMapping } from "../../src/io/index.js";
import { LINUX_LANDMARKS } from "../../src/linux/index.js";
import { PhysicalMap } from "../../src/memory/index.js";
import {
  aarch64,
  type FindRootsOptions,
  type FoundRoots,
  findRoots,
  formatsOf,
  MACHINE_FORMATS,
  X86_32,
  X86_64,
  X86_64_LA57,
} from "../../src/paging/index.js";
import { ARCH_KERNELS, makeArchKernel } from "../support/arch-kernels.js";
import { DummyMachine, randomBits } from "../support/dummy-machine.js";

describe.each([39, 48, 57])(
  "the roots of the small dump of Sv%d, looked for by nothing but their shape",
  (bits) => {
    it("are of the right format: the one whose roots map most", async () => {
      const name = `fixtures/linux-6.12-riscv64-sv${bits}`;
      const { stops } = JSON.parse(readFileSync(`${name}.truth.json`, "utf8"));
      const machine = await open(`${name}.kdump`, { kernel: "none" });
      const { physical } = machine;
      if (physical === undefined) throw new Error("a dump has physical memory");
      const found = await findRoots(physical, { map: physical.map, formats: formatsOf("riscv64") });
      await machine.close();
      expect(found).toMatchObject({ certain: false, mmu: { name: `riscv-sv${bits}` } });
      const processes = found.roots.filter(({ kind }) => kind === "process");
      expect(processes.map(({ root }) => root)).toEqual([Number(stops.kernel.root)]);
    });
  },
);

describe("the roots of the committed dump, looked for without any note", () => {
  const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
  let machine: Machine;
  let found: FoundRoots;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump", { kernel: "none" });
    const { physical } = machine;
    if (physical === undefined) throw new Error("a dump has physical memory");
    found = await findRoots(physical, { map: physical.map, landmarks: LINUX_LANDMARKS });
  });
  afterAll(() => machine.close());

  it("are of the right format, of all that there are", () => {
    expect(found.mmu).toBe(X86_64);
    expect(found.certain).toBe(true);
    expect(found.dropped).toBe(0);
  });

  it("are one for each process that has memory", () => {
    const processes = truth.processes.filter(
      (process: { kernelThread: boolean; state: string }) => !process.kernelThread && process.state !== "Z",
    );
    expect(processes.length).toBe(18);
    const roots = found.roots.filter(({ kind }) => kind === "process");
    expect(roots).toHaveLength(processes.length);
    for (const { score } of roots) expect(score).toBe(100);
  });

  it("have the program's among them, with its copy, and as many user pages as QEMU listed", () => {
    const own = found.roots.find(({ root }) => root === Number(truth.stops.kernel.root));
    const copy = found.roots.find(({ root }) => root === Number(truth.stops.user.root));
    let pages = 0;
    for (const { start, end, flags } of truth.stops.user.mappings) {
      if (flags.includes("U")) pages += Number(BigInt(end) - BigInt(start)) / 4096;
    }
    expect(own).toMatchObject({ kind: "process", userPages: pages, counted: true });
    expect(own?.reasons).toContain("maps the kernel's banner");
    expect(copy).toMatchObject({ kind: "user copy", userPages: pages });
    expect(copy?.reasons).toContain(`user copy of ${truth.stops.kernel.root}`);
  });

  it("have the kernel's own, and nothing that makes no sense", () => {
    expect(found.roots.find(({ root }) => root === 0x2a10000)).toMatchObject({
      kind: "kernel",
      userPages: 0,
    });
    // (At 0x5742000 is a table of the direct map's pages among which it lies: no root that refers to itself.)
    expect(found.roots.filter(({ kind }) => kind === "unknown")).toEqual([]);
    expect(found.roots.map(({ reasons }) => reasons.join()).join()).not.toContain("no sense");
  });

  it("with the kernel and registers known, say so", async () => {
    await machine.linux();
    const { roots } = await machine.findRoots();
    expect(roots.find(({ root }) => root === 0x2a10000)?.reasons[0]).toBe("swapper_pg_dir");
    const own = roots.find(({ root }) => root === Number(truth.stops.kernel.root));
    expect(own?.reasons[0]).toBe("CR3 of CPU 0");
    expect(own?.reasons).toContain("kernel part equal to that of swapper_pg_dir");
  });
});

/** Page-table entries as kernels write them: present, writable, accessed, dirty; user. */
const KERNEL = 0x63n;
const USER = 0x67n;
const BANNER = Uint8Array.from("Linux version 6.1.0-dummy", (character) => character.charCodeAt(0));

/** A machine of two processes and a kernel that maps its banner at two addresses, in all of them. */
function twoProcesses() {
  const machine = new DummyMachine({ frames: 512 });
  const IMAGE = 0xffff_ffff_8100_0000n;
  // (The image is more than a page.)
  const first = machine.frame();
  let image = first;
  const frames = [first];
  while (!frames.includes(image + 4096) || image % 8192 !== 0) {
    image = machine.frame();
    frames.push(image);
  }
  machine.bytes.set(BANNER, image + 64);
  const link = (table: number, index: number, entry: bigint) => machine.writeEntry(table + 8 * index, entry);
  const chain = (root: number, virtual: bigint, flags: bigint) => {
    let table = root;
    for (let shift = 39n; shift > 12n; shift -= 9n) {
      const at = table + Number((virtual >> shift) & 511n) * 8;
      if (machine.readEntry(at) === 0n) machine.writeEntry(at, BigInt(machine.frame()) | flags);
      table = Number(machine.readEntry(at) & 0x000f_ffff_ffff_f000n);
    }
    return table + Number((virtual >> 12n) & 511n) * 8;
  };
  const kernel = machine.root;
  for (const start of [IMAGE, 0xffff_8880_0000_0000n]) {
    for (const page of [0n, 4096n]) {
      machine.writeEntry(chain(kernel, start + page, KERNEL), (BigInt(image) + page) | 0x161n);
    }
  }
  const roots = [machine.frame(), machine.frame()];
  for (const [i, root] of roots.entries()) {
    for (let index = 256; index < 512; index++) link(root, index, machine.readEntry(kernel + 8 * index));
    for (let page = 0; page <= i; page++) {
      machine.writeEntry(chain(root, BigInt(0x400000 + 4096 * page), USER), BigInt(machine.frame()) | USER);
    }
  }
  return { machine, kernel, roots, image };
}

const search = ({ bytes }: { bytes: Uint8Array }, options: Partial<FindRootsOptions> = {}) =>
  findRoots(new MemoryIo(bytes), {
    map: PhysicalMap.single(0, bytes.length),
    landmarks: LINUX_LANDMARKS,
    ...options,
  }).sync();

describe("roots", () => {
  it("are those that map the kernel's banner, of processes with their user pages", () => {
    const { machine, kernel, roots } = twoProcesses();
    const found = search(machine);
    expect(found.mmu).toBe(X86_64);
    const kinds = new Map(found.roots.map(({ root, kind, userPages }) => [root, [kind, userPages]]));
    expect(kinds).toEqual(
      new Map([
        [roots[0], ["process", 1]],
        [roots[1], ["process", 2]],
        [kernel, ["kernel", 0]],
      ]),
    );
  });

  it("without a text that tells the kernel, are those that share a part", () => {
    const { machine, roots, image } = twoProcesses();
    machine.bytes.fill(0, image, image + 4096);
    const found = search(machine, { formats: [X86_64, X86_64_LA57] });
    expect(found).toMatchObject({ mmu: X86_64, certain: false });
    for (const root of roots) {
      const one = found.roots.find((other) => other.root === root);
      expect(one?.kind).toBe("process");
      expect(one?.reasons).toContain("kernel part equal to that of 2 others");
    }
  });

  it("are those that refer to themselves, not tables of pages among which they lie", () => {
    const { machine } = twoProcesses();
    const NO_EXECUTE = 1n << 63n;
    // As Windows has it: one entry of the kernel's part leads back.
    const self = machine.frame();
    machine.writeEntry(self + 8 * 0x1ed, BigInt(self) | KERNEL | NO_EXECUTE);
    // As Linux's direct map has it: behind the other frames, a page of 512 maps all of them.
    const first = machine.bytes.length;
    const bytes = new Uint8Array(first + 512 * 4096);
    bytes.set(machine.bytes);
    const row = first + 322 * 4096;
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < 512; i++) {
      view.setBigUint64(row + 8 * i, BigInt(first + 4096 * i) | KERNEL | NO_EXECUTE, true);
    }
    const { roots } = search({ bytes });
    expect(roots.find(({ root }) => root === self)).toMatchObject({
      kind: "unknown",
      reasons: ["refers to itself"],
    });
    expect(roots.map(({ root }) => root)).not.toContain(row);
    expect(roots).toHaveLength(4);
  });

  it("that something else tells of are listed whatever they look like", () => {
    const { machine } = twoProcesses();
    const nowhere = 0x7f_f000;
    const known = [{ root: nowhere, reason: "CR3 of CPU 7" }];
    const found = search(machine, { known });
    expect(found.roots.find(({ root }) => root === nowhere)?.reasons[0]).toBe("CR3 of CPU 7");
    expect(search(machine, { known: [{ root: 0x123, reason: "CR3 of CPU 7" }] }).roots).toHaveLength(3);
  });

  it("lie at a place where the scan's pieces meet, and where ranges begin in the middle of a piece", () => {
    const { machine, roots } = twoProcesses();
    for (const base of [0x10_0000, 0xf_f000]) {
      // All entries move along.
      const bytes = new Uint8Array(machine.bytes);
      const view = new DataView(bytes.buffer);
      for (let at = 0; at < bytes.length; at += 8) {
        const entry = view.getBigUint64(at, true);
        if ((entry & 1n) === 1n) view.setBigUint64(at, entry + BigInt(base), true);
      }
      const whole = new Uint8Array(base + bytes.length);
      whole.set(bytes, base);
      const found = findRoots(new MemoryIo(whole), {
        map: PhysicalMap.single(base, whole.length),
        formats: [X86_64],
        landmarks: LINUX_LANDMARKS,
      }).sync();
      for (const root of roots) expect(found.roots.map((one) => one.root)).toContain(root + base);
    }
  });

  it("progress ends at all bytes that are present", () => {
    const { machine } = twoProcesses();
    const steps: number[][] = [];
    search(machine, { onProgress: (done, total) => steps.push([done, total]) });
    expect(steps.at(-1)).toEqual([machine.bytes.length, machine.bytes.length]);
  });
});

/**
 * Not those of which something can't be told: a bit of encryption, wide addresses that are none, and PAE's roots, which are no
 * candidates unless all four entries are there (a process's).
 */
const TOLD = Object.entries(ARCH_KERNELS).filter(([name]) => !/encryption|64 KiB|PAE/.test(name));

describe("the format", () => {
  it.each(TOLD)("of %s is told by its tables alone, where a banner lies in the image", (_, options) => {
    const kernel = makeArchKernel(options);
    kernel.bytes.set(BANNER, options.imageAt + 2 * options.pageSize + 16);
    const found = findRoots(kernel.io, { map: kernel.map, landmarks: LINUX_LANDMARKS }).sync();
    expect(found.mmu?.name).toBe(options.mmu);
    expect(found.certain).toBe(true);
    expect(found.roots.map(({ root }) => root)).toContain(kernel.root);
  });

  it("that is wrong finds no roots that are certain", () => {
    const { machine } = twoProcesses();
    const found = search(machine, { formats: [X86_32] });
    expect(found.certain).toBe(false);
  });
});

describe("a hostile dump", () => {
  it("in which every page looks like a root of roots costs a bounded time", () => {
    const frames = 1024;
    const bytes = new Uint8Array(frames * 4096);
    const view = new DataView(bytes.buffer);
    const random = randomBits(7);
    for (let at = 0; at < bytes.length; at += 8) {
      view.setBigUint64(at, BigInt(random() % frames) * 4096n + USER, true);
    }
    const found = search({ bytes }, { formats: [X86_64] });
    expect(found.candidates).toBe(frames);
    expect(found.certain).toBe(false);
  });

  it("in which every page leads back to the first is given up at some point, and says what wasn't counted", () => {
    const bytes = new Uint8Array(8192 * 4096);
    new BigUint64Array(bytes.buffer).fill(USER);
    const { roots, candidates } = search({ bytes }, { formats: [X86_64] });
    expect(candidates).toBe(8192);
    // (A root of 512 loops through one table costs some 260,000 steps, and is none. Those that nobody looked into stay.)
    expect(candidates - roots.length).toBeGreaterThan(0);
    expect(candidates - roots.length).toBeLessThan(1000);
    expect(roots.every(({ userPages }) => userPages === undefined)).toBe(true);
  });

  it("of noise has none, in any format", () => {
    const bytes = new Uint8Array(1 << 20);
    const random = randomBits(3);
    const words = new Uint32Array(bytes.buffer);
    for (let i = 0; i < words.length; i++) words[i] = random();
    const found = search({ bytes }, { formats: MACHINE_FORMATS });
    expect(found.roots).toEqual([]);
    expect(found.mmu).toBeUndefined();
  });

  it("full of banners is looked at like any other", () => {
    const { machine, roots } = twoProcesses();
    const bytes = new Uint8Array(machine.bytes.length + (1 << 20));
    for (let at = machine.bytes.length; at + 4096 <= bytes.length; at += 64) bytes.set(BANNER, at);
    bytes.set(machine.bytes);
    expect(search({ bytes }).roots.map(({ root }) => root)).toEqual(expect.arrayContaining(roots));
  });
});

it("memory that a format's roots can't be in holds none", () => {
  const BEYOND = 2 ** 48;
  const bytes = new Uint8Array(0x5000);
  const view = new DataView(bytes.buffer);
  // A root, the tables below it, and a page; the root is there twice, once beyond 48 bits of address.
  for (let i = 0; i < 8; i++) for (const at of [0, 0x4000]) view.setBigUint64(at + 8 * i, 0x1003n, true);
  view.setBigUint64(0x1000, 0x2003n, true);
  view.setBigUint64(0x2000, 0x3003n, true);
  view.setBigUint64(0x3000, 0x443n | 0x700n | 0x60_0000_0000_0000n, true);
  const scheduler = new Scheduler();
  const physical = withMapping(new MemoryIo(bytes, { scheduler }), [
    { start: 0, size: 0x4000, target: 0 },
    { start: BEYOND, size: 0x1000, target: 0x4000 },
  ]);
  const map = PhysicalMap.from([
    { start: 0, end: 0x4000, state: "present" },
    { start: BEYOND, end: BEYOND + 0x1000, state: "present" },
  ]);
  const formats = [aarch64({ granule: 4096, bits: 48 })];
  const { roots } = findRoots(physical, { map, formats, landmarks: LINUX_LANDMARKS }).sync();
  expect(roots.map(({ root }) => root)).toContain(0);
  expect(roots.map(({ root }) => root)).not.toContain(BEYOND);
});
