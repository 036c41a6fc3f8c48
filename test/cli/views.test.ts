import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Cell, MapCells } from "../../cli/map-cells.js";
import { cellWidth, gapWidth, placeCells } from "../../cli/map-lines.js";
import { mapsSvg } from "../../cli/render/maps-svg.js";
import { rootsOf } from "../../cli/roots.js";
import { open } from "../../connectors/open.js";
import { Scheduler } from "../../src/io/index.js";
import { VirtualMemory } from "../../src/paging/index.js";
import { jsonLines, memtool } from "../support/cli.js";
import { DUMP, ON_DUMP, ROOT, testFolder, truth } from "../support/cli-dump.js";
import { DummyMachine } from "../support/dummy-machine.js";
import { kinSpaces, referenceRuns } from "../support/kin-spaces.js";
import { qemuState, writeElf } from "../support/write-elf.js";
import { expectWellFormed } from "../support/xml.js";

const PROGRAM = truth.stops.kernel.root;
/** Under page-table isolation, the page tables of the program's user mode. */
const USER_COPY = `0x${(Number(PROGRAM) + 0x1000).toString(16)}`;
const KERNEL = "0x2a10000";
const mappings: { start: string; end: string; physical: string; pageSize: number; flags: string }[] =
  truth.stops.kernel.mappings;

const { folder } = testFolder();

/** Lines without the last end. */
const linesOf = (text: string) => text.replace(/\n$/, "").split("\n");

describe("the roots of a machine", () => {
  it("are those that its format can have, though a processor ran with another one", async () => {
    const bytes = new Uint8Array(16 * 4096);
    // Two levels; and a root of PAE, which lies between pages.
    const notes = [qemuState(0, 0x3000, 0x10), qemuState(0, 0x4000, 0x10), qemuState(0, 0x1020, 0x20)];
    const path = join(folder, "mixed.elf");
    writeFileSync(path, writeElf([{ physical: 0, bytes }], { notes, machine: 3 }));
    await using machine = await open(path);
    expect(await rootsOf(machine, { root: 0x5000, from: "here" })).toEqual([
      { root: 0x5000, from: "here" },
      { root: 0x3000, from: "CR3 of CPU 0" },
      { root: 0x4000, from: "CR3 of CPU 1" },
    ]);
  });
});

