import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { patternPage } from "../../fixtures/vm/truth.mjs";
import { FORMATS } from "../../src/formats/index.js";
import { jsonLines, memtool, startMemtool } from "../support/cli.js";
import { DummyKernel } from "../support/kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
const ON_DUMP = ["-f", DUMP];
/** The page tables of the program with the pattern regions. */
const ROOT = ["--root", truth.stops.kernel.root];
const region = (name: string) => truth.regions.find((one: { name: string }) => one.name === name);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "memtool-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file in the test's folder. */
function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

describe("the contract of --json", () => {
  it("translate: where it is mapped, or why not", async () => {
    const dense = region("dense").runs[0];
    const { out, status } = await memtool([
      "translate",
      dense.start,
      "0x0",
      "0x8000000000000000",
      "--json",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(status).toBe(3);
    expect(jsonLines(out)).toEqual([
      {
        virtual: dense.start,
        physical: dense.physical,
        pageSize: 4096,
        readable: true,
        writable: true,
        user: true,
        executable: false,
      },
      { virtual: "0x0", state: "not-present", level: 1, entry: "0x0" },
      { virtual: "0x8000000000000000", state: "non-canonical", level: 0, entry: "0x0" },
    ]);
  });

  it("translate --walk: every entry beside it", async () => {
    const { out } = await memtool(["translate", "init_task", "--walk", "--json", ...ON_DUMP]);
    const [line] = jsonLines(out);
    expect(line).toMatchObject({ virtual: "0xffffffffbac1aa40", physical: "0x2a1aa40", pageSize: 2 << 20 });
    expect(line?.walk).toMatchObject([{ level: 4 }, { level: 3 }, { level: 2 }]);
    expect(line?.walk).toHaveProperty([0, "entryAddress"], "0x2a10ff8");
  });

  it("maps: the runs of the huge pages are where pagemap says", async () => {
    const { start, runs } = region("huge");
    const { out, status } = await memtool(["maps", start, "--length", "4M", "--json", ...ROOT, ...ON_DUMP]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toEqual([
      {
        start,
        end: "0x480000200000",
        physical: runs[0].physical,
        pageSize: 2 << 20,
        readable: true,
        writable: true,
        user: true,
        executable: false,
        global: false,
      },
      {
        start: "0x480000200000",
        end: "0x480000400000",
        physical: runs[1].physical,
        pageSize: 2 << 20,
        readable: true,
        writable: false,
        user: true,
        executable: false,
        global: false,
      },
    ]);
  });

  it("maps: neighbours differ in something that is shown", async () => {
    for (const options of [[], ROOT]) {
      const runs = jsonLines((await memtool(["maps", "--json", ...options, ...ON_DUMP])).out);
      const rows = (await memtool(["maps", ...options, ...ON_DUMP])).out.trimEnd().split("\n").slice(1);
      expect(rows).toHaveLength(runs.length);
      for (let i = 1; i < runs.length; i++) {
        const [before, { start, end, physical, ...rights }] = [runs[i - 1] ?? {}, runs[i] ?? {}];
        // Pages in a swap area have no address that could go on.
        if (before.state !== undefined || runs[i]?.state !== undefined) continue;
        const length = BigInt(before.end as string) - BigInt(before.start as string);
        const follows =
          before.end === start && BigInt(before.physical as string) + length === BigInt(physical as string);
        if (!follows) continue;
        expect(before, end as string).not.toMatchObject(rights);
        expect(rows[i]?.slice(60), end as string).not.toBe(rows[i - 1]?.slice(60));
      }
    }
  });

  it("maps: no length has no runs", async () => {
    const { status, out } = await memtool(["maps", "init_task", "--length", "0", ...ON_DUMP]);
    expect([status, out]).toEqual([0, ""]);
  });

  it("symbols: name, address, type; and the offset from the one near an address", async () => {
    const { out } = await memtool(["symbols", "init_task", "init_pid_n?", "--json", ...ON_DUMP]);
    expect(jsonLines(out)).toEqual([
      { name: "init_task", address: "0xffffffffbac1aa40", type: "D" },
      { name: "init_pid_ns", address: "0xffffffffbac59420", type: "D" },
    ]);
    const near = await memtool(["symbols", "--near", truth.stops.kernel.registers.rip, "--json", ...ON_DUMP]);
    const [found] = jsonLines(near.out);
    expect(`${found?.name}+${found?.offset}`).toBe(truth.stops.kernel.symbol);
    const text = await memtool(["symbols", "--near", truth.stops.kernel.registers.rip, ...ON_DUMP]);
    expect(text.out).toBe(`${truth.stops.kernel.registers.rip}  T  ${truth.stops.kernel.symbol}\n`);
  });

  it("read: good runs and holes, ascending, that cover the range", async () => {
    const { out, status, err } = await memtool([
      "read",
      "0x40010000f000",
      "--length",
      "0x12000",
      "--json",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(status).toBe(3);
    const lines = jsonLines(out);
    expect(lines).toEqual([
      { address: "0x40010000f000", length: 4096, hex: expect.any(String) },
      { address: "0x400100010000", length: 0x10000, state: "not-present", level: 1 },
      { address: "0x400100020000", length: 4096, hex: expect.any(String) },
    ]);
    expect(lines[0]?.hex).toBe(Buffer.from(patternPage(0x40010000f000n, 0)).toString("hex"));
    expect(lines[2]?.hex).toBe(Buffer.from(patternPage(0x400100020000n, 0)).toString("hex"));
    expect(err).toContain("0x400100010000 to 0x400100020000  64 KiB  not-present (level 1)");
  });

  it("read: at most 64 KiB a line, which together are the bytes", async () => {
    const { out, status } = await memtool([
      "read",
      "0x100000040001",
      "--length",
      "200000",
      "--json",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(status).toBe(0);
    const lines = jsonLines(out);
    expect(lines.map(({ length }) => length)).toEqual([65536, 65536, 65536, 3392]);
    expect(lines.map(({ address }) => address)).toEqual([
      "0x100000040001",
      "0x100000050001",
      "0x100000060001",
      "0x100000070001",
    ]);
    const raw = await memtool([
      "read",
      "0x100000040001",
      "--length",
      "200000",
      "--format",
      "raw",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(raw.stdout.toString("hex")).toBe(lines.map(({ hex }) => hex).join(""));
  });

  it("info: one object with the truth in it", async () => {
    const { out, status } = await memtool(["info", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const [info, more] = jsonLines(out);
    expect(more).toBeUndefined();
    expect(info).toMatchObject({
      target: `file:${DUMP}`,
      format: "kdump",
      size: 9420589,
      architecture: "x86_64",
      paging: { format: "x86-64", source: "the kernel" },
      present: truth.fixture.pagesStored * 4096,
      kernel: {
        release: truth.kernel.release,
        physBase: "-0x38200000",
        root: "0x2a10000",
        verified: true,
        found: { vmcoreinfo: "note", root: "swapper_pg_dir" },
        symbols: 87347,
      },
      cpus: [{ cpu: 0, cr3: truth.stops.kernel.root, rip: truth.stops.kernel.registers.rip }],
    });
    const excluded = Object.values(info?.excluded as Record<string, number>).reduce(
      (sum, bytes) => sum + bytes,
      0,
    );
    expect(excluded).toBe((truth.fixture.pagesInRam - truth.fixture.pagesStored) * 4096);
  });
});

describe("addresses", () => {
  it("are physical, virtual, symbols and offsets of them, and all show the same bytes", async () => {
    const ways = [
      ["linux_banner"],
      ["linux_banner+0x10-16"],
      ["0xffffffffba31ffe0"],
      [BigInt("0xffffffffba31ffe0").toString()],
      ["linux_banner", "--physical"],
      ["0x211ffe0", "--physical"],
      ["linux_banner", "--root", truth.stops.kernel.root],
    ];
    for (const way of ways) {
      const { out, status } = await memtool([
        "read",
        ...way,
        "--length",
        "13",
        "--format",
        "raw",
        ...ON_DUMP,
      ]);
      expect([out, status], way.join(" ")).toEqual(["Linux version", 0]);
    }
  });

  it("several are answered in their order", async () => {
    const { out } = await memtool([
      "read",
      "init_task",
      "linux_banner",
      "0xffffffffba31ffe0",
      "--length",
      "2",
      "--json",
      ...ON_DUMP,
    ]);
    expect(jsonLines(out).map(({ address }) => address)).toEqual([
      "0xffffffffbac1aa40",
      "0xffffffffba31ffe0",
      "0xffffffffba31ffe0",
    ]);
  });

  it("an unknown symbol suggests similar ones, an ambiguous one lists what it could be", async () => {
    const unknown = await memtool(["read", "linux_baner", ...ON_DUMP]);
    expect([unknown.status, unknown.out]).toEqual([1, ""]);
    expect(unknown.err).toContain('no kernel symbol "linux_baner"; did you mean linux_banner');
    const ambiguous = await memtool(["read", "__func__.0", ...ON_DUMP]);
    expect(ambiguous.status).toBe(1);
    expect(ambiguous.err).toMatch(
      /365 symbols are named "__func__.0": 0xffffffff[0-9a-f]+ \(d\), .*349 more/,
    );
  });

  it("a root outside of RAM is a table that is missing", async () => {
    const { out, status } = await memtool([
      "translate",
      "0x1000",
      "--root",
      "0xffffff000",
      "--json",
      ...ON_DUMP,
    ]);
    expect(status).toBe(1);
    expect(jsonLines(out)).toEqual([
      { virtual: "0x1000", state: "table-missing", level: 4, entry: "0x0", cause: "outside" },
    ]);
  });
});

describe("usage errors exit with 2 and say what to do", () => {
  it.each<[string, string[], string]>([
    ["no command", [], "one of info, coverage, read"],
    ["an unknown command", ["raed"], "unknown command"],
    ["an unknown option", ["read", "0", "--lenght", "5", ...ON_DUMP], "--length"],
    ["no target", ["info"], "-f FILE"],
    ["two targets", ["info", ...ON_DUMP, "-c", "proc:1"], "not both"],
    ["no address", ["read", ...ON_DUMP], "--stdin"],
    ["a bad address", ["read", "12ab", ...ON_DUMP], "0x12ab"],
    ["an address beyond 64 bits", ["read", "0x10000000000000000", ...ON_DUMP], "2^64"],
    ["a range across the end", ["read", "0xfffffffffffffff0", "--length", "17", ...ON_DUMP], "cross the end"],
    ["a bad length", ["read", "0", "--length", "x", ...ON_DUMP], "not a length"],
    ["a bad format", ["read", "0", "--format", "yaml", ...ON_DUMP], "hex, raw, json"],
    ["a bad byte", ["read", "0", "--format", "raw", "--fill", "256", ...ON_DUMP], "not a byte"],
    ["--fill without raw", ["read", "0", "--fill", "0", ...ON_DUMP], "--format raw"],
    ["a bad root", ["read", "0", "--root", "swapper_pg_dir", ...ON_DUMP], "physical address"],
    ["two spaces", ["read", "0", "--root", "0x1000", "--physical", ...ON_DUMP], "exclude each other"],
    ["--pid", ["read", "0", "--pid", "1", ...ON_DUMP], "--root CR3"],
    ["translate without page tables", ["translate", "0", "--physical", ...ON_DUMP], "needs page tables"],
    ["write without --write", ["write", "0", "00", ...ON_DUMP], "say so with --write"],
    ["write of half a byte", ["write", "0", "000", "--write", ...ON_DUMP], "two each"],
    ["symbols without a name", ["symbols", ...ON_DUMP], "--near"],
    ["a command like another", ["red"], "unknown command 'red'; did you mean read?"],
    ["help of no command", ["help", "red"], "unknown command 'red': one of info, coverage, read"],
    ["-c twice", ["info", "-c", "proc:1", "-c", "proc:2"], 'It comes after "proc:1": give one'],
    ["no such connector", ["info", "-c", "prc:1"], "did you mean proc"],
    ["a connector's target", ["info", "-c", "proc:abc"], "as in proc:1234"],
    ["a connector's option", ["info", "-c", "proc:1:speed=9"], "no option speed"],
    ["a block that is no power of two", ["coverage", "--block", "3M", ...ON_DUMP], "power of two"],
    ["a picture over the dump", ["coverage", "--svg", DUMP, ...ON_DUMP], "is the dump itself"],
    ["a picture without a name", ["coverage", "--svg", "", ...ON_DUMP], "name of the file is empty"],
    ["a bad map", ["info", "--map", "0-3G,4G", ...ON_DUMP], '"4G" is no range'],
    ["a map that is no file", ["info", "--map", "/nowhere.map", ...ON_DUMP], "nor a file that can be read"],
    [
      "a map for a dump that has its own",
      ["info", "--map", "0-4K", ...ON_DUMP],
      "this is a dump of the format kdump",
    ],
    ["a map for a process", ["info", "--map", "0-4K", "-c", "proc:1"], "for raw images"],
    [
      "--map twice",
      ["info", "--map", "0-1K", "--map", "1K-4K", ...ON_DUMP],
      'It comes after "0-1K": give one',
    ],
    [
      "--dump-format twice",
      ["info", "--dump-format", "raw", "--dump-format", "kdump", ...ON_DUMP],
      'It comes after "raw": give one',
    ],
    ["two maps", ["info", "--map", "0-4K", "-c", `file:${DUMP}:map=0-4K`], "given twice"],
    [
      "no such dump format",
      ["info", "--dump-format", "elf", ...ON_DUMP],
      `there are ${FORMATS.map(({ name }) => name).join(", ")}`,
    ],
  ])("%s", async (_what, args, message) => {
    const { status, out, err } = await memtool(args);
    expect(err).toContain(message);
    expect([status, out]).toEqual([2, ""]);
    expect(err).toMatch(/^memtool: [^\n]+\n$/);
    expect(err).not.toContain("\\x");
  });

  it("also where the target is wrong as well", async () => {
    expect((await memtool(["read", "12ab", "-f", "/nowhere"])).status).toBe(2);
  });
});

describe("info", () => {
  it("has the kernel whatever address space is chosen", async () => {
    for (const options of [["--physical"], ROOT]) {
      const { out, status } = await memtool(["info", "--json", ...options, ...ON_DUMP]);
      expect(status).toBe(0);
      expect(jsonLines(out)[0]).toMatchObject({ kernel: { release: truth.kernel.release } });
    }
  });

  it("says once that there is no kernel", async () => {
    const path = file("no-kernel", new Uint8Array(4096));
    const { out, err, status } = await memtool(["info", "-f", path]);
    expect([status, err]).toEqual([0, ""]);
    expect(out.match(/no Linux kernel found/g)).toHaveLength(1);
  });
});

describe("info of memory that is partly there", () => {
  it("says how much is present, zero, left out and why, in words and in numbers", async () => {
    // Ranges beyond the file's end are truncated.
    const path = file("short.raw", new Uint8Array(0x3000).fill(1));
    const args = ["info", "--physical", "-f", path, "--map", "0-0x1000,0x10000-0x14000"];
    const { out } = await memtool(args);
    expect(out).toMatch(
      /^present +12 KiB of 20 KiB RAM\nexcluded +8 KiB, missing: the file ends before it\n/m,
    );
    expect(out).toMatch(/^outside +60 KiB below 0x14000\n/m);
    expect(out).toContain("\nmap ranges  2\n");
    expect(out).toContain("warning: the memory map reaches beyond the end of the file: 8192 bytes");
    const [facts] = jsonLines((await memtool([...args, "--json"])).out);
    expect(facts).toMatchObject({
      ram: 0x5000,
      present: 0x3000,
      excluded: { truncated: 0x2000 },
      outside: 0xf000,
      details: { bytes: 0x3000, mapRanges: 2 },
    });
    expect(facts).not.toHaveProperty("zero");
  });

  it("tells the holes of a sparse raw image where the file system does", async () => {
    const path = file("sparse.raw", "data");
    truncateSync(path, 2 ** 24);
    const [facts] = jsonLines((await memtool(["info", "--json", "-f", path])).out);
    // Not every file system has holes.
    const isSparse = statSync(path).blocks * 512 < 2 ** 23;
    expect(facts?.zero ?? 0).toBeGreaterThan(isSparse ? 2 ** 23 : -1);
    if (isSparse)
      expect((await memtool(["info", "-f", path])).out).toMatch(/present +16 MiB, .* of it marked as zero/);
  });
});

describe("a raw image with a memory map", () => {
  it("is read where the map says, however the map is given", async () => {
    const bytes = Uint8Array.from({ length: 0x3000 }, (_, i) => (i >>> 8) ^ i);
    const path = file("guest.raw", bytes);
    const map = "0-0x2000@0,0x100000000-0x100001000@0x2000";
    const mapFile = file(
      "guest.map",
      "# a guest\n00000000-00001fff : System RAM\n100000000-100000fff : System RAM\n",
    );
    for (const target of [
      ["-f", path, "--map", map],
      ["-f", path, "--map", mapFile],
      ["-f", path, "--map", `@${mapFile}`],
      ["-c", `file:${path}:map=${map}`],
      ["-c", `file:${path}:map=${mapFile}`],
    ]) {
      const read = await memtool([
        "read",
        "0x100000800",
        "--length",
        "4K",
        "--json",
        "--physical",
        ...target,
      ]);
      expect(jsonLines(read.out), target.join(" ")).toEqual([
        { address: "0x100000800", length: 2048, hex: Buffer.from(bytes.slice(0x2800)).toString("hex") },
        { address: "0x100001000", length: 2048, state: "outside" },
      ]);
    }
  });
});

describe("coverage", () => {
  it("draws the dump: rows of blocks, legend, sums; the same without a terminal as with NO_COLOR", async () => {
    const { out, err, status } = await memtool(["coverage", ...ON_DUMP]);
    expect([status, err]).toEqual([0, ""]);
    const lines = out.split("\n");
    expect(lines[0]).toBe(`file:${DUMP} (kdump): 64 KiB a block, 4 MiB a row`);
    const rows = lines.filter((line) => line.startsWith("0x"));
    expect(rows).toHaveLength(28);
    for (const [i, row] of rows.entries()) {
      expect(row).toMatch(/^0x[0-9a-f]{7} [█▓▒░0x]{64}$/);
      expect(Number(row.slice(0, 9))).toBe(i * 4 * 2 ** 20);
    }
    expect(out).toContain(
      "█ present   ▓▒░ partly (over 2/3, over 1/3, less)   0 present, all zero   x excluded\n",
    );
    expect(out).toContain("present   60.6 MiB of 112 MiB RAM, 13.4 MiB of it marked as zero\n");
    expect(out).not.toContain("\x1b");
    expect((await memtool(["coverage", ...ON_DUMP], { env: { NO_COLOR: "1" } })).out).toBe(out);
    const narrow = await memtool(["coverage", ...ON_DUMP], { env: { COLUMNS: "40" } });
    for (const line of narrow.out.split("\n").filter((text) => text.startsWith("0x"))) {
      expect(line).toMatch(/^0x[0-9a-f]{7} .{16}$/);
    }
  });

  it("--json: one object whose blocks sum up to what info says", async () => {
    const [info] = jsonLines((await memtool(["info", "--json", ...ON_DUMP])).out);
    for (const options of [[], ["--block", "4K"], ["--block", "1G"]]) {
      const { out, status } = await memtool(["coverage", "--json", ...options, ...ON_DUMP]);
      const [object, more] = jsonLines(out);
      expect([status, more]).toEqual([0, undefined]);
      const { blocks, ...rest } = object as { blocks: Record<string, string | number>[] };
      expect(rest).toEqual({
        target: `file:${DUMP}`,
        format: "kdump",
        blockSize: options.length === 0 ? 65_536 : options[1] === "4K" ? 4096 : 2 ** 30,
        end: "0x7000000",
        present: info?.present,
        zero: info?.zero,
        excluded: info?.excluded,
        outside: info?.outside,
      });
      expect(info?.zero).toBe(3428 * 4096);
      const sum = (key: string) => blocks.reduce((total, block) => total + (block[key] as number), 0);
      expect(sum("present")).toBe(info?.present);
      expect(sum("zero")).toBe(info?.zero);
      expect(sum("excluded")).toBe(112 * 2 ** 20 - (info?.present as number));
      expect(sum("zero")).toBe(info?.zero);
      for (const { start, end, present, zero, excluded, outside } of blocks) {
        expect(Number(end) - Number(start)).toBe(
          (present as number) + (excluded as number) + (outside as number),
        );
        expect(zero).toBeLessThanOrEqual(present as number);
      }
    }
  });

  it("--svg writes a picture of the dump and leaves nothing else behind", async () => {
    const path = join(folder, "coverage.svg");
    const before = readdirSync(folder);
    const { out, status } = await memtool(["coverage", "--svg", path, ...ON_DUMP]);
    expect([status, out]).toEqual([0, `${path}: 32 KiB a block\n`]);
    const svg = readFileSync(path, "utf8");
    expect(svg).toContain(`<title id="title">Memory in ${DUMP}</title>`);
    expect(svg).toContain(">0x1c00000<");
    expect(readdirSync(folder).sort()).toEqual([...before, "coverage.svg"].sort());
    const both = await memtool(["coverage", "--json", "--svg", path, ...ON_DUMP]);
    expect(jsonLines(both.out)).toHaveLength(1);
    const nowhere = await memtool(["coverage", "--svg", join(folder, "no", "x.svg"), ...ON_DUMP]);
    expect([nowhere.status, nowhere.out]).toEqual([1, ""]);
    expect(nowhere.err).toContain("no such file or directory (ENOENT)");
  });

  it("too many blocks are a usage error that says what to do", async () => {
    const path = file("large.raw", "");
    truncateSync(path, 2 ** 33);
    const { status, out, err } = await memtool(["coverage", "--block", "4K", "-f", path]);
    expect([status, out]).toEqual([2, ""]);
    expect(err).toContain("choose larger ones (--block SIZE)");
  });

  it("folds what is no memory in a large address space", async () => {
    const path = file("holes.raw", new Uint8Array(0x20000).fill(1));
    const map = "0-64K,512G-0x8000010000";
    const { out } = await memtool(["coverage", "--block", "4K", "-f", path, "--map", map]);
    expect(out.split("\n").slice(2, 5)).toEqual([
      `0x0000000000 ${"█".repeat(16)}${"·".repeat(48)}`,
      "             … about 512 GiB outside, up to 0x8000000000",
      `0x8000000000 ${"█".repeat(16)}`,
    ]);
  });

  it("shows what a process has mapped", async () => {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    try {
      await once(child, "spawn");
      const { out, status } = await memtool(["coverage", "-c", `proc:${child.pid}`]);
      expect(status).toBe(0);
      expect(out).toContain(`proc:${child.pid} (virtual): `);
      expect(out).toMatch(/^█ mapped {3}/m);
      expect(out).toMatch(/^ +… .* not mapped, up to 0x/m);
      expect(out).toMatch(/^mapped {6}.*[KM]iB\nnot mapped /m);
      const rows = out.split("\n").filter((line) => line.startsWith("0x"));
      expect(rows.length).toBeLessThanOrEqual(32);
    } finally {
      child.kill();
    }
  });
});

describe("options", () => {
  it("stand before and after the command", async () => {
    const after = await memtool(["read", "linux_banner", "--length", "16", "--json", ...ON_DUMP]);
    const before = await memtool([...ON_DUMP, "--json", "read", "--length", "16", "linux_banner"]);
    expect(before).toEqual(after);
  });

  it("the target may come from MEMTOOL_TARGET, a path or a connector", async () => {
    const dump = await memtool(["read", "linux_banner", "--length", "5", "--format", "raw"], {
      env: { MEMTOOL_TARGET: DUMP },
    });
    expect(dump.out).toBe("Linux");
    const connector = await memtool(["info", "--json"], { env: { MEMTOOL_TARGET: `file:${DUMP}` } });
    expect(jsonLines(connector.out)[0]).toMatchObject({ format: "kdump" });
  });

  it("--version and --help succeed, and every command's help has an example", async () => {
    const version = await memtool(["--version"]);
    expect(version).toMatchObject({
      status: 0,
      err: "",
      out: `${JSON.parse(readFileSync("package.json", "utf8")).version}\n`,
    });
    for (const command of ["", "info", "coverage", "read", "translate", "maps", "symbols", "write"]) {
      const { status, out, err } = await memtool([...(command === "" ? [] : [command]), "--help"]);
      expect([status, err]).toEqual([0, ""]);
      expect(out).toMatch(/Example:\n {2}\$ memtool /);
      expect(out).toContain("--file <file>");
    }
  });

  it("the examples of the help run", async () => {
    for (const command of ["info", "coverage", "read", "translate", "maps", "symbols"]) {
      const { out } = await memtool([command, "--help"]);
      const words = /\$ memtool (.*)/.exec(out)?.[1]?.replaceAll("'", "").split(" ") ?? [];
      const run = await memtool(words);
      expect([run.status, run.err], words.join(" ")).toEqual([0, ""]);
    }
  });

  it("there is no colour in a pipe", async () => {
    for (const args of [["maps"], ["read", "0x0"], ["symbols", "nothing_like_it"]]) {
      const { out, err } = await memtool([...args, ...ON_DUMP]);
      expect(out + err).not.toContain("\x1b");
    }
  });
});

describe("what can't be read", () => {
  it("is shown as such", async () => {
    const { out, status, err } = await memtool([
      "read",
      "0x11fff8",
      "--length",
      "4K",
      "--physical",
      ...ON_DUMP,
    ]);
    expect(status).toBe(3);
    expect(out).toBe(
      "000000000011fff8  00 00 00 00 00 00 00 00  ·· ·· ·· ·· ·· ·· ·· ··  |........        |\n" +
        "0000000000120008  ·· ·· ·· ·· ·· ·· ·· ··  ·· ·· ·· ·· ·· ·· ·· ··  excluded\n" +
        "*\n" +
        "0000000000120fe8  ·· ·· ·· ·· ·· ·· ·· ··  ·· ·· ·· ·· ·· ·· ·· ··  excluded\n",
    );
    expect(err).toBe(
      "memtool: about 4 KiB of 4 KiB could not be read (ends are exclusive):\n" +
        "  0x120000 to 0x120ff8  about 4 KiB  excluded\n",
    );
  });

  it("stops a raw output, unless it is filled or left out", async () => {
    const args = ["read", "0x11fff8", "--length", "16", "--physical", "--format", "raw", ...ON_DUMP];
    const stopped = await memtool(args);
    expect([stopped.status, stopped.stdout.length]).toEqual([1, 8]);
    expect(stopped.err).toContain("stopped at 0x120000");
    expect(stopped.err).toContain("--fill");
    const filled = await memtool([...args, "--fill", "0xaa"]);
    expect([filled.status, filled.stdout.toString("hex")]).toEqual([3, "0000000000000000aaaaaaaaaaaaaaaa"]);
    const left = await memtool([...args, "--skip-holes"]);
    expect([left.status, left.stdout.length]).toEqual([3, 8]);
  });

  it("length 0 reads nothing, and is no failure", async () => {
    for (const address of ["0x0", "linux_banner", "0xffffffffffffffff"]) {
      expect(await memtool(["read", address, "--length", "0", ...ON_DUMP])).toMatchObject({
        status: 0,
        out: "",
        err: "",
      });
    }
  });

  it("a whole address space is read, holes of 2^47 bytes at once, in bounded memory", async () => {
    const { out, status } = await memtool(
      ["read", "0x0", "--length", "0xffff8a00c0000000", "--json", ...ON_DUMP],
      {
        env: { NODE_OPTIONS: "--max-old-space-size=64" },
      },
    );
    expect(status).toBe(1);
    expect(jsonLines(out)).toEqual([
      { address: "0x0", length: 2 ** 47, state: "not-present", level: 4 },
      { address: "0x800000000000", length: "0xffff000000000000", state: "non-canonical" },
      { address: "0xffff800000000000", length: 0xa0000000000, state: "not-present", level: 4 },
      { address: "0xffff8a0000000000", length: 0xc0000000, state: "not-present", level: 3 },
    ]);
    const physical = await memtool([
      "read",
      "0x7000000",
      "--length",
      "15T",
      "--physical",
      "--json",
      ...ON_DUMP,
    ]);
    expect(jsonLines(physical.out)).toEqual([
      { address: "0x7000000", length: 15 * 2 ** 40, state: "outside" },
    ]);
    const beyond = await memtool([
      "read",
      "0x7000000",
      "--length",
      "0xffffffff00000000",
      "--physical",
      "--json",
      ...ON_DUMP,
    ]);
    expect(jsonLines(beyond.out)).toEqual([
      { address: "0x7000000", length: "0xffffffff00000000", state: "outside" },
    ]);
    // No physical address, though an address of 64 bits.
    const virtual = await memtool(["read", "0xffffffff81000000", "--physical", "--json", ...ON_DUMP]);
    expect(jsonLines(virtual.out)).toEqual([
      { address: "0xffffffff81000000", length: 256, state: "outside" },
    ]);
  });

  it("a raw image is streamed whole, and the kernel is found in it by a scan", async () => {
    const { stdout, status } = await memtool([
      "read",
      "0",
      "--length",
      "112M",
      "--physical",
      "--format",
      "raw",
      "--fill",
      "0",
      ...ON_DUMP,
    ]);
    expect([status, stdout.length]).toEqual([3, 112 << 20]);
    const raw = file("raw", stdout);
    const info = await memtool(["info", "--json", "-f", raw]);
    expect(jsonLines(info.out)[0]).toMatchObject({
      kernel: { verified: true, found: { vmcoreinfo: "scan" } },
    });
    const banner = await memtool(["read", "linux_banner", "--length", "13", "--format", "raw", "-f", raw]);
    expect(banner).toMatchObject({ out: "Linux version", status: 0 });
  });
});

describe("--stdin", () => {
  it("a directory as standard input is a usage error, not the end of the input", () => {
    const directory = openSync(".", "r");
    const { status, stderr } = spawnSync(process.execPath, ["dist/cli.js", "read", "--stdin", ...ON_DUMP], {
      stdio: [directory, "pipe", "pipe"],
      encoding: "utf8",
    });
    closeSync(directory);
    expect([status, stderr]).toEqual([2, "memtool: --stdin: standard input is a directory\n"]);
  });

  it("answers in order, reports bad lines by their number, and goes on", async () => {
    const input =
      "linux_banner 4\n\n# comment\nno_such_thing\ninit_task 2\n0x5 0x6 0x7\n0x0 3\nlinux_banner+4 2";
    const { out, err, status } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    expect(status).toBe(3);
    expect(jsonLines(out)).toEqual([
      { address: "0xffffffffba31ffe0", length: 4, hex: "4c696e75" },
      { address: "0xffffffffbac1aa40", length: 2, hex: "0040" },
      { address: "0x0", length: 3, state: "not-present", level: 4 },
      { address: "0xffffffffba31ffe4", length: 2, hex: "7820" },
    ]);
    expect(err).toContain("line 4: no kernel symbol");
    expect(err).toContain("line 6: more than ADDRESS [LENGTH]");
  });

  it("long and short requests keep their order", async () => {
    const lengths = [1, 100_000, 2, 3_000_000, 0, 5];
    const input = lengths.map((length) => `0xffff8a00c2000000 ${length}\n`).join("");
    const { out } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    const sums: number[] = [];
    for (const { address, length } of jsonLines(out)) {
      if (address === "0xffff8a00c2000000") sums.push(0);
      sums[sums.length - 1] = (sums.at(-1) ?? 0) + (length as number);
    }
    expect(sums).toEqual(lengths.filter((length) => length > 0));
  });

  it("answers a line at once to who waits for it", async () => {
    const child = startMemtool(["translate", "--stdin", "--json", ...ON_DUMP]);
    const { stdin, stdout } = child;
    if (stdin === null || stdout === null) throw new Error("pipes were asked for");
    for (const address of ["init_task", "linux_banner"]) {
      stdin.write(`${address}\n`);
      const [chunk] = (await once(stdout, "data")) as [Buffer];
      expect(jsonLines(chunk.toString())).toHaveLength(1);
    }
    stdin.end();
    expect((await once(child, "close"))[0]).toBe(0);
  });

  it("translates thousands of lines", async () => {
    const run = region("dense");
    const pages = Array.from(
      { length: 1536 },
      (_, i) => `0x${(BigInt(run.start) + BigInt(i * 4096)).toString(16)}`,
    );
    const input = [...pages, ...pages, ...pages].join("\n");
    const { out, status } = await memtool(["translate", "--stdin", "--json", ...ROOT, ...ON_DUMP], { input });
    expect(status).toBe(0);
    const lines = jsonLines(out);
    expect(lines.map(({ virtual }) => virtual)).toEqual([...pages, ...pages, ...pages]);
    const physical = new Map(lines.map((line) => [line.virtual, line.physical]));
    for (const { start, physical: expected } of run.runs) expect(physical.get(start)).toBe(expected);
  });

  it("thousands of unknown symbols are told soon, the first ones with similar names", async () => {
    const count = 3000;
    const input = `${"linux_baner\n".repeat(count)}linux_banner 5\n`;
    const { out, status, err } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    expect([status, jsonLines(out).length]).toEqual([3, 1]);
    const lines = err.trimEnd().split("\n");
    expect(lines).toHaveLength(count);
    expect(lines[0]).toContain("did you mean linux_banner");
    expect(lines.at(-1)).toBe(`memtool: line ${count}: no kernel symbol "linux_baner"`);
  }, 20_000);

  it("a line of a megabyte is a bad line, and no more", async () => {
    const input = `${"1".repeat(1 << 20)}\nlinux_banner 4\n`;
    const { out, err, status } = await memtool(["read", "--stdin", "--json", ...ON_DUMP], { input });
    expect(jsonLines(out)).toHaveLength(1);
    expect([status, err]).toEqual([3, "memtool: line 1: longer than 64 KiB\n"]);
  });

  it("only bad lines are a failure, and no lines are none", async () => {
    expect((await memtool(["read", "--stdin", ...ON_DUMP], { input: "x y z\n" })).status).toBe(1);
    expect((await memtool(["translate", "--stdin", ...ON_DUMP], { input: "" })).status).toBe(0);
  });
});

describe("a reader that goes away", () => {
  it("ends the command quietly", async () => {
    for (const args of [
      ["symbols", "*"],
      ["read", "0xffff8a00c2000000", "--length", "16M"],
      ["maps", "--json"],
    ]) {
      const { err, status } = await memtool([...args, ...ON_DUMP], { closeAfter: 100 });
      expect([status, err], args.join(" ")).toEqual([0, ""]);
    }
  });
});

describe("hostile targets", () => {
  it("names of symbols can't control the terminal, nor break JSON", async () => {
    const path = file("hostile", new DummyKernel({ textAt: 0x9000 }).ram);
    const text = await memtool(["symbols", "*red*", "-f", path]);
    expect(text.out).toBe("0xffffffff91050000  d  \\x1b[31mred\\x9b\n");
    const json = await memtool(["symbols", "*red*", "--json", "-f", path]);
    expect(json.out).toContain("\\u001b[31mred\\u009b");
    expect(jsonLines(json.out)[0]?.name).toBe("\x1b[31mred\x9b");
    const error = await memtool(["read", "\x1b[31mred", "-f", path]);
    expect(error.err).not.toContain("\x1b");
  });

  it("a release that controls the terminal does not", async () => {
    const kernel = new DummyKernel({ textAt: 0x9000 });
    kernel.put(kernel.text.replace("6.1.0-dummy", "6\x1b]0;x\x07"), 0x9000);
    const { out } = await memtool(["info", "-f", file("release", kernel.ram)]);
    expect(out).toContain("6\\x1b]0;x\\x07");
    expect(out).not.toContain("\x1b");
  });

  it("files that are none, empty or cut off say so, quickly", async () => {
    const dump = readFileSync(DUMP);
    const cases: [string, string][] = [
      [folder, "directory"],
      [join(folder, "nothing"), "no such file"],
      [file("empty", ""), "empty"],
      [file("header", dump.subarray(0, 100)), "header"],
      [file("cut", dump.subarray(0, 5000)), "cut"],
    ];
    for (const [path, what] of cases) {
      const { status, out, err } = await memtool(["info", "-f", path]);
      expect([status, out], what).toEqual([1, ""]);
      expect(err, what).toContain(path);
    }
  });

  it("page tables that loop end", async () => {
    const ram = new Uint8Array(0x10000);
    const view = new DataView(ram.buffer);
    for (let i = 0; i < 512; i++) view.setBigUint64(0x1000 + 8 * i, 0x1003n, true);
    const path = file("loop", ram);
    const { status, out } = await memtool(["maps", "--root", "0x1000", "-f", path]);
    expect(status).toBe(1);
    expect(out).toContain("malformed");
  });

  it("where no kernel is, addresses are physical, and it says so", async () => {
    const path = file("zeros", new Uint8Array(8192));
    const { status, out, err } = await memtool(["read", "0x10", "--length", "4", "-f", path]);
    expect([status, out]).toEqual([0, `0000000000000010  00 00 00 00${" ".repeat(39)}|....|\n`]);
    expect(err).toContain("no Linux kernel found");
    const translate = await memtool(["translate", "0", "-f", path]);
    expect([translate.status, translate.out]).toEqual([1, ""]);
    expect(translate.err).toContain("translate needs page tables: give a root");
    expect(err).toContain("addresses are physical here");
    const symbol = await memtool(["read", "init_task", "-f", path]);
    expect([symbol.status, symbol.out]).toEqual([1, ""]);
  });
});

describe("writing", () => {
  it("changes a raw dump, reads it back, and says so", async () => {
    const path = file("writable", new DummyKernel({ textAt: 0x9000 }).ram);
    const { out, status } = await memtool(["write", "init_task+4", "de ad", "beef", "--write", "-f", path]);
    expect([status, out]).toEqual([0, "wrote 4 bytes at 0xffffffff91040004, read back and compared\n"]);
    expect(readFileSync(path).subarray(0x240004, 0x240008).toString("hex")).toBe("deadbeef");
    const from = file("bytes", "hello");
    const second = await memtool([
      "write",
      "0x240000",
      "--from",
      from,
      "--physical",
      "--write",
      "--json",
      "-f",
      path,
    ]);
    expect(jsonLines(second.out)).toEqual([{ address: "0x240000", length: 5, written: 5, verified: true }]);
    expect(readFileSync(path).subarray(0x240000, 0x240005).toString()).toBe("hello");
  });

  it("writes what can be written, and says what can't", async () => {
    const path = file("edge", new Uint8Array(4096));
    const { status, err } = await memtool(["write", "4094", "01020304", "--physical", "--write", "-f", path]);
    expect(status).toBe(3);
    expect(err).toContain("not written: 0x1000, 2 bytes (outside)");
    expect(readFileSync(path)).toHaveLength(4096);
  });

  it("refuses what can't be written", async () => {
    const copy = file("copy.kdump", readFileSync(DUMP));
    const { status, out, err } = await memtool(["write", "init_task", "00", "--write", "-f", copy]);
    expect([status, out]).toEqual([1, ""]);
    expect(err).toContain("read-only");
    expect(readFileSync(copy).equals(readFileSync(DUMP))).toBe(true);
  });

  it("says why the bytes can't be had", async () => {
    const path = file("target", new Uint8Array(4096));
    const missing = join(folder, "no\x1b[31m");
    const { status, out, err } = await memtool(["write", "0", "--from", missing, "--write", "-f", path]);
    expect([status, out]).toEqual([1, ""]);
    expect(err).toBe(`memtool: --from ${folder}/no\\x1b[31m: no such file or directory (ENOENT)\n`);
  });
});

describe("a process", () => {
  it("is read from end to end, holes of 2^47 bytes at once", async () => {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    try {
      await once(child, "spawn");
      const target = ["-c", `proc:${child.pid}`];
      const all = await memtool(["read", "0", "--length", "0x10000000000000000", "--json", ...target]);
      expect(all.status).toBe(3);
      let at = 0n;
      for (const { address, length } of jsonLines(all.out)) {
        expect(BigInt(address as string)).toBe(at);
        at += BigInt(length as string | number);
      }
      expect(at).toBe(1n << 64n);
    } finally {
      child.kill();
    }
  });

  it("has maps with rights and paths, which can't control the terminal", async () => {
    const path = join(folder, "\u{e9}\x1b[31m\u202e");
    copyFileSync("/bin/sleep", path);
    chmodSync(path, 0o755);
    const child = spawn(path, ["60"], { stdio: "ignore" });
    try {
      await once(child, "spawn");
      const target = ["-c", `proc:${child.pid}`];
      const { out } = await memtool(["maps", ...target]);
      expect(out).toMatch(/^START +END \(EXCLUSIVE\) +RIGHTS +FILE\n/);
      expect(out).toContain(`r-x private  ${folder}/\u{e9}\\x1b[31m\\u{202e}\n`);
      expect(out).toMatch(/ {2}rw- private {2}\[stack\]\n/);
      const lines = jsonLines((await memtool(["maps", "--json", ...target])).out);
      const text = lines.find((line) => line.path === path && line.executable === true);
      expect(text).toMatchObject({ readable: true, writable: false, shared: false });
      const middle = BigInt(text?.start as string) + 0x800n;
      const clipped = await memtool(["maps", `${middle}`, "--length", "16", "--json", ...target]);
      expect(jsonLines(clipped.out)).toEqual([
        {
          ...text,
          start: `0x${middle.toString(16)}`,
          end: `0x${(middle + 16n).toString(16)}`,
          offset: `0x${(BigInt(text?.offset as string) + 0x800n).toString(16)}`,
        },
      ]);
      const led = await memtool(["translate", `${middle}`, "0", ...target]);
      expect([led.status, led.out]).toEqual([
        3,
        `0x${middle.toString(16).padStart(16, "0")}  r-x private  ${folder}/\u{e9}\\x1b[31m\\u{202e}` +
          `+0x${(BigInt(text?.offset as string) + 0x800n).toString(16)}\n0x0000000000000000  not mapped\n`,
      ]);
      const asked = await memtool(["translate", "--stdin", "--json", ...target], {
        input: `${middle}\nbad\n`,
      });
      expect([asked.status, jsonLines(asked.out)]).toEqual([
        3,
        [
          {
            virtual: `0x${middle.toString(16)}`,
            ...text,
            offset: `0x${(BigInt(text?.offset as string) + 0x800n).toString(16)}`,
          },
        ],
      ]);
      expect(asked.err).toContain("line 2: ");
      const walked = await memtool(["translate", `${middle}`, "--walk", ...target]);
      expect([walked.status, walked.err]).toEqual([2, expect.stringContaining("one process's memory")]);
      const nothing = await memtool(["maps", "0", "--length", "4096", ...target]);
      expect([nothing.status, nothing.out]).toEqual([0, ""]);
      expect(nothing.err).toContain("nothing is mapped from 0x0 to 0x1000");
    } finally {
      child.kill();
    }
  });

  it("is read and written through its connector", async () => {
    const source =
      "const b = new Uint8Array(64); b.set([109,101,109,116,111,111,108,45,109,97,114,107]);" +
      "console.log('ready'); setInterval(() => console.log(b[0]), 50);";
    const child = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await once(child.stdout, "data");
      const target = ["-c", `proc:${child.pid}`];
      const maps = await memtool(["maps", "--json", ...target]);
      const [first] = jsonLines(maps.out);
      expect(first).toEqual({
        start: expect.stringMatching(/^0x/),
        end: expect.stringMatching(/^0x/),
        readable: true,
        writable: false,
        executable: expect.any(Boolean),
        shared: false,
        offset: "0x0",
        path: expect.stringMatching(/node$/),
      });
      const read = await memtool(["read", first?.start as string, "--length", "4", "--json", ...target]);
      // An ELF file begins there.
      expect(jsonLines(read.out)[0]).toEqual({ address: first?.start, length: 4, hex: "7f454c46" });
      const physical = await memtool(["read", "0", "--physical", ...target]);
      expect([physical.status, physical.err]).toEqual([2, expect.stringContaining("no physical addresses")]);
      const symbol = await memtool(["read", "init_task", ...target]);
      expect([symbol.status, symbol.err]).toEqual([2, expect.stringContaining("no kernel symbols")]);
      const readOnly = await memtool(["write", first?.start as string, "7f", ...target]);
      expect(readOnly.status).toBe(2);
      const written = await memtool(["write", first?.start as string, "7f", "--write", ...target]);
      expect([written.status, written.err]).toEqual([0, ""]);
    } finally {
      child.kill();
    }
  });
});
