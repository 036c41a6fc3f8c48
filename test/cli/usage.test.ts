/** How addresses and options are given, and what is said to a mistake. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FORMATS } from "../../src/formats/index.js";
import { jsonLines, memtool } from "../support/cli.js";
import { DUMP, ON_DUMP, truth } from "../support/cli-dump.js";

describe("addresses", () => {
  it("are physical, virtual, symbols and offsets of them, and all show the same bytes", async () => {
    const ways = [
      ["linux_banner"],
      ["linux_banner+0x10-16"],
      ["0xffffffff9fd1ffe0"],
      [BigInt("0xffffffff9fd1ffe0").toString()],
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
      "0xffffffff9fd1ffe0",
      "--length",
      "2",
      "--json",
      ...ON_DUMP,
    ]);
    expect(jsonLines(out).map(({ address }) => address)).toEqual([
      "0xffffffffa061aa40",
      "0xffffffff9fd1ffe0",
      "0xffffffff9fd1ffe0",
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
    ["translate without page tables", ["translate", "0", "--physical", ...ON_DUMP], "needs page tables"],
    ["write without --write", ["write", "0", "00", ...ON_DUMP], "say so with --write"],
    ["write of half a byte", ["write", "0", "000", "--write", ...ON_DUMP], "two each"],
    ["symbols without a name", ["symbols", ...ON_DUMP], "--near"],
    ["a command like another", ["red"], "unknown command 'red'; did you mean read?"],
    ["help of no command", ["help", "red"], "unknown command 'red': one of info, coverage, read"],
    ["-c twice", ["info", "-c", "proc:1", "-c", "proc:2"], 'It comes after "proc:1": give one'],
    ["no such connector", ["info", "-c", "prc:1"], "did you mean proc"],
    ["a connector's target", ["info", "-c", "proc:1.5"], "as in proc:1234"],
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
