/** Where page structures are, by each memory model, in kernels made by hand. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Io, type Routine } from "../../../src/io/index.js";
import type { Damage, LinuxKernel, Vmcoreinfo } from "../../../src/linux/index.js";
import { parseVmcoreinfo } from "../../../src/linux/index.js";
import { kernelData } from "../../../src/linux/kernel-data.js";
import { findPageArray, type PageArray } from "../../../src/linux/pages/index.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

/** 64 bytes on 64-bit machines. */
const WORDS = Array.from({ length: 8 }, (_, i) => [`word${i}`, "long unsigned int"] as const);
const TYPES = new HandTypes().struct("page", ...WORDS);
const HAS_MAP = 3n;
const SECTION = 2 ** 27 / 4096;

interface Made {
  readonly array: PageArray;
  readonly damage: Damage[];
}

async function find(
  memory: HandMemory,
  lines: readonly string[],
  variables: Record<string, bigint>,
  architecture: LinuxKernel["architecture"] = "x86_64",
  types = TYPES,
): Promise<Made> {
  const damage: Damage[] = [];
  const vmcoreinfo: Vmcoreinfo = parseVmcoreinfo(new TextEncoder().encode(`${lines.join("\n")}\n`));
  const kernel = Object.assign(handKernel(types, memory, { variables }), { vmcoreinfo, architecture });
  const array = await Io.of(memory.space.scheduler, arrayOf, kernel, damage);
  return { array, damage };
}

function* arrayOf(kernel: LinuxKernel, damage: Damage[]): Routine<PageArray> {
  return yield* findPageArray(yield* kernelData(kernel), (found) => damage.push(found));
}

/** Sections in a table of pointers to pages full of them, as SPARSEMEM_EXTREME has it. */
function sparse(memory: HandMemory, maps: Readonly<Record<number, bigint>>): string[] {
  const table = memory.take(2048 * 8);
  const roots = new Map<number, bigint>();
  for (const [number, map] of Object.entries(maps)) {
    const root = Math.floor(Number(number) / 256);
    const at = roots.get(root) ?? memory.take(4096, 4096);
    roots.set(root, at);
    memory.put(table + BigInt(8 * root), at);
    memory.put(at + BigInt(16 * (Number(number) % 256)), map | HAS_MAP);
  }
  return [
    `SYMBOL(mem_section)=${table.toString(16)}`,
    "LENGTH(mem_section)=2048",
    "SIZE(mem_section)=16",
    "OFFSET(mem_section.section_mem_map)=0",
    "NUMBER(SECTION_SIZE_BITS)=27",
    "NUMBER(MAX_PHYSMEM_BITS)=46",
    "PAGESIZE=4096",
  ];
}

