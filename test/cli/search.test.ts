/** `memtool search` on the dump that ships, against grep over its raw form, and against each process's memory read page by page. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { beforeAll, describe, expect, it, test } from "vitest";
import { UsageError } from "../../cli/errors.js";
import { searchWanted } from "../../cli/search/patterns.js";
import { barOf, type Place } from "../../cli/search/places.js";
import type { Session } from "../../cli/session.js";
import { type Machine, open } from "../../connectors/index.js";
import type { VirtualMemory } from "../../src/paging/index.js";
import { jsonLines, memtool } from "../support/cli.js";
import { DUMP, ON_DUMP, testFolder, truth } from "../support/cli-dump.js";
import { runHere } from "./run-here.js";

const { folder } = testFolder();
const RAW = join(folder, "guest.raw");
const PAGE = 4096;

/** Where grep finds it, as addresses: the raw form has each byte at its physical address, and zeros for what is missing. */
function grep(...args: string[]): string[] {
  const options = { env: { ...process.env, LC_ALL: "C" }, maxBuffer: 1 << 26 };
  const out = execFileSync("grep", ["-abo", ...args, RAW], options);
  const places = out.toString("latin1").match(/^\d+(?=:)/gm) ?? [];
  return places.map((place) => `0x${Number(place).toString(16)}`);
}

/** Addresses in the order of the output, one for a hit. */
async function found(...args: string[]): Promise<string[]> {
  const { out, status } = await memtool(["search", "--json", "--no-owners", ...args, ...ON_DUMP]);
  expect(status).toBe(0);
  return jsonLines(out).map(({ physical }) => String(physical));
}

describe("memtool search", () => {
  beforeAll(async () => {
    const { status } = await memtool(["convert", RAW, ...ON_DUMP]);
    expect(status).toBe(0);
  });

  it.each([
    ["text", ["--text", "memtool"], ["-F", "memtool"]],
    ["text whatever its case", ["--text", "LINUX version", "-i"], ["-iF", "LINUX version"]],
    ["bytes with wildcards", ["--hex", "7f 45 4c 46 0? 01"], ["-P", "\\x7fELF[\\x00-\\x0f]\\x01"]],
    ["an expression", ["--regex", "memtool-[a-z]{3,20}"], ["-P", "memtool-[a-z]{3,20}"]],
    ["text as UTF-16", ["--utf16", "ABCDEFGH"], ["-P", "A\\x00B\\x00C\\x00D\\x00E\\x00F\\x00G\\x00H\\x00"]],
  ])("finds %s where grep does", async (_, mine, greps) => {
    const wanted = grep(...greps);
    expect(wanted.length).toBeGreaterThan(0);
    expect(await found(...mine)).toEqual(wanted);
  });

  it("finds numbers and pointers at their alignment only", async () => {
    const { address } = truth.symbols.find(({ name }: { name: string }) => name === "init_task");
    const value = BigInt(address);
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    const pattern = [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
    const wanted = grep("-P", pattern).filter((place) => Number(place) % 8 === 0);
    expect(wanted.length).toBeGreaterThan(3);
    expect(await found("--u64", address)).toEqual(wanted);
    expect(await found("--pointer-to", "init_task")).toEqual(wanted);
    const within = await found("--pointer-to", "init_task+64");
    expect(within).toEqual(expect.arrayContaining(wanted));
  });

  it("--output writes the columns of --json, addresses exact", async () => {
    const args = ["search", "--text", "Linux version", ...ON_DUMP];
    const path = join(folder, "hits.parquet");
    const [json, file] = [await memtool([...args, "--json"]), await memtool([...args, "-o", path])];
    const hits = jsonLines(json.out);
    expect(hits.length).toBeGreaterThan(1);
    expect([file.status, file.out]).toEqual([json.status, `${path}: ${hits.length} rows\n`]);
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(path) });
    expect(rows.map((row) => Object.keys(row))).toEqual(hits.map((hit) => Object.keys(hit)));
    const exact = (address: unknown) => (typeof address === "string" ? BigInt(address) : address);
    expect(rows.map(({ physical, virtual, owner }) => [physical, virtual, owner])).toEqual(
      hits.map(({ physical, virtual, owner }) => [exact(physical), exact(virtual), owner]),
    );
  });

  describe("in processes", () => {
    let machine: Machine;
    beforeAll(async () => {
      machine = await open(DUMP);
      return () => machine.close();
    });

    /** Slow: every page of every mapped range, those that follow each other put together. */
    async function inMemory(memory: VirtualMemory, start: bigint, end: bigint, needle: Buffer) {
      const hits: bigint[] = [];
      let run: Buffer[] = [];
      let from = start;
      const look = () => {
        const bytes = Buffer.concat(run);
        for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1))
          hits.push(from + BigInt(at));
        run = [];
      };
      for (let at = start; at < end; at += BigInt(PAGE)) {
        const { bytes, holes } = await memory.readPartial(at, PAGE);
        if (run.length === 0) from = at;
        if (holes.length > 0) {
          look();
          continue;
        }
        run.push(Buffer.from(bytes));
      }
      look();
      return hits;
    }

    it("finds what reading its ranges page by page finds, and says in which range that is", async () => {
      const linux = await machine.linux();
      const process = await linux.process(truth.witnessPid);
      const wanted: string[] = [];
      for (const { start, end } of await process.vmas().toArray()) {
        const hits = await inMemory(process.memory, start, end, Buffer.from("memtool-witness"));
        wanted.push(...hits.map((hit) => `0x${hit.toString(16)}`));
      }
      expect(wanted.length).toBeGreaterThan(1);
      const pid = truth.witnessPid;
      const { out } = await memtool([
        ...["search", "--json", "--text", "memtool-witness", "--pid", `${pid}`],
        ...ON_DUMP,
      ]);
      const rows = jsonLines(out).filter(({ virtual }) => BigInt(String(virtual)) < 1n << 47n);
      expect(rows.map(({ virtual }) => virtual)).toEqual(wanted);
      expect(rows.find(({ owner }) => String(owner).includes("[stack]"))).toMatchObject({
        pid,
        kind: "process",
        owner: "mt-witness, [stack], rw-p",
        physical: expect.stringMatching(/^0x/),
      });
    });

    it("names every process that a hit is in, and the file that it is of", async () => {
      const { out } = await memtool(["search", "--json", "--text", "memtool-witness", ...ON_DUMP]);
      const rows = jsonLines(out);
      const file = rows.filter(({ kind }) => kind === "page cache").map(({ physical }) => physical);
      expect(file).toHaveLength(1);
      const owners = rows.filter(({ physical }) => physical === file[0]);
      expect(owners.map(({ pid }) => pid)).toEqual(
        expect.arrayContaining([truth.pid, truth.witnessPid, null]),
      );
      expect(owners.at(-1)).toMatchObject({ owner: expect.stringMatching(/^\/guest, at 0x/), virtual: null });
    });
  });

  it("shows people owners, and the bytes around a hit", async () => {
    const { out, err, status } = await memtool([
      ...["search", "--text", "Linux version", "--context", "16"],
      ...ON_DUMP,
    ]);
    expect(status).toBe(0);
    expect(out).toMatch(/^ +PHYSICAL +VIRTUAL +PID +OWNER\n/);
    expect(out).toMatch(/0x211ffe0 +0xffffffff9fd1ffe0 +kernel +rodata, linux_banner\n/);
    expect(out).toContain("4c 69 6e 75 78 20 76 65");
    expect(err).toMatch(/not searched, as it is not there:\n +\S+ MiB +excluded/);
  });

  it("stops after --limit, and says with status 1 that there is nothing", async () => {
    const { out } = await memtool([
      "search",
      "--json",
      "--text",
      "e",
      "--limit",
      "5",
      "--no-owners",
      ...ON_DUMP,
    ]);
    expect(jsonLines(out)).toHaveLength(5);
    const none = await memtool(["search", "--text", "no such text anywhere 7f3a", ...ON_DUMP]);
    expect(none).toMatchObject({ status: 1, out: "" });
    expect(none.err).toContain("nothing was found");
  });

  it("escapes what a terminal would obey in names of patterns", async () => {
    const { out } = await memtool([
      "search",
      "--hex",
      "7f454c46",
      "--regex",
      "\u001b?ELF",
      "--limit",
      "2",
      ...ON_DUMP,
    ]);
    expect(out).not.toContain("\u001b");
  });
});

