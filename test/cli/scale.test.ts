/** What the command costs in memory, whatever the size of the dump; and what opening one reads. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/index.js";
import { type HugeDump, writeClaimingKdump, writeHugeKdump, writeHugeRaw } from "../support/huge-dumps.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** Above what Node itself takes. */
const LIMIT = 150 * MIB;
const CLI = resolve("dist/cli.cjs");
/** Tells the largest resident size of a process on its standard error, when it ends. */
const REPORT =
  'data:text/javascript,process.on("exit",()=>process.stderr.write("\\nmaxRSS "+process.resourceUsage().maxRSS))';

const folder = mkdtempSync(join(tmpdir(), "memtool-scale-"));
const raw = join(folder, "5g.raw");
const clustered = join(folder, "1t.kdump");
const scattered = join(folder, "scattered.kdump");
const TIB = 1024 * GIB;
let rawDump: HugeDump;
let clusteredDump: HugeDump;
let scatteredDump: HugeDump;

beforeAll(() => {
  rawDump = writeHugeRaw(raw, 5 * GIB);
  clusteredDump = writeHugeKdump(clustered, { size: TIB, pages: 1_000_000, cluster: 64 });
  scatteredDump = writeHugeKdump(scattered, { size: TIB, pages: 1_000_000, cluster: 1 });
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Largest resident size of a run of Node, in bytes, and its standard output. */
function run(args: readonly string[]): { readonly bytes: number; readonly out: string } {
  const child = spawnSync(process.execPath, ["--import", REPORT, ...args], {
    encoding: "utf8",
    maxBuffer: 256 * MIB,
    env: { PATH: process.env.PATH },
  });
  const told = /maxRSS (\d+)$/.exec(child.stderr);
  if (child.status !== 0 || told === null)
    throw new Error(`${args.join(" ")}: ${child.status} ${child.stderr}`);
  return { bytes: Number(told[1]) * 1024, out: child.stdout };
}

const lines = (text: string): number => text.split("\n").length - 1;

// (Each test runs several commands over a million pages: a busy machine took more than half a minute for one.)
describe("the command's largest resident size, above that of Node, is less than 150 MiB", {
  timeout: 180_000,
}, () => {
  let bare: number;
  beforeAll(() => {
    bare = run(["-e", "0"]).bytes;
  });
  const above = (args: readonly string[]): { readonly bytes: number; readonly out: string } => {
    const { bytes, out } = run([CLI, ...args]);
    return { bytes: bytes - bare, out };
  };
  const mapsOf = (path: string, dump: HugeDump) => {
    const { bytes, out } = above(["maps", "--root", `0x${dump.root.toString(16)}`, "--json", "-f", path]);
    expect(lines(out)).toBe(dump.mapped);
    return bytes;
  };

  it("for the fixture", () => {
    const file = "fixtures/linux-6.1-x86_64.kdump";
    expect(above(["info", "-f", file]).bytes).toBeLessThan(LIMIT);
    const { bytes, out } = above(["maps", "-f", file]);
    expect(lines(out)).toBeGreaterThan(100);
    expect(bytes).toBeLessThan(LIMIT);
  });

  it("for a raw image of 5 GiB with page tables above 4 GiB", () => {
    expect(rawDump.root).toBeGreaterThan(4 * GIB);
    const { bytes, out } = above(["info", "-f", raw]);
    expect(out).toContain("6.1.0-dummy");
    expect(bytes).toBeLessThan(LIMIT);
    expect(mapsOf(raw, rawDump)).toBeLessThan(LIMIT);
  });

  it("for a sparse dump of 1 TiB with a million pages in clusters", () => {
    const { bytes, out } = above(["info", "-f", clustered]);
    expect(out).toContain("6.1.0-dummy");
    expect(bytes).toBeLessThan(LIMIT);
    expect(mapsOf(clustered, clusteredDump)).toBeLessThan(LIMIT);
  });

  it("for one whose million pages lie each by itself", () => {
    expect(above(["info", "-f", scattered]).bytes).toBeLessThan(LIMIT);
    const { bytes, out } = above(["coverage", "-f", scattered]);
    expect(out).toContain("512 MiB a block");
    expect(bytes).toBeLessThan(LIMIT);
    expect(mapsOf(scattered, scatteredDump)).toBeLessThan(LIMIT);
  });
});

it("a sparse file that claims 8 TiB in bitmaps of 512 MiB takes no more than others", () => {
  const path = join(folder, "claims.kdump");
  writeClaimingKdump(path, 2 ** 31);
  const bare = run(["-e", "0"]).bytes;
  const { bytes, out } = run([CLI, "info", "-f", path]);
  expect(out).toContain("2147483648");
  expect(bytes - bare).toBeLessThan(LIMIT);
});

describe("opening reads the index, not the dump", () => {
  it.each([
    ["a raw image of 5 GiB", raw, 4096],
    // Two bitmaps of 32 MiB, the headers and the last descriptors.
    ["a kdump of 1 TiB", clustered, 64 * MIB + 64 * 1024],
  ])("%s", async (_what, path, index) => {
    const machine = await open(path, { kernel: "none" });
    const { bytes, batches } = machine.source.counters;
    expect(bytes).toBeLessThanOrEqual(index);
    // Large pieces; a handful for headers.
    expect(batches).toBeLessThanOrEqual(8 + index / (4 * MIB));
    expect(machine.physical?.map.end).toBe(path === raw ? 5 * GIB : TIB);
    expect(machine.physical?.map.bytesPresent).toBe(path === raw ? 5 * GIB : 1_000_000 * 4096);
    await machine.close();
    expect(statSync(path).blocks * 512).toBeLessThan(256 * MIB);
  });

  it("the kernel of a note is found with a few pages more", async () => {
    const machine = await open(clustered);
    const { bytes, batches } = machine.source.counters;
    expect(machine.kernel?.release).toBe("6.1.0-dummy");
    expect(bytes).toBeLessThan(66 * MIB);
    expect(batches).toBeLessThan(100);
    await machine.close();
  });
});