describe("translate --reverse", () => {
  const dense = truth.regions.find(({ name }: { name: string }) => name === "dense").runs[0];

  it("shows every virtual address of physical ones, in their order, with page size and rights", async () => {
    const { out, err, status } = await memtool([
      "translate",
      "--reverse",
      "0x2a1aa40",
      "0x2a10000+0x10",
      ...ON_DUMP,
    ]);
    expect(linesOf(out)).toEqual([
      "PHYSICAL            VIRTUAL             PAGES  RIGHTS",
      "0x0000000002a10010  0xffff8a2782a10010  2 MiB  rw- kernel",
      "0x0000000002a1aa40  0xffff8a2782a1aa40  2 MiB  rw- kernel",
      "0x0000000002a10010  0xffffffffa0610010  2 MiB  rw- kernel",
      "0x0000000002a1aa40  0xffffffffa061aa40  2 MiB  rw- kernel",
    ]);
    expect([err, status]).toEqual(["", 0]);
  });

  it("--all-roots says in which page tables each holds, also in those that a search found", async () => {
    const args = ["translate", "--reverse", dense.physical, "--all-roots", ...ON_DUMP];
    const { out, status } = await memtool(args);
    const [heading, ...lines] = linesOf(out);
    expect(heading).toBe("PHYSICAL            VIRTUAL             PAGES  RIGHTS             ROOTS");
    // All processes' and kernels' roots share the kernel's half; the program's user copy has its pages, too.
    expect(lines).toContainEqual(
      expect.stringMatching(/^0x00000000029e7000 {2}0xffff8a27829e7000 .* rw- kernel +0x2a10000, .*more$/),
    );
    expect(lines).toContain("0x00000000029e7000  0x0000100000040000  4 KiB  rw- user           0x55f8000");
    expect(lines).toContain("0x00000000029e7000  0x0000100000040000  4 KiB  rw- user           0x55f9000");
    expect(status).toBe(0);
    const rows = jsonLines((await memtool([...args, "--json"])).out) as {
      virtual: string;
      roots: string[];
    }[];
    const inKernel = rows.find(({ virtual }) => virtual === "0xffff8a27829e7000");
    expect(inKernel).toMatchObject({ physical: dense.physical, pageSize: 4096, user: false });
    expect(inKernel?.roots).toEqual(expect.arrayContaining([KERNEL, PROGRAM, "0x557e000"]));
    const inProgram = rows.filter(({ virtual }) => virtual === dense.start);
    expect(inProgram.map(({ roots }) => roots)).toEqual([[PROGRAM], ["0x55f9000"]]);
  });

  it("--length looks for ranges, and shows the run that maps each part", async () => {
    const { out, status } = await memtool([
      "translate",
      "--reverse",
      "0x29e7800",
      "--length",
      "8K",
      ...ON_DUMP,
      ...ROOT,
    ]);
    expect(linesOf(out)).toEqual([
      "START               END (EXCLUSIVE)     PHYSICAL            PAGES  RIGHTS",
      "0x0000100000040800  0x0000100000042800  0x00000000029e7800  4 KiB  rw- user",
      "0xffff8a27829e7800  0xffff8a27829e9800  0x00000000029e7800  4 KiB  rw- kernel",
    ]);
    expect(status).toBe(0);
  });

  it("says what is mapped nowhere: in words, in JSON, in the exit status", async () => {
    const args = ["translate", "--reverse", "0x99999000000", dense.physical, ...ROOT, ...ON_DUMP];
    const some = await memtool(args);
    expect(some.err).toBe(`memtool: no virtual address of root ${PROGRAM} maps 0x99999000000\n`);
    expect([linesOf(some.out).length, some.status]).toEqual([3, 3]);
    const json = jsonLines((await memtool([...args, "--json"])).out);
    expect(json.at(-1)).toEqual({ physical: "0x99999000000", mappings: 0 });
    expect(json).toHaveLength(3);
    expect(json[0]).toMatchObject({ virtual: dense.start, root: PROGRAM });
    const none = await memtool(["translate", "--reverse", "0x99999000000", "0x99999000008", ...ON_DUMP]);
    expect([none.out, none.status]).toEqual(["", 1]);
    expect(none.err).toBe(
      "memtool: no virtual address of the kernel maps:\n  0x99999000000\n  0x99999000008\n",
    );
  });

  it("--stdin takes an address a line, reports bad ones and answers the others", async () => {
    const { out, err, status } = await memtool(["translate", "--reverse", "--stdin", ...ROOT, ...ON_DUMP], {
      input: `# a comment\n\n${dense.physical}\ninit_task\n${dense.physical}\n`,
    });
    expect(linesOf(out).slice(1)).toEqual([
      "0x00000000029e7000  0x0000100000040000  4 KiB  rw- user",
      "0x00000000029e7000  0xffff8a27829e7000  4 KiB  rw- kernel",
    ]);
    expect(err).toContain('line 4: not a physical address: "init_task"');
    expect(status).toBe(3);
  });

  it("says which part of a space it could not look at", async () => {
    const { out, err, status } = await memtool([
      "translate",
      "--reverse",
      "0x1000",
      "--root",
      "0xffffff000",
      ...ON_DUMP,
    ]);
    expect([out, status]).toEqual(["", 1]);
    expect(err).toContain("2 ranges of virtual addresses could not be looked at (ends are exclusive):");
    expect(err).toContain(
      "0x0000000000000000  0x0000800000000000  table-missing (level 4, the table is outside)",
    );
  });

  it.each<[string, string[], string]>([
    ["a symbol", ["--reverse", "init_task"], 'not a physical address: "init_task"'],
    ["no address", ["--reverse"], "no address"],
    ["an address beyond 2^53", ["--reverse", "0x20000000000000"], "2^53"],
    ["a range beyond it", ["--reverse", "0x1ffffffffff000", "--length", "8K"], "2^53"],
    ["no length", ["--reverse", "0", "--length", "0"], "no bytes"],
    ["--walk", ["--reverse", "0", "--walk"], "--walk"],
    ["--all-roots without --reverse", ["0", "--all-roots"], "--all-roots is for --reverse"],
    ["--length without --reverse", ["0", "--length", "1"], "--length is for --reverse"],
    ["--stdin and an address", ["--reverse", "--stdin", "0"], "none as arguments"],
    ["physical memory", ["--reverse", "0", "--physical"], "needs page tables"],
  ])("refuses %s", async (_what, args, message) => {
    const { status, out, err } = await memtool(["translate", ...args, ...ON_DUMP]);
    expect(err).toContain(message);
    expect([status, out]).toEqual([2, ""]);
  });
});

