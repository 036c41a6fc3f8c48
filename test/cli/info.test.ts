/** `info`, `coverage`, and raw images with a memory map. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { DUMP, ON_DUMP, ROOT, testFolder, truth } from "../support/cli-dump.js";
import { expectWellFormed } from "../support/xml.js";

const { file, folder } = testFolder();

describe("info", () => {
  it("has the kernel whatever address space is chosen", async () => {
    for (const options of [["--physical"], ROOT]) {
      const { out, status } = await memtool(["info", "--json", ...options, ...ON_DUMP]);
      expect(status).toBe(0);
      expect(jsonLines(out)[0]).toMatchObject({ kernel: { release: truth.kernel.release } });
    }
  });

  it("--svg draws what it says, and memory below, and does not replace the dump", async () => {
    const path = join(folder, "info.svg");
    const { out, status } = await memtool(["info", "--svg", path, ...ON_DUMP]);
    expect(status).toBe(0);
    expect(out).toContain(truth.kernel.release);
    const svg = readFileSync(path, "utf8");
    expectWellFormed(svg);
    expect(svg).toContain(`>${truth.kernel.release}</text>`);
    expect(svg).toContain(">present, all zero</text>");
    const dump = file("precious.raw", new Uint8Array(8192).fill(7));
    expect(await memtool(["info", "--svg", dump, "-f", dump])).toMatchObject({ status: 2, out: "" });
    expect(readFileSync(dump)[0]).toBe(7);
  });

  it("--svg escapes what the dump says, and draws a target without a kernel", async () => {
    const path = join(folder, "none.svg");
    const raw = file("a<b&c.raw", new Uint8Array(8192).fill(7));
    expect(await memtool(["info", "--svg", path, "-f", raw])).toMatchObject({ status: 0, err: "" });
    const svg = readFileSync(path, "utf8");
    expectWellFormed(svg);
    expect(svg).toContain("a&lt;b&amp;c.raw");
    expect(svg).toContain("no Linux kernel found");
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
    expect(out).toContain("present   64.1 MiB of 112 MiB RAM, 13.5 MiB of it marked as zero\n");
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
      expect(info?.zero).toBe(3465 * 4096);
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