describe("page structures", () => {
  it("of sections with one base are a vmemmap; frames between sections have none", async () => {
    const memory = new HandMemory(TYPES);
    const base = 0xffff_ea00_0000_0000n;
    const { array, damage } = await find(memory, sparse(memory, { 0: base, 300: base }), {});
    expect(damage).toEqual([]);
    expect(array.model).toBe("vmemmap");
    expect(array.frames).toEqual([
      { start: 0, end: SECTION },
      { start: 300 * SECTION, end: 301 * SECTION },
    ]);
    expect(array.addressOf(5)).toBe(base + 5n * 64n);
    expect(array.addressOf(SECTION)).toBeUndefined();
    expect(array.addressOf(300 * SECTION)).toBe(base + BigInt(300 * SECTION * 64));
    expect(array.pfnOf(base + 5n * 64n + 8n)).toBeUndefined();
    expect(array.pfnAround(base + 5n * 64n + 8n)).toBe(5);
    expect(array.pfnOf(base - 64n)).toBeUndefined();
  });

  it("of sections each with their own map are found in that", async () => {
    const memory = new HandMemory(TYPES);
    const own = 0xffff_8880_0700_0000n;
    const encoded = BigInt.asUintN(64, own - BigInt(2 * SECTION * 64));
    const { array } = await find(memory, sparse(memory, { 0: 0xffff_8880_0600_0000n, 2: encoded }), {});
    expect(array.model).toBe("sparse");
    expect(array.addressOf(2 * SECTION + 7)).toBe(own + 7n * 64n);
    expect(array.pfnOf(own + 7n * 64n)).toBe(2 * SECTION + 7);
  });

  it("of a flat kernel are one array, of as many frames as its node has", async () => {
    const types = new HandTypes(4).struct("page", ...WORDS);
    const memory = new HandMemory(types);
    const map = memory.take(4);
    memory.put(map, 0xc100_0000n);
    const node = memory.take(64);
    memory.put(node + 8n, 1);
    memory.put(node + 12n, 999);
    const lines = [
      `SYMBOL(contig_page_data)=${node.toString(16)}`,
      "OFFSET(pglist_data.node_start_pfn)=8",
      "OFFSET(pglist_data.node_spanned_pages)=12",
      "PAGESIZE=4096",
    ];
    const { array } = await find(memory, lines, { mem_map: map }, "i386", types);
    expect(array.model).toBe("flat");
    expect(array.structSize).toBe(32);
    expect(array.frames).toEqual([{ start: 0, end: 1000 }]);
    expect(array.addressOf(999)).toBe(0xc100_0000n + 999n * 32n);
    expect(array.addressOf(1000)).toBeUndefined();
  });

  it("are where vmemmap_base says, where the table of sections is missing; that is told", async () => {
    const memory = new HandMemory(TYPES);
    const at = memory.take(8);
    memory.put(at, 0xffff_ea00_0000_0000n);
    const lines = sparse(memory, {}).map((line) =>
      line.replace(/^SYMBOL.*/, "SYMBOL(mem_section)=ffff888f00000000"),
    );
    const { array, damage } = await find(memory, lines, { vmemmap_base: at });
    expect(array.addressOf(3)).toBe(0xffff_ea00_0000_00c0n);
    expect(damage).toMatchObject([{ what: "mem_section", reason: "unreadable" }]);
  });

  it("of arm64 without sections begin below VMEMMAP_START by where RAM begins", async () => {
    const memory = new HandMemory(TYPES);
    const at = memory.take(8);
    memory.put(at, 0x4000_0000n);
    const lines = ["NUMBER(VMEMMAP_START)=0xfffffc0000000000", "PAGESIZE=4096"];
    const { array } = await find(memory, lines, { memstart_addr: at }, "aarch64");
    expect(array.addressOf(0x40000)).toBe(0xffff_fc00_0000_0000n);
  });

  it("are nowhere for a kernel that does not tell, which is said", async () => {
    await expect(find(new HandMemory(TYPES), ["PAGESIZE=4096"], {})).rejects.toMatchObject({
      code: "NO_PAGES",
    });
  });

  it("are not looked for in sections that say to be of 2^60 bytes, and roots that are one page are read once", async () => {
    const memory = new HandMemory(TYPES);
    const table = memory.take(2048 * 8);
    const root = memory.take(4096, 4096);
    memory.put(root, 0xffff_ea00_0000_0000n | HAS_MAP);
    for (let i = 0; i < 2048; i++) memory.put(table + BigInt(8 * i), root);
    const lines = sparse(memory, {}).map((line) =>
      line.startsWith("SYMBOL") ? `SYMBOL(mem_section)=${table.toString(16)}` : line,
    );
    const { array, damage } = await find(memory, lines, {});
    expect(array.frames).toEqual([{ start: 0, end: SECTION }]);
    expect(damage.every(({ reason }) => reason === "loop")).toBe(true);
    const wrong = lines.map((line) => line.replace("SECTION_SIZE_BITS)=27", "SECTION_SIZE_BITS)=60"));
    await expect(find(memory, wrong, {})).rejects.toMatchObject({ code: "NO_PAGES" });
  });

  it("and frames lead to each other", async () => {
    const memory = new HandMemory(TYPES);
    const base = 0xffff_ea00_0000_0000n;
    const sections = { 0: base, 1: base, 7: 0xffff_9000_0000_0000n - BigInt(7 * SECTION * 64) };
    const { array } = await find(memory, sparse(memory, sections), {});
    fc.assert(
      fc.property(fc.nat({ max: 9 * SECTION }), (pfn) => {
        const address = array.addressOf(pfn);
        const has = [0, 1, 7].includes(Math.floor(pfn / SECTION));
        expect(address !== undefined).toBe(has);
        if (address === undefined) return;
        expect(array.pfnOf(address)).toBe(pfn);
        expect(array.pfnAround(address + 63n)).toBe(pfn);
      }),
    );
  });
});
