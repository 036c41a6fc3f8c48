/**
 * Guests inside a guest, by real nested page tables: KVM makes them on QEMU's emulation of AMD's processors. The judge is the
 * outer guest's pagemap: where each page of its guests lies.
 */
import { rm } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert, type Machine, open } from "../../connectors/index.js";
import { bootNested, type NestedGuest, type NestedMachine } from "../../fixtures/vm/nested.mjs";
import { type GuestMemory, VirtualMemory } from "../../src/index.js";

const PAGE = 4096;
const MASK = (1n << 64n) - 1n;

/** As in guest.c, generation 0. */
function mix(address: bigint): bigint {
  let x = (address * 0xd6e8feb86659fd93n) & MASK;
  x ^= x >> 32n;
  x = (x * 0xa0761d6478bd642fn) & MASK;
  return x ^ (x >> 29n);
}

/** Words at 0, 512, … of a page that has the pattern of its address. */
function wordsOf(page: Uint8Array): bigint[] {
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  return Array.from({ length: 8 }, (_, i) => view.getBigUint64(512 * i, true));
}

const patternOf = (address: bigint) => Array.from({ length: 8 }, (_, i) => mix(address + BigInt(512 * i)));

function machineOf(nested: NestedGuest, name: string): NestedMachine {
  const found = nested.machines.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no machine ${name}`);
  return found;
}

/** Opens one of the guests, in the machine's RAM as it lies or in QEMU's ELF dump. */
async function openInner(nested: NestedGuest, name: string, file = nested.rawFile, eptFormat?: "npt") {
  const { root } = machineOf(nested, name);
  const machine = await open(file, {
    kernel: name === "linux" ? "scan" : "none",
    ept: { root, format: eptFormat },
  });
  return { machine, memory: machine.guest as GuestMemory };
}

/** Every page that the guest touched, every one that it did not, and where in the host each lies. */
function patternSuite(nested: () => NestedGuest, levels: 4 | 5): void {
  let machine: Machine;
  let memory: GuestMemory;
  let truth: NestedMachine;
  beforeAll(async () => {
    truth = machineOf(nested(), "pattern");
    ({ machine, memory } = await openInner(nested(), "pattern"));
  });
  afterAll(() => machine?.close());

  it(`its tables are known for AMD's, with ${levels} levels`, () => {
    expect([memory.mmu.name, memory.formatSource]).toEqual([`npt${levels}`, "tables"]);
  });

  it("each page that it touched lies where the outer guest's pagemap says, and holds its pattern", async () => {
    const pages = truth.pages.filter(({ pattern }) => pattern);
    expect(pages.length).toBe(2003);
    for (const { address, physical } of pages) {
      expect(await memory.tables.translate(address)).toMatchObject({
        physical,
        readable: true,
        executable: true,
      });
    }
    const withPattern = pages.filter(({ address }) => address >= 0x5000);
    for (const { address } of withPattern) {
      expect(wordsOf(await memory.read(address, PAGE))).toEqual(patternOf(BigInt(address)));
    }
    expect(withPattern.length).toBe(1998);
  });

  it("memory in huge pages of the host is mapped by entries of 2 MiB, which can be written; a ROM can't", async () => {
    for (const { start, end, readOnly } of truth.slots) {
      const runs = await memory.tables.maps({ start, end }).toArray();
      expect(runs.length).toBeGreaterThan(0);
      for (const run of runs) {
        expect(run).toMatchObject({ pageSize: start === 2 ** 30 ? 2 ** 21 : PAGE, user: true });
        if (readOnly) expect(run).toMatchObject({ writable: false });
        if (start === 2 ** 30) expect(run).toMatchObject({ writable: true });
      }
    }
  });

  it("nothing else is mapped: pages that were not touched, and all between the memory slots", async () => {
    const touched = new Set(truth.pages.filter(({ pattern }) => pattern).map(({ address }) => address));
    let mapped = 0;
    for (const { start, end, state } of memory.map) {
      expect(state).toBe("present");
      for (let at = start; at < end; at += PAGE) {
        mapped++;
        expect(touched.has(at), at.toString(16)).toBe(true);
      }
    }
    expect(mapped).toBe(touched.size);
    const untouched = truth.slots.flatMap(({ start, end }) =>
      Array.from({ length: (end - start) / PAGE }, (_, i) => start + i * PAGE).filter(
        (at) => !touched.has(at),
      ),
    );
    expect(untouched.length).toBeGreaterThan(400);
    for (const at of [...untouched, 2 ** 31, 2 ** 40, 2 ** 47]) {
      expect((await memory.readPartial(at, 8)).holes).toMatchObject([{ state: "not-present" }]);
    }
  });

  it("its own page tables, in its memory, lead through", async () => {
    const space = new VirtualMemory(memory, { root: truth.cr3 });
    const at = 4n * 2n ** 30n + 2n ** 20n;
    expect(await space.translate(at + 0x1008n)).toMatchObject({
      physical: Number(at) + 0x1008,
      pageSize: 2 ** 30,
    });
    expect(wordsOf(await space.read(512n << 30n, PAGE))).toEqual(patternOf(512n << 30n));
  });
}

