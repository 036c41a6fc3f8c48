/** Commands about modules and BPF, on the dump that ships: each row against what its guest printed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, truth } from "../support/cli-dump.js";

interface SymbolFact {
  readonly name: string;
  readonly address: string;
  readonly type: string;
  readonly module?: string;
}
const symbols: readonly SymbolFact[] = truth.symbols;
const program = symbols.find(({ module }) => module === "bpf") as SymbolFact;

describe("memtool modules", () => {
  it("--json: an object for each module of /proc/modules, in its order", async () => {
    const { out, err, status } = await memtool(["modules", "--json", ...ON_DUMP]);
    expect([err, status]).toEqual(["", 0]);
    const lines = jsonLines(out);
    expect(lines).toHaveLength(truth.modules.length);
    for (const [i, line] of lines.entries()) expect(line).toMatchObject(truth.modules[i]);
    expect(lines.find(({ name }) => name === "zram")).toMatchObject({
      parameters: [{ name: "num_devices", type: "uint", mode: 0 }],
    });
  });

  it("a table for people has their names, addresses and users", async () => {
    const { out } = await memtool(["modules", ...ON_DUMP]);
    for (const { name, address, usedBy } of truth.modules) {
      const line = out.split("\n").find((each) => each.startsWith(`${name} `)) ?? "";
      for (const text of [address, ...usedBy]) expect(line).toContain(text);
    }
  });
});

describe("memtool symbols", () => {
  it("of modules and BPF have the module's name in brackets, as /proc/kallsyms does", async () => {
    const { out, err, status } = await memtool(["symbols", program.name, "zs_malloc", ...ON_DUMP]);
    expect([err, status]).toEqual(["", 0]);
    const lines = out.trimEnd().split("\n");
    const malloc = symbols.find(({ name }) => name === "zs_malloc") as SymbolFact;
    for (const [i, { name, address, type, module }] of [program, malloc].entries()) {
      expect(lines[i]).toMatch(new RegExp(`^${address}  ${type}  ${name}  \\[${module}\\]$`));
    }
  });

  it("--json and --near name the module; those of the kernel have no such field", async () => {
    const near = await memtool(["symbols", "--near", program.address, "--json", ...ON_DUMP]);
    expect(jsonLines(near.out)).toEqual([
      { name: program.name, address: program.address, type: "t", module: "bpf", offset: "0x0" },
    ]);
    const own = await memtool(["symbols", "init_task", "--json", ...ON_DUMP]);
    expect(jsonLines(own.out)[0]).not.toHaveProperty("module");
  });

  it("a pattern finds those of modules too", async () => {
    const { out } = await memtool(["symbols", "zram_*", "--json", ...ON_DUMP]);
    const wanted = symbols.filter(({ name, module }) => module === "zram" && name.startsWith("zram_"));
    const found = jsonLines(out).filter(({ module }) => module === "zram");
    expect(found.map(({ address }) => address).sort()).toEqual(wanted.map(({ address }) => address).sort());
  });
});

describe("memtool ebpf", () => {
  it("--json: the guest's program with the name and tag of its symbol", async () => {
    const { out, err, status } = await memtool(["ebpf", "--json", ...ON_DUMP]);
    expect([err, status]).toEqual(["", 0]);
    const rows = jsonLines(out);
    const kinds = rows.map(({ kind }) => kind);
    expect([...new Set(kinds)]).toEqual(["program", "map", "link"]);
    const line = rows.find(({ type }) => type === "socket_filter");
    expect(`bpf_prog_${line?.tag}_${line?.name}`).toBe(program.name);
    expect(line).toMatchObject({
      kind: "program",
      type: "socket_filter",
      image: program.address,
      uid: 0,
      instructions: 2,
      maps: [],
      keySize: null,
    });
  });
});

describe("memtool modules --extract", () => {
  it("writes files that readelf takes without a word, and says of a name that is not loaded", async () => {
    const folder = join(mkdtempSync(join(tmpdir(), "memtool-")), "modules");
    try {
      const { out, err, status } = await memtool([
        "modules",
        "--json",
        "--extract",
        folder,
        "zram",
        "nope",
        ...ON_DUMP,
      ]);
      expect(err).toContain("no module nope is loaded");
      expect(status).toBe(3);
      expect(jsonLines(out)).toMatchObject([{ name: "zram", file: "zram.elf", missing: 0, holes: [] }]);
      const read = spawnSync("readelf", ["-aW", join(folder, "zram.elf")], { encoding: "utf8" });
      expect([read.status, read.stderr]).toEqual([0, ""]);
      expect(read.stdout).toMatch(/FUNC .* zram_/);
    } finally {
      rmSync(dirname(folder), { recursive: true });
    }
  });

  it("names without it are refused before the dump is opened", async () => {
    const { status, err } = await memtool(["modules", "zram", "-f", "/nowhere"]);
    expect([status, err]).toEqual([2, expect.stringContaining("--extract")]);
  });
});