/** What QEMU listed of the program's space, cut where rights or addresses change: `X` is no-execute there. */
function listedAreas(): { start: bigint; end: bigint; rights: string; sizes: Set<number> }[] {
  const areas: { start: bigint; end: bigint; rights: string; sizes: Set<number> }[] = [];
  for (const { start, end, pageSize, flags } of mappings) {
    const rights = `r${flags.includes("W") ? "w" : "-"}${flags.startsWith("X") ? "-" : "x"} ${flags.includes("U") ? "user" : "kernel"}`;
    const last = areas.at(-1);
    if (last?.end === BigInt(start) && last.rights === rights) {
      last.end = BigInt(end);
      last.sizes.add(pageSize);
    } else areas.push({ start: BigInt(start), end: BigInt(end), rights, sizes: new Set([pageSize]) });
  }
  return areas;
}

describe("maps --rights", () => {
  it("is the areas that QEMU's listing of the program's page tables comes to", async () => {
    const { out, status } = await memtool(["maps", "--rights", "--json", ...ROOT, ...ON_DUMP]);
    // What Linux hides and what it swapped out is absent for the processor, and not in its listing.
    const present = jsonLines(out).filter(({ state, readable }) => state === undefined && readable === true);
    const found = present.map(({ start, end, writable, user, executable, pageSizes }) => ({
      start: BigInt(start as string),
      end: BigInt(end as string),
      rights: `r${writable ? "w" : "-"}${executable ? "x" : "-"} ${user ? "user" : "kernel"}`,
      sizes: new Set(pageSizes as number[]),
    }));
    expect(found).toEqual(effective(listedAreas(), found));
    expect(status).toBe(0);
  });

  it("shows start, end, size, rights and page sizes", async () => {
    const { out } = await memtool(["maps", "0xffff8a2780098000", "--length", "16M", "--rights", ...ON_DUMP]);
    expect(linesOf(out)).toEqual([
      "START               END (EXCLUSIVE)              SIZE  RIGHTS      PAGES",
      "0xffff8a2780098000  0xffff8a2780099000           4 KiB  r-- kernel  4 KiB",
      "0xffff8a2780099000  0xffff8a278009b000           8 KiB  r-x kernel  4 KiB",
      "0xffff8a278009b000  0xffff8a2781000000        15.4 MiB  rw- kernel  4 KiB, 2 MiB",
      "0xffff8a2781000000  0xffff8a2781098000         608 KiB  r-- kernel  2 MiB",
    ]);
  });
});

/**
 * QEMU lists the bits of the last entry alone. Under page-table isolation the top entries of a process's kernel-mode
 * tables say no-execute for all of its own (arch/x86/mm/pti.c, `pti_set_user_pgtbl`).
 */
function effective<T extends { start: bigint; end: bigint; rights: string; sizes: Set<number> }>(
  listed: readonly T[],
  found: readonly T[],
): T[] {
  const areas: T[] = [];
  for (const area of listed) {
    const rights = area.rights === "r-x user" ? "r-- user" : area.rights;
    const last = areas.at(-1);
    if (last !== undefined && last.end === area.start && last.rights === rights) {
      last.end = area.end;
      for (const size of area.sizes) last.sizes.add(size);
    } else areas.push({ ...area, rights });
  }
  expect(found.some(({ rights }) => rights.includes("x kernel"))).toBe(true);
  return areas;
}

