/** `--output`: what each format's own readers find in it, of a real dump. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterAll, describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";

const TARGET = ["-f", "fixtures/linux-6.1-x86_64.kdump"];
const folder = mkdtempSync(join(tmpdir(), "memtool-output-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);

const require = createRequire(import.meta.url);
const has = (name: string) => {
  try {
    require(name);
    return true;
  } catch {
    return false;
  }
};
const hasPython = spawnSync("python3", ["--version"]).status === 0;
const hasSqlite = has("node:sqlite") || has("better-sqlite3");

/** What a Python program prints as JSON. */
function python(program: string, ...args: string[]): unknown {
  return JSON.parse(execFileSync("python3", ["-c", program, ...args], { encoding: "utf8" }));
}

async function rows(command: string): Promise<Record<string, unknown>[]> {
  const { out, status } = await memtool([command, "--json", ...TARGET]);
  expect(status).toBe(0);
  return jsonLines(out) as Record<string, unknown>[];
}

describe("memtool --output", () => {
  it("ndjson is what --json prints, on standard output and in a file", async () => {
    const { out } = await memtool(["sockets", "--json", ...TARGET]);
    expect((await memtool(["sockets", "--output", "ndjson", ...TARGET])).out).toBe(out);
    await memtool(["sockets", "--output", file("s.jsonl"), ...TARGET]);
    expect(readFileSync(file("s.jsonl"), "utf8")).toBe(out);
  });

  it.skipIf(!hasPython)("Python's csv reads every row and every exact address (needs python3)", async () => {
    await memtool(["sockets", "--output", file("s.csv"), ...TARGET]);
    const read = python(
      "import csv,json,sys; print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='')))))",
      file("s.csv"),
    ) as Record<string, string>[];
    const wanted = await rows("sockets");
    expect(read.map(({ sock }) => sock)).toEqual(wanted.map(({ sock }) => sock));
    expect(read.map(({ owners }) => JSON.parse(owners as string))).toEqual(
      wanted.map(({ owners }) => owners),
    );
    // (Names of abstract sockets begin with @, as formulas do.)
    expect(read.some(({ path }) => path?.startsWith("'@"))).toBe(true);
    expect(read.map(({ path }) => path?.replace(/^'/, ""))).toEqual(wanted.map(({ path }) => path ?? ""));
  });

  it("Parquet has every address as an unsigned number, also those of kernels", async () => {
    const { status } = await memtool(["sockets", "--output", file("s.parquet"), ...TARGET]);
    expect(status).toBe(0);
    const read = await parquetReadObjects({ file: await asyncBufferFromFile(file("s.parquet")) });
    const wanted = await rows("sockets");
    expect(read.map(({ sock }) => sock)).toEqual(wanted.map(({ sock }) => BigInt(sock as string)));
    expect((read[0]?.sock as bigint) >= 1n << 63n).toBe(true);
    expect(read.map(({ owners }) => owners)).toEqual(wanted.map(({ owners }) => owners));
    expect(read.map(({ remote }) => remote ?? null)).toEqual(wanted.map(({ remote }) => remote));
  });

  it("Parquet has all rows of a list of several row groups", async () => {
    await memtool(["symbols", "*", "--output", file("symbols.parquet"), ...TARGET]);
    const read = await parquetReadObjects({ file: await asyncBufferFromFile(file("symbols.parquet")) });
    const { out } = await memtool(["symbols", "*", "--json", ...TARGET]);
    const wanted = jsonLines(out) as { name: string; address: string }[];
    expect(wanted.length).toBeGreaterThan(2 * 16_384);
    expect(read.map(({ name, address }) => `${name} ${address}`)).toEqual(
      wanted.map(({ name, address }) => `${name} ${BigInt(address)}`),
    );
  });

  it.skipIf(!hasSqlite || !hasPython)(
    "Python's sqlite3 reads addresses that sort as numbers (needs python3, and Node 22.13 or better-sqlite3)",
    async () => {
      const { status } = await memtool(["sockets", "--output", file("s.sqlite"), ...TARGET]);
      expect(status).toBe(0);
      const read = python(
        "import json,sqlite3,sys; print(json.dumps(sqlite3.connect(sys.argv[1]).execute('select sock, inode, uid, peer from sockets order by sock').fetchall()))",
        file("s.sqlite"),
      );
      const address = (each: unknown) =>
        each === null
          ? null
          : `0x${BigInt(each as string)
              .toString(16)
              .padStart(16, "0")}`;
      const wanted = (await rows("sockets"))
        .sort((a, b) => (BigInt(a.sock as string) < BigInt(b.sock as string) ? -1 : 1))
        .map(({ sock, inode, uid, peer }) => [address(sock), inode, uid, address(peer)]);
      expect(read).toEqual(wanted);
    },
  );

  it.skipIf(hasSqlite)(
    "SQLite says what it takes where it is not there, and leaves no file (needs Node without it)",
    async () => {
      const { status, err, out } = await memtool(["ps", "--output", file("none.sqlite"), ...TARGET]);
      expect({ status, out }).toEqual({ status: 1, out: "" });
      expect(err).toContain("npm install better-sqlite3");
      expect(readdirSync(folder).filter((name) => name.startsWith("none"))).toEqual([]);
    },
  );

  it("replaces no file but with --force", async () => {
    writeFileSync(file("old.csv"), "mine");
    const { status, err } = await memtool(["mounts", "--output", file("old.csv"), ...TARGET]);
    expect(status).toBe(1);
    expect(err).toContain("--force replaces it");
    expect(readFileSync(file("old.csv"), "utf8")).toBe("mine");
    expect((await memtool(["mounts", "--output", file("old.csv"), "--force", ...TARGET])).status).toBe(0);
    expect(readFileSync(file("old.csv"), "utf8")).toMatch(/^id,parent,/);
  });

  it.each([
    [["ps", "--output", "parquet"], "needs a file"],
    [["ps", "--output", "list.xlsx"], "neither a format"],
    [["ps", "--output", "csv", "--json"], "exclude each other"],
    [["ps", "--output", "csv", "--force"], "--force is for a file"],
    [["maps", "--summary", "--output", "csv"], "leave out --summary"],
  ])("refuses %j before the target is opened", async (args, why) => {
    const { status, err } = await memtool([...args, "-f", "no-such-dump"]);
    expect(err).toContain(why);
    expect(status).toBe(2);
    expect(existsSync("list.xlsx")).toBe(false);
  });
});
