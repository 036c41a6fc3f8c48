/** `memtool convert`, as it is built. */
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { pattern } from "../support/bytes.js";
import { jsonLines, memtool, startMemtool } from "../support/cli.js";
import { writeKdump } from "../support/write-kdump.js";

const FIXTURE = resolve("fixtures/linux-6.1-x86_64.kdump");

const root = mkdtempSync(join(tmpdir(), "memtool-cli-convert-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(root, String(count++));
  mkdirSync(folder);
});
const at = (name: string) => join(folder, name);

describe("the shipped fixture", () => {
  it("goes to ELF and back to kdump, and every byte and note is as before", async () => {
    const first = await memtool(["convert", at("a.elf"), "--verify", "-f", FIXTURE]);
    expect(first.err).toMatch(/^(memtool: of \d+ bytes the source can't tell .*\n)?$/);
    expect(first.status).toBe(0);
    expect(first.out).toMatch(/verified +read back and compared/);
    const second = await memtool(["convert", "-o", at("b.kdump"), "-f", at("a.elf"), "--json"]);
    expect(second.status).toBe(0);
    const [summary] = jsonLines(second.out);
    expect(summary).toMatchObject({
      path: at("b.kdump"),
      format: "kdump",
      compress: "zlib",
      failed: 0,
      warnings: [],
    });
    const read = (file: string, ...what: string[]) => memtool(["read", ...what, "-f", file]);
    const info = async (file: string) => jsonLines((await memtool(["info", "--json", "-f", file])).out)[0];
    const [before, after] = [await info(FIXTURE), await info(at("b.kdump"))];
    expect(after?.cpus).toEqual(before?.cpus);
    expect(after?.kernel).toEqual(before?.kernel);
    expect(after?.present).toBe(before?.present);
    const banner = await read(at("b.kdump"), "linux_banner", "--length", "160");
    expect(banner.out).toBe((await read(FIXTURE, "linux_banner", "--length", "160")).out);
    expect(banner.status).toBe(0);
  });

  it("as a raw image warns of what can't be said in it, and finds its kernel again for kdump", async () => {
    const raw = await memtool(["convert", at("a.raw"), "--keep", "0-112M", "-f", FIXTURE]);
    expect(raw.status).toBe(0);
    expect(raw.err).toMatch(/a raw image .*/);
    const kdump = await memtool([
      "convert",
      at("a.kdump"),
      "--to",
      "kdump",
      "--compress",
      "none",
      "-f",
      at("a.raw"),
    ]);
    expect(kdump.err).toBe("");
    const [info] = jsonLines((await memtool(["info", "--json", "-f", at("a.kdump")])).out);
    expect(info?.kernel).toMatchObject({ found: { vmcoreinfo: "note" } });
  });
});

it("a name with controls in it is shown without them", async () => {
  const { status, out } = await memtool([
    "convert",
    at("e\x1b[31mvil.lime"),
    "--keep",
    "0-4K",
    "-f",
    FIXTURE,
  ]);
  expect([status, out]).toEqual([0, expect.stringMatching(/^wrote .*e\\x1b\[31mvil\.lime\n/)]);
});

describe("what is wrong", () => {
  it.each([
    [["convert"], /no file to write/],
    [["convert", "x.elf", "-o", "y.elf"], /two files to write/],
    [["convert", "-", "--to", "elf"], /not to standard output/],
    [["convert", "x.elf", "--to", "vmdk"], /--to vmdk: one of raw, elf, kdump, lime/],
    [["convert", "x.kdump", "--compress", "lzo"], /--compress lzo: one of none, zlib, zstd/],
    [["convert", "x.kdump", "--exclude", "cache"], /--exclude cache: only zero/],
    [["convert", "x.kdump", "--keep", "5"], /"5" is no range/],
    [["convert", "x.kdump", "--keep", "0-4K,8K-4K"], /"8K-4K" is no range: its end is not behind its start/],
    [["convert", "x.kdump", "--keep", "x-y"], /not a length: "x"/],
    [["convert", "x.dump"], /its name does not end in .raw, .elf, .kdump, .lime/],
    [["convert", "x.elf", "--exclude", "zero"], /only kdump can leave out/],
  ])("%j is a mistake of the command line", async (args, problem) => {
    const { status, err, out } = await memtool([...args, "-f", FIXTURE]);
    expect(err).toMatch(problem);
    expect([status, out]).toEqual([2, ""]);
    expect(existsSync(args[1] as string)).toBe(false);
  });

  it("a file that is there is not replaced without --force, and the dump itself never", async () => {
    writeFileSync(at("a.elf"), "mine");
    const refused = await memtool(["convert", at("a.elf"), "-f", FIXTURE]);
    expect([refused.status, refused.err]).toEqual([
      1,
      expect.stringMatching(/there is a file of that name; --force/),
    ]);
    expect(readFileSync(at("a.elf"), "latin1")).toBe("mine");
    const self = await memtool(["convert", FIXTURE, "--force", "-f", FIXTURE]);
    expect([self.status, self.err]).toEqual([1, expect.stringMatching(/this is what is being read/)]);
    expect(readdirSync(folder)).toEqual(["a.elf"]);
  });

  it("a process has no physical memory", async () => {
    const { status, err } = await memtool(["convert", at("a.elf"), "-c", `proc:${process.pid}`]);
    expect([status, err]).toEqual([1, expect.stringMatching(/one process's memory/)]);
  });

  it("pages that can't be read are named, and the status says that some are missing", async () => {
    const pages = [0, 1, 2].map((pfn) => ({
      pfn,
      bytes: pattern(4096, 2 * pfn + 2),
      ...(pfn === 1 ? { stored: { flags: 1, bytes: pattern(100, 1) } } : {}),
    }));
    writeFileSync(at("bad.kdump"), writeKdump(pages, { maxPages: 3, dumpLevel: 0 }));
    const { status, err, out } = await memtool(["convert", at("a.lime"), "-f", at("bad.kdump")]);
    expect(status).toBe(3);
    expect(err).toMatch(/4 KiB could not be read.*\n +0x1000 to 0x2000 {2}4 KiB {2}malformed\n/);
    expect(out).toMatch(/unreadable +4 KiB/);
  });
});

describe("a conversion that is interrupted", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("by %s leaves nothing and ends with %d", async (signal, status) => {
    const child = startMemtool(["convert", at("a.kdump"), "-f", FIXTURE]);
    let err = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    while (readdirSync(folder).length === 0 && child.exitCode === null) {
      await new Promise((done) => setTimeout(done, 2));
    }
    child.kill(signal);
    const [code] = (await once(child, "close")) as [number | null];
    expect([code, err]).toEqual([status, expect.stringMatching(/interrupted: .*a\.kdump was not written/)]);
    expect(readdirSync(folder)).toEqual([]);
  });
});