/** A raw dump of a machine of this suite's own, with its root. */
function rawDump(name: string, prepare: (dummy: DummyMachine) => void): { args: string[]; root: string } {
  const dummy = new DummyMachine({ frames: 64 });
  prepare(dummy);
  const path = join(folder, name);
  writeFileSync(path, dummy.bytes);
  const root = `0x${dummy.root.toString(16)}`;
  return { args: ["-f", path, "--dump-format", "raw", "--mmu", "x86-64", "--root", root], root };
}

describe("maps --wx", () => {
  it("shows what is both writable and executable first, and the rest after it", async () => {
    const { args } = rawDump("wx", (dummy) => {
      dummy.map(0x1000n, { executable: false }, 1, 0x1000);
      dummy.map(0x2000n, {}, 1, 0x8000);
      dummy.map(0x3000n, { user: false }, 1, 0x3000);
      dummy.map(0x4000n, { writable: false }, 1, 0x4000);
      dummy.map(0x9000n, { global: true }, 1, 0x9000);
    });
    const { out, err, status } = await memtool(["maps", "--wx", ...args]);
    expect(linesOf(out)).toEqual([
      "START               END (EXCLUSIVE)     PHYSICAL            PAGES  RIGHTS",
      "0x0000000000002000  0x0000000000003000  0x0000000000008000  4 KiB  rwx user",
      "0x0000000000003000  0x0000000000004000  0x0000000000003000  4 KiB  rwx kernel",
      "0x0000000000009000  0x000000000000a000  0x0000000000009000  4 KiB  rwx user global",
      "0x0000000000001000  0x0000000000002000  0x0000000000001000  4 KiB  rw- user",
      "0x0000000000004000  0x0000000000005000  0x0000000000004000  4 KiB  r-x user",
    ]);
    expect([err, status]).toEqual(["", 0]);
    const areas = jsonLines((await memtool(["maps", "--wx", "--rights", "--json", ...args])).out);
    expect(areas.map(({ start }) => start)).toEqual(["0x2000", "0x3000", "0x9000", "0x1000", "0x4000"]);
  });

  it("says that nothing is, and shows all the same what is mapped", async () => {
    const { out, err, status } = await memtool(["maps", "--wx", "--rights", ...ROOT, ...ON_DUMP]);
    expect(err).toBe("memtool: nothing is both writable and executable\n");
    expect(out).toBe((await memtool(["maps", "--rights", ...ROOT, ...ON_DUMP])).out);
    expect(status).toBe(0);
  });
});