describe("a guest inside a guest, with nested tables of five levels", () => {
  let nested: NestedGuest;
  beforeAll(async () => {
    nested = await bootNested({ levels: 5, log: (line: string) => console.log(line) });
  });
  afterAll(() => nested?.close());
  patternSuite(() => nested, 5);
});

describe("guests inside a guest, with nested tables of four levels", () => {
  let nested: NestedGuest;
  beforeAll(async () => {
    nested = await bootNested({ linux: true, log: (line: string) => console.log(line) });
  });
  afterAll(() => nested?.close());
  patternSuite(() => nested, 4);

  describe("one of which is a Linux", () => {
    for (const form of ["raw", "elf"] as const) {
      it(`its kernel is found in the ${form} dump of the outer guest's machine, with its symbols`, async () => {
        const file = form === "raw" ? nested.rawFile : `${nested.directory}/nested.elf`;
        if (form === "elf") await nested.dump(file);
        const { machine } = await openInner(nested, "linux", file);
        try {
          const kernel = await machine.linux();
          expect(kernel.release).toBe(nested.inner?.release);
          expect(kernel.origin.verified).toBe(true);
          const symbols = [...(nested.inner?.symbols ?? [])];
          expect(symbols.length).toBe(3);
          for (const [name, address] of symbols) expect((await kernel.symbol(name)).address).toBe(address);
          const banner = await kernel.memory.readString((await kernel.symbol("linux_banner")).address, 256);
          expect(banner).toContain(`Linux version ${nested.inner?.release}`);
        } finally {
          await machine.close();
          if (form === "elf") await rm(file);
        }
      });
    }

    it("each page that it uses lies where the outer guest's pagemap says", async () => {
      const { machine, memory } = await openInner(nested, "linux", nested.rawFile, "npt");
      const where = new Map(
        machineOf(nested, "linux").pages.map(({ address, physical }) => [address, physical]),
      );
      let pages = 0;
      for await (const run of memory.tables.maps()) {
        if (run.state !== undefined) throw new Error(`${run.start.toString(16)}: ${run.state}`);
        for (let at = Number(run.start); at < Number(run.end); at += PAGE, pages++) {
          expect(where.get(at), at.toString(16)).toBe(run.physical + at - Number(run.start));
        }
      }
      expect(pages).toBeGreaterThan(10_000);
      await machine.close();
    });

    it("its program's pages, through its page tables and the nested ones, lie where its pagemap says", async () => {
      const { machine, memory } = await openInner(nested, "linux");
      const { cr3 } = machineOf(nested, "linux");
      const space = new VirtualMemory(memory, { root: cr3 - (cr3 % PAGE) });
      const pages = nested.inner?.pages ?? [];
      expect(pages.length).toBeGreaterThan(30);
      for (const { virtual, physical } of pages) {
        expect(await space.translate(virtual)).toMatchObject({ physical, user: true, writable: true });
        expect(wordsOf(await space.read(virtual, PAGE))).toEqual(patternOf(virtual));
      }
      await machine.close();
    });

    it("written to a dump of its own, it is a machine as any other", async () => {
      const { machine, memory } = await openInner(nested, "linux");
      const path = `${nested.directory}/inner.kdump`;
      const summary = await convert(machine, path, { verify: true });
      expect([summary.failed, summary.present]).toEqual([0, memory.map.bytesPresent]);
      await machine.close();
      const inner = await open(path);
      expect((await inner.linux()).origin).toMatchObject({ vmcoreinfo: "note", verified: true });
      expect((await (await inner.linux()).symbol("init_task")).address).toBe(
        nested.inner?.symbols.get("init_task"),
      );
      await inner.close();
    });
  });
});