test.each([
  ["no pattern", {}],
  ["an empty text", { text: [""] }],
  ["a limit of none", { text: ["a"], limit: "0" }],
  ["a length without a start", { text: ["a"], length: "4K" }],
  ["an expression that is none", { regex: ["("] }],
  ["a range to point to without a byte", { pointerTo: ["init_task+0"] }],
  ["every process from an address on", { text: ["a"], allProcesses: true, from: "0x1000" }],
  ["more context than some screens", { text: ["a"], context: "1M" }],
  ["half a byte", { hex: ["7f4"] }],
  ["a range to point to that ends before it begins", { pointerTo: ["0x2000-0x1000"] }],
  ["an alignment of text", { text: ["a"], align: "4" }],
  ["the case of numbers", { u32: ["1"], ignoreCase: true }],
])("search refuses %s before the target is opened", (_, options) => {
  expect(() => searchWanted(options)).toThrow(UsageError);
});

test("a bar is drawn where it is known how far there is to go", () => {
  const drawn: unknown[] = [];
  const session = { progress: (...bar: unknown[]) => drawn.push(bar) } as unknown as Session;
  const place = { name: "", space: undefined, end: 0 } as unknown as Place;
  barOf(session, place, "searching")(4096n);
  barOf(session, { ...place, end: 8192 }, "searching")(4096n);
  expect(drawn).toEqual([["searching", 4096n, 8192]]);
});

test("search refuses bytes around hits where rows for programs are wanted, before the target is opened", async () => {
  const { status, text } = await runHere([
    "search",
    "--text",
    "a",
    "--context",
    "16",
    "--json",
    "-f",
    "/no/such",
  ]);
  expect(text).toContain("--context shows bytes for people");
  expect(status).toBe(2);
});

test("search takes an alignment of numbers beside text, and text beside numbers in any case", () => {
  const options = { text: ["a"], u32: ["1"], pointerTo: ["0x1000-0x2000"], align: "4", ignoreCase: true };
  expect(searchWanted(options).patterns).toHaveLength(3);
});

test.each([
  ["search", ["--text", "a", "--pid", "1"]],
  ["search", ["--text", "a", "--root", "0x1000"]],
  ["strings", ["--physical"]],
])("%s of every process and %j is refused before the target is opened", async (command, options) => {
  const { status, text } = await runHere([command, "--all-processes", ...options, "-f", "nowhere"]);
  expect(status).toBe(2);
  expect(text).toContain("leave out --pid, --root and --physical");
});