describe("maps --summary", () => {
  it("counts pages and bytes by rights and page size", async () => {
    const { out, status } = await memtool(["maps", "--summary", ...ROOT, ...ON_DUMP]);
    expect(linesOf(out)).toEqual([
      "RIGHTS      PAGES OF 4 KiB  PAGES OF 2 MiB          BYTES",
      "r-- user               312               1        3.2 MiB",
      "rw- user              2136               1       10.3 MiB",
      "r-- kernel             727              15       32.8 MiB",
      "r-x kernel             577               7       16.3 MiB",
      "rw- kernel            6723              41      108.3 MiB",
      "--- hidden              16               -         64 KiB",
      "all                  10491              65  about 171 MiB",
      "",
      "user                     13.6 MiB",
      "kernel                   157.4 MiB",
      "writable                 118.6 MiB",
      "executable               16.3 MiB",
      "writable and executable  0 bytes",
      "hidden (no rights)       64 KiB",
      "swapped out              64 KiB",
    ]);
    expect(status).toBe(0);
  });

  it("comes to what QEMU listed, and what of the program's pages Linux hid and swapped out", async () => {
    const { out } = await memtool(["maps", "--summary", "--json", ...ROOT, ...ON_DUMP]);
    const [summary] = jsonLines(out);
    const bytesOf = (some: typeof mappings) =>
      some.reduce((sum, { start, end }) => sum + Number(BigInt(end) - BigInt(start)), 0);
    const isUser = ({ flags }: { flags: string }) => flags.includes("U");
    expect(summary).toMatchObject({
      bytes: bytesOf(mappings) + 16 * 4096,
      hidden: 16 * 4096,
      user: bytesOf(mappings.filter(isUser)),
      kernel: bytesOf(mappings.filter((each) => !isUser(each))),
      writable: bytesOf(mappings.filter(({ flags }) => flags.includes("W"))),
      writableAndExecutable: 0,
      swapped: 16 * 4096,
      unknown: { ranges: 0, bytes: 0 },
    });
    for (const pageSize of [4096, 2 << 20]) {
      const rows = ((summary?.rows ?? []) as { pageSize: number; pages: number; readable: boolean }[]).filter(
        (row) => row.pageSize === pageSize && row.readable,
      );
      const listed = bytesOf(mappings.filter((each) => each.pageSize === pageSize));
      expect(rows.reduce((sum, { pages }) => sum + pages, 0)).toBe(listed / pageSize);
    }
  });

  it("puts what is writable and executable first, and says what can't be told", async () => {
    const { args } = rawDump("summary", (dummy) => {
      dummy.map(0x1000n, { user: false, writable: false }, 1, 0x1000);
      dummy.map(0x2000n, { user: false }, 1, 0x2000);
      dummy.writeEntry(dummy.entryAt(0x4000_0000n, 3), 0x83n | (1n << 14n));
    });
    const { out, err, status } = await memtool(["maps", "--summary", ...args]);
    expect(linesOf(out).slice(0, 4)).toEqual([
      "RIGHTS      PAGES OF 4 KiB  BYTES",
      "rwx kernel               1  4 KiB",
      "r-x kernel               1  4 KiB",
      "all                      2  8 KiB",
    ]);
    expect(err).toContain("1 GiB in 1 range could not be told of");
    expect(status).toBe(3);
  });
});

