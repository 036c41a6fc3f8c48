import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { open } from "../connectors/index.js";
import { bundle } from "./bench/bundle.mjs";
import { compiled, compilerVersion } from "./bench/c-programs.js";
import { Guest, PAGE } from "./bench/dumps/guest.js";
import { KINDS } from "./bench/dumps/kinds.js";
import { GROUPS } from "./bench/groups/index.js";
import { gatherYardstick, pagesYardstick } from "./bench/limits.js";
import { MFIO, mfioMarks } from "./bench/marks.js";

const bundled = resolve("node_modules/.cache/memtool", `bench-test-${process.pid}.mjs`);
beforeAll(async () => {
  await bundle(bundled);
  return () => rmSync(bundled, { force: true });
});

/** Runs a program with Node; what is measured here needs nothing built. */
function run(...args: string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    env: { ...process.env, MEMTOOL_NO_BUILD: "1" },
  });
  return { stdout, stderr, status };
}

/** Runs it as `npm run bench -- …` does. */
const wholeBench = (...args: string[]) => run("test/bench/run.mjs", ...args);
/** Runs what that has bundled. */
const bench = (...args: string[]) => run("--expose-gc", "--enable-source-maps", bundled, ...args);

describe("the benchmark", () => {
  it.each(GROUPS.map((group) => [group.name, group] as const))(
    "names the rows of %s once each",
    (_, { rows }) => {
      const names = rows.map(({ name }) => name);
      expect(names).toEqual([...new Set(names)]);
      expect(names.length).toBeGreaterThan(0);
    },
  );

  it.each(GROUPS.map((group) => [group.name, group] as const))(
    "has the limits of %s in that group",
    (_, { rows }) => {
      for (const { name, against = [] } of rows) {
        for (const { limit, goals = [] } of against) {
          expect(rows.find((row) => row.name === limit)?.isLimit, `${name}: ${limit}`).toBe(true);
          for (const { ratio } of goals) expect(ratio).toBeGreaterThan(0);
        }
      }
    },
  );

  it("has a row for each of mfio's", () => {
    const names = GROUPS.find(({ name }) => name === "packets")?.rows.map(({ name }) => name) ?? [];
    for (const mfio of Object.keys(MFIO)) {
      expect(names.filter((name) => name.startsWith(`${mfio}  `)).length, mfio).toBeGreaterThan(0);
    }
    // Rows that count twice: each operation awaited, and what a caller with many would use.
    for (const twice of ["S1", "S3", "S6", "W1", "J 256", "J 16384"]) {
      expect(names.filter((name) => name.startsWith(`${twice}  `)).length, twice).toBeGreaterThan(1);
    }
  });

  it("puts mfio's marks at its figures over the middle of the yardstick's range", () => {
    const { limit, goals } = mfioMarks("B256", "gather");
    expect(limit).toBe("yardstick gather");
    expect(goals).toEqual([
      { name: "mfio block_on", ratio: 2.7 / 545 },
      { name: "mfio best", ratio: 15.9 / 545 },
    ]);
    expect(mfioMarks("V3", "pages").goals).toEqual([{ name: "mfio best", ratio: 40.7 / 2.35 }]);
  });

  it("has yardsticks that do what they say", () => {
    expect(gatherYardstick(1000)).toBe(2000);
    expect(pagesYardstick(1000)).toBe(1000);
  });

  it("lists its rows, and says what there is when asked for what there isn't", () => {
    const all = GROUPS.flatMap(({ name, rows }) => rows.map((row) => `${name}\t${row.name}\n`)).join("");
    expect(wholeBench("--list")).toEqual({ stdout: all, stderr: "", status: 0 });
    expect(bench("--list", "--group", "packets", "--only", "b256P ").stdout).toBe(
      "packets\tB256p  one routine, awaited\npackets\tB256p  one routine, .sync()\n",
    );
    expect(wholeBench("--group", "nothing")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("packets, "),
    });
    expect(bench("--only", "no such row")).toMatchObject({ status: 2, stdout: "" });
    expect(bench("--gib", "1.5")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--gib 1.5: "),
    });
  });

  // Two MiB, a quarter of their pages zero, that a guest of 16 MiB repeats.
  const tile = new Uint8Array(2 ** 21);
  for (let i = 0; i < tile.length; i++)
    if (i & 0x3000) tile[i] = Math.imul(i, 0x9e3779b1) >>> (i & 0x4000 ? 24 : 31);
  const small = new Guest(1 / 64, tile);

  it("lays its guest out as QEMU does", () => {
    const five = new Guest(5, tile);
    const { ranges, end } = five;
    const GIB = 2 ** 30;
    expect(ranges).toEqual([
      { start: 0, end: 3 * GIB, from: 0 },
      { start: 4 * GIB, end: 6 * GIB, from: 3 * GIB },
    ]);
    expect(end).toBe(6 * GIB);
    expect([five.addressOf(3 * GIB - PAGE), five.addressOf(3 * GIB)]).toEqual([3 * GIB - PAGE, 4 * GIB]);
  });

  it.each(KINDS.map((kind) => [kind.name, kind] as const))(
    "writes a dump that reads as its guest: %s",
    async (_, kind) => {
      const folder = mkdtempSync(join(tmpdir(), "memtool-bench-test-"));
      const path = join(folder, `guest.${kind.extension ?? "dump"}`);
      kind.write?.(small, path);
      const machine = await open(path, { kernel: "none" });
      const { good, bytes } = await (machine.physical as NonNullable<typeof machine.physical>).readPartial(
        0,
        small.bytes,
      );
      // A raw image always has one: nothing in it says that it is one.
      if (!kind.name.startsWith("raw")) expect(machine.image?.warnings).toEqual([]);
      await machine.close();
      rmSync(folder, { recursive: true });
      const present = new Uint8Array(small.bytes / PAGE);
      for (const { start, end } of good) present.fill(1, start / PAGE, end / PAGE);
      const wrong: string[] = [];
      for (let page = 0; page < present.length; page++) {
        const has = kind.has === undefined || kind.has(page);
        if (present[page] !== (has ? 1 : 0)) wrong.push(`page ${page} is ${has ? "not " : ""}there`);
        const at = page * PAGE;
        const from = at % tile.length;
        const same = Buffer.compare(bytes.subarray(at, at + PAGE), tile.subarray(from, from + PAGE)) === 0;
        if (has && !same) wrong.push(`page ${page} has other bytes`);
      }
      expect(wrong).toEqual([]);
    },
  );

  it("measures a row, and writes it as one line of JSON with its ratio and mark", () => {
    const { stdout, status } = bench("--quick", "--json", "--group", "packets", "--only", "V3");
    expect(status).toBe(0);
    const row = JSON.parse(stdout);
    expect(row).toMatchObject({
      group: "packets",
      name: "V3  sendIo",
      isLimit: false,
      cpu: expect.any(Number),
      wall: expect.any(Number),
      against: [{ limit: "yardstick gather", goals: [{ name: "mfio best", met: expect.any(Boolean) }] }],
    });
    const [{ ratio, limitCpu }] = row.against;
    expect(row.cpu / limitCpu).toBeCloseTo(ratio, 12);

    // And makes tables of such lines later.
    const file = join(mkdtempSync(join(tmpdir(), "memtool-bench-test-")), "rows.json");
    writeFileSync(file, stdout);
    const table = bench("--from", file, "--markdown", "--group", "packets");
    expect(table.stdout).toMatch(
      /\| V3: sendIo \| [\d.]+ \| [\d.]+ \| [\d.]+% \| [\d.]+ yardstick gather \(mfio best /,
    );
    expect(table.stdout).toMatch(/^V3 +sendIo: mfio best [\d.]+/m);
    rmSync(dirname(file), { recursive: true });
  });

  it("makes tables of what npm's own lines stand in, and says which line is broken", () => {
    const file = join(mkdtempSync(join(tmpdir(), "memtool-bench-test-")), "rows.json");
    const about = { group: "packets", isLimit: true, cpu: 1, wall: 2, samples: 3, spread: 0, against: [] };
    const row = JSON.stringify({ ...about, name: "yardstick gather" });
    const other = JSON.stringify({ ...about, name: "yardstick pages" });
    writeFileSync(file, `\n> memtool@0.1.0 bench\n> node test/bench/run.mjs --json\n\n${row}\n${other}\n\n`);
    const table = bench("--from", file, "--markdown", "--group", "packets");
    expect(table).toMatchObject({ stderr: "", status: 0 });
    expect(table.stdout.match(/^\| yardstick .* \(limit\) \|$/gm)).toHaveLength(2);

    for (const [text, message] of [
      [`${row}\n${other.slice(0, 40)}`, `${file}:2: not a whole row of --json: `],
      [`> npm\n{"level":"info"}\n`, `${file}:2: not a row of --json\n`],
      ["\n> memtool@0.1.0 bench\n", `${file}: has no row of --json\n`],
    ] as const) {
      writeFileSync(file, text);
      expect(bench("--from", file)).toMatchObject({
        stdout: "",
        stderr: expect.stringContaining(message),
        status: 2,
      });
    }
    rmSync(dirname(file), { recursive: true });
    expect(bench("--from", file)).toMatchObject({
      stderr: expect.stringContaining(`${file}: ENOENT`),
      status: 2,
    });
  });

  const compiler = compilerVersion();
  it.skipIf(compiler === undefined)("has C programs that gcc takes without a warning", () => {
    const programs = readdirSync("test/bench/c").filter((file) => file.endsWith(".c"));
    expect(programs.length).toBeGreaterThan(0);
    for (const file of programs) compiled(file.slice(0, -2));
  });
});