describe("maps --diff", () => {
  it("shows that the user's copy of a root has the program's text executable, and next to nothing of the kernel", async () => {
    const { out, err, status } = await memtool(["maps", "--diff", USER_COPY, ...ROOT, ...ON_DUMP]);
    const lines = linesOf(out);
    expect(lines.slice(0, 9)).toEqual([
      `- only in root ${PROGRAM}`,
      `+ only in root ${USER_COPY}`,
      "~ in both, not the same",
      "? can't be told",
      "",
      "  START               END (EXCLUSIVE)              SIZE  RIGHTS      PAGES, FRAMES",
      "~ 0x0000000000401000  0x0000000000493000         584 KiB  r-- user → r-x user  4 KiB",
      "~ 0x0000430000000000  0x0000430000010000          64 KiB  r-- user → r-x user  4 KiB",
      "~ 0x00007ffd67251000  0x00007ffd67252000           4 KiB  r-- user → r-x user  4 KiB",
    ]);
    expect(lines[9]).toBe(
      "- 0xffff8a2780000000  0xffff8a2780098000         608 KiB  rw- kernel  4 KiB, at 0x0",
    );
    expect(lines).toContain(
      "~ 0xffff8a2786806000  0xffff8a2786807000           4 KiB  rw- kernel  2 MiB → 4 KiB",
    );
    expect([err, status]).toEqual(["", 0]);
  });

  it("is the same both ways round, in JSON", async () => {
    const there = jsonLines(
      (await memtool(["maps", "--diff", USER_COPY, "--json", ...ROOT, ...ON_DUMP])).out,
    );
    const back = jsonLines(
      (await memtool(["maps", "--diff", PROGRAM, "--json", "--root", USER_COPY, ...ON_DUMP])).out,
    );
    const other = { "only-first": "only-second", "only-second": "only-first", changed: "changed" };
    expect(
      back.map(({ kind, first, second, ...rest }) => ({
        ...rest,
        kind: other[kind as keyof typeof other],
        ...(second === undefined ? {} : { first: second }),
        ...(first === undefined ? {} : { second: first }),
      })),
    ).toEqual(there);
    // (The program's text lies in one piece.)
    const physical = "0x68c9000";
    expect(there[0]).toEqual({
      start: "0x401000",
      end: "0x493000",
      kind: "changed",
      frames: false,
      rights: true,
      pageSize: false,
      first: { readable: true, writable: false, user: true, executable: false, pageSizes: [4096], physical },
      second: { readable: true, writable: false, user: true, executable: true, pageSizes: [4096], physical },
    });
    expect(there.length).toBeGreaterThan(100);
  });

  it("says so where there is no difference", async () => {
    const { out, err, status } = await memtool(["maps", "--diff", KERNEL, ...ON_DUMP]);
    expect([out, err, status]).toEqual(["", "memtool: no difference from 0x0 to 0x10000000000000000\n", 0]);
  });

  it("says what can't be compared", async () => {
    const { out, err, status } = await memtool([
      "maps",
      "0",
      "--length",
      "4K",
      "--diff",
      "0xffffff000",
      ...ON_DUMP,
    ]);
    expect(linesOf(out).at(-1)).toBe(
      "? 0x0000000000000000  0x0000000000001000           4 KiB  not known of the second: table-missing (level 4, the table is outside)",
    );
    expect(err).toContain("1 range could not be compared");
    expect(status).toBe(3);
  });

  it("shows other frames from both sides where they are contiguous", async () => {
    let other = 0;
    const { args } = rawDump("diff", (dummy) => {
      other = dummy.frame();
      for (let i = 0n; i < 2n; i++) {
        const at = 0x1000n + i * 4096n;
        dummy.map(at, { executable: false }, 1, 0x10000 + Number(i) * 4096);
        dummy.writeEntry(dummy.entryAt(at, 1, other), (0x20000n + i * 4096n) | (1n << 63n) | 7n);
        dummy.map(at + 0x10000n, {}, 1, 0x10000 + Number(i) * 4096);
        dummy.writeEntry(dummy.entryAt(at + 0x10000n, 1, other), (0x30000n - i * 4096n) | 5n);
      }
    });
    const { out } = await memtool(["maps", "--diff", `0x${other.toString(16)}`, ...args]);
    expect(linesOf(out).slice(6)).toEqual([
      "~ 0x0000000000001000  0x0000000000003000           8 KiB  rw- user    4 KiB, 0x10000 → 0x20000",
      "~ 0x0000000000011000  0x0000000000013000           8 KiB  rwx user → r-x user  4 KiB, other frames",
    ]);
  });
});

describe("options of maps", () => {
  it.each<[string, string[], string]>([
    ["two views", ["--rights", "--summary"], "--rights and --summary exclude each other"],
    ["--wx of a picture", ["--wx", "--svg", "x.svg"], "--wx and --svg exclude each other"],
    ["a picture without a name", ["--svg", ""], "name of the file is empty"],
    ["a picture over the dump", ["--svg", DUMP], "is the dump itself"],
    ["a bad root", ["--diff", "swapper_pg_dir"], "physical address"],
    ["views of physical memory", ["--summary", "--physical"], "maps --summary needs page tables"],
  ])("refuse %s", async (_what, args, message) => {
    const { status, out, err } = await memtool(["maps", ...args, ...ON_DUMP]);
    expect(err).toContain(message);
    expect([status, out]).toEqual([2, ""]);
  });

  it("refuse views of a process, which shows no page tables", async () => {
    const { status, err } = await memtool(["maps", "--summary", "-c", `proc:${process.pid}`]);
    expect(status).toBe(2);
    expect(err).toContain("maps --summary needs page tables");
  });
});

/** Cells of a space, as the picture takes them. */
function cellsOf(memory: VirtualMemory, limit?: number): MapCells {
  const cells = new MapCells(limit);
  for (const runs of memory.runBatches().sync()) cells.take(runs);
  return cells;
}

const pagesIn = (cell: Cell) => [...cell.pages.values()].reduce((sum, pages) => sum + pages, 0);

describe("cells of a picture", () => {
  it("hold every page once, however few there are to be", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 30 }), fc.integer({ min: 1, max: 40 }), (seed, limit) => {
        const kin = kinSpaces(seed, 1);
        const drawn = cellsOf(kin.spaces[0] as VirtualMemory, limit);
        const cells = drawn.cells();
        expect(cells.length).toBeLessThanOrEqual(limit);
        const runs = referenceRuns(kin, kin.machine.root);
        const pages = runs.reduce((sum, { start, end }) => sum + Number((end - start) / 4096n), 0);
        expect(cells.reduce((sum, cell) => sum + pagesIn(cell), 0)).toBe(pages);
        expect([...drawn.totals.values()].reduce((sum, each) => sum + each, 0)).toBe(pages);
        for (const run of runs) {
          const [from, to] = [run.start, run.end].map((at) => Number(at / 4096n)) as [number, number];
          expect(cells.some((cell) => cell.from <= from && to <= cell.to)).toBe(true);
        }
        cells.forEach((cell, i) => {
          expect(pagesIn(cell)).toBeLessThanOrEqual(cell.to - cell.from);
          if (i > 0) expect((cells[i - 1] as Cell).to).toBeLessThanOrEqual(cell.from);
        });
      }),
      { numRuns: 60 },
    );
  });

  it("stay few while millions of runs pass", () => {
    // A table of scattered pages with changing rights, in 2,048 places: a million runs.
    const dummy = new DummyMachine({ frames: 64 });
    const table = dummy.entryAt(0n, 1);
    for (let i = 0; i < 512; i++) {
      dummy.writeEntry(table + 8 * i, BigInt(((i * 7) % 512) * 4096) | (i % 2 === 0 ? 1n : 7n));
    }
    for (let i = 0n; i < 2048n; i++) dummy.writeEntry(dummy.entryAt(i << 21n, 2), BigInt(table) | 7n);
    const memory = new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root });
    const drawn = new MapCells(100);
    for (const runs of memory.runBatches().sync()) {
      drawn.take(runs);
      expect(drawn.size).toBeLessThanOrEqual(200);
    }
    const cells = drawn.cells();
    expect(cells.length).toBe(100);
    expect(cells.reduce((sum, cell) => sum + pagesIn(cell), 0)).toBe(2 ** 20);
  });
});

describe("lines of a picture", () => {
  const cell = (from: number, to: number): Cell => ({ from, to, pages: new Map([[1, to - from]]) });

  it("break at large gaps, and where they are full; cells keep their order and their room", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.oneof(fc.nat(3), fc.nat(2 ** 17), fc.integer({ min: 2 ** 18, max: 2 ** 40 })),
            fc.oneof(fc.integer({ min: 1, max: 600 }), fc.integer({ min: 1, max: 2 ** 30 })),
          ),
          { minLength: 1, maxLength: 120 },
        ),
        (parts) => {
          let at = 0;
          const cells = parts.map(([gap, pages]) => {
            const from = at + gap;
            at = from + pages;
            return cell(from, at);
          });
          const lines = placeCells(cells, 500);
          expect(lines.flatMap((line) => line.cells.map((placed) => placed.cell))).toEqual(cells);
          for (const line of lines) {
            let x = 0;
            const pieces = [...line.cells, ...line.gaps].sort((a, b) => a.x - b.x);
            for (const piece of pieces) {
              expect(piece.x).toBeCloseTo(x, 6);
              x += piece.width;
            }
            expect(x).toBeLessThanOrEqual(500);
          }
          const regions = lines.filter((line) => line.region !== undefined);
          expect(regions.length).toBeLessThanOrEqual(40);
          const large = parts.slice(1).filter(([gap]) => gap >= 2 ** 18).length;
          if (large < 40) expect(regions).toHaveLength(large + 1);
          const mapped = regions.reduce((sum, line) => sum + (line.region?.mapped ?? 0), 0);
          expect(mapped).toBe(parts.reduce((sum, [, pages]) => sum + pages, 0));
        },
      ),
    );
  });

  it("grow with the logarithm of sizes, gaps by less", () => {
    expect(cellWidth(2 ** 40) - cellWidth(2 ** 39)).toBeCloseTo(cellWidth(2) - cellWidth(1));
    for (const pages of [2 ** 9, 2 ** 18, 2 ** 35])
      expect(gapWidth(pages)).toBeLessThan(cellWidth(pages) / 2);
    // As the picture says it of itself.
    expect((cellWidth(2 ** 40) - cellWidth(2 ** 20)) / (gapWidth(2 ** 40) - gapWidth(2 ** 20))).toBeCloseTo(
      3,
    );
  });
});

describe("maps --svg", () => {
  it("writes a picture of the program's space: regions, gaps, rights, page sizes, sums", async () => {
    const path = join(folder, "program.svg");
    const { out, status } = await memtool(["maps", "--svg", path, ...ROOT, ...ON_DUMP]);
    expect([out, status]).toEqual([`${path}: about 171 MiB mapped\n`, 0]);
    const svg = readFileSync(path, "utf8");
    expectWellFormed(svg);
    for (const text of [
      `Address space in ${DUMP}`,
      `root ${PROGRAM}: about 171 MiB mapped`,
      "0x0000480000000000",
      "0xffff8a2780000000",
      "about 16 EiB not mapped, between the halves",
      "4 MiB",
      "rw- user",
      "r-x kernel",
      "pages of 2 MiB",
      "in pages of 4 KiB, 2 MiB",
      "0x0000480000000000 to 0x0000480000200000: 2 MiB rw- user in pages of 2 MiB",
    ]) {
      expect(svg, text).toContain(`>${text}<`);
    }
    expect(svg).not.toContain("rwx");
  });

  it("of a range says which, and nothing of what is below it", async () => {
    const path = join(folder, "range.svg");
    const args = ["maps", "0xffffffff9fa00000", "--length", "32M", "--svg", path];
    const { out, status } = await memtool([...args, ...ON_DUMP]);
    expect(status).toBe(0);
    const svg = readFileSync(path, "utf8");
    const mapped = out.replace(`${path}: `, "").trimEnd();
    expect(svg).toContain(`: ${mapped} from 0xffffffff9fa00000 to 0xffffffffa1a00000<`);
    expect(svg).not.toContain("16 EiB");
  });

  it("escapes what the target is called, and holds in light and in dark", () => {
    const dummy = new DummyMachine({ frames: 16 });
    dummy.map(0x1000n);
    dummy.map(0x20_0000n, { writable: false }, 2, 0x20_0000);
    dummy.writeEntry(dummy.entryAt(0x4000_0000n, 3), 0x83n | (1n << 14n));
    const drawn = cellsOf(new VirtualMemory(dummy.inlineIo(new Scheduler()), { root: dummy.root }));
    const title = `</title><script>alert("&")</script>\x1b[31m\u0000${"long".repeat(100)}`;
    const svg = mapsSvg(
      { cells: drawn.cells(), contents: drawn.contents, totals: drawn.totals },
      { title, subtitle: "<b>" },
    );
    expectWellFormed(svg);
    expect(svg).not.toContain("<script");
    expect(svg).toContain("&lt;script&gt;");
    expect(svg).toContain("prefers-color-scheme: dark");
    expect(svg).toContain("unknown: page tables are missing or malformed");
    expect(svg).toContain(">rwx user<");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML can't hold these.
    expect(svg).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
  });

  it("of a space in which nothing is mapped says so", async () => {
    const { args } = rawDump("empty", () => {});
    const path = join(folder, "empty.svg");
    const { status } = await memtool(["maps", "--svg", path, ...args]);
    expect(status).toBe(0);
    expect(readFileSync(path, "utf8")).toContain(">nothing is mapped<");
  });

  it("of a root that can't be read is all unknown, with status 1", async () => {
    const path = join(folder, "lost.svg");
    const { status, err } = await memtool(["maps", "--svg", path, "--root", "0xffffff000", ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toContain("256 TiB could not be told of");
    expectWellFormed(readFileSync(path, "utf8"));
  });
});
