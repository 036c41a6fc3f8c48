/** The command about files cached in memory: rows, files below a folder, one file's bytes. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, testFolder } from "../support/cli-dump.js";

const { folder } = testFolder();

describe("memtool pagecache", () => {
  it("gives a row for each file with its name, its ranges, and who has it", async () => {
    const { out, status } = await memtool(["pagecache", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const rows = jsonLines(out);
    expect(rows.length).toBe(10);
    expect(rows.find(({ path }) => path === "/run/deleted-but-open.txt")).toMatchObject({
      ...{ inode: 3, device: "0:23", fileSystem: "tmpfs", size: 31, cached: 31, deleted: true, links: 0 },
      ...{ ranges: [{ start: 0, end: 31 }], pids: [97], inMemory: true, whole: true },
      address: expect.stringMatching(/^0xffff/),
    });
    expect(rows.find(({ blockDevice }) => blockDevice !== null)).toMatchObject({
      ...{ path: null, blockDevice: "254:0", fileSystem: "bdev", inMemory: false },
    });
  });

  it.each([
    [
      ["/init", "*.bin"],
      ["/data.bin", "/init", "/shared.bin"],
    ],
    [["--deleted"], ["/dev/zero", "/memfd:memtool-memfd", "/run/deleted-but-open.txt"]],
    [["--inode", "3", "/run/*"], ["/run/deleted-but-open.txt"]],
    [
      ["--pid", "1"],
      ["/bin/busybox", "/init"],
    ],
  ])("%j lists %j", async (args, paths) => {
    const { out } = await memtool(["pagecache", ...args, "--json", ...ON_DUMP]);
    expect(
      jsonLines(out)
        .map(({ path }) => path)
        .sort(),
    ).toEqual(paths);
  });

  it("writes files below a folder by their paths, and says what is missing of each", async () => {
    const dir = join(folder, "out");
    const { out, status } = await memtool(["pagecache", "--extract", dir, "--json", ...ON_DUMP]);
    const rows = jsonLines(out);
    expect(status).toBe(3);
    const missing = rows.flatMap(({ path, missing }) =>
      (missing as unknown[]).length > 0 ? [{ path, missing }] : [],
    );
    // Of a program, the dump's filter left most pages out; of the block device, one page was in memory.
    expect(missing).toEqual([
      { path: "/bin/busybox", missing: [{ start: 4096, end: 1982256, why: "excluded" }] },
      { path: null, missing: [{ start: 4096, end: 1048576, why: "not cached" }] },
    ]);
    for (const { file, size } of rows) expect(statSync(join(dir, String(file))).size).toBe(size);
    expect(readFileSync(join(dir, "init"), "utf8")).toBe(readFileSync("fixtures/vm/init.sh", "utf8"));
    expect(readFileSync(join(dir, "run/deleted-but-open.txt"), "utf8")).toMatch(/^[ -~]+\n$/);
    // The kernel's name of it has a colon.
    expect(rows.find(({ path }) => path === "/memfd:memtool-memfd")?.file).toBe("memfd%3Amemtool-memfd");
  });

  it("writes a program that readelf finds nothing wrong with", async () => {
    const dir = join(folder, "programs");
    const { status, out } = await memtool(["pagecache", "/guest", "--extract", dir, ...ON_DUMP]);
    expect(status).toBe(0);
    expect(out).toMatch(/^PATH +INODE/);
    const program = join(dir, "guest");
    const { stdout: text, stderr } = spawnSync("readelf", ["-a", "-W", program], {
      encoding: "utf8",
      maxBuffer: 2 ** 27,
    });
    expect(stderr).toBe("");
    expect(text).toMatch(/Type: +EXEC/);
    expect(text).toMatch(/Build ID: f740a624c26ec9d5a5ecace91645d682f562d6f0/);
  });

  it("writes one file's bytes to standard output", async () => {
    const { out, status } = await memtool(["pagecache", "/init", "--format", "raw", ...ON_DUMP]);
    expect(out).toBe(readFileSync("fixtures/vm/init.sh", "utf8"));
    expect(status).toBe(0);
  });

  it("stops at what is missing, or fills it", async () => {
    const one = ["pagecache", "--inode", "266338304", "--format", "raw", ...ON_DUMP];
    const stopped = await memtool(one);
    expect(stopped.status).not.toBe(0);
    expect(stopped.err).toMatch(/stopped at 0x1000: 1044480 bytes are missing \(not cached\); --fill/);
    const filled = await memtool([...one, "--fill", "0xee"]);
    expect(filled.status).toBe(3);
    expect(filled.stdout.length).toBe(1048576);
    expect(filled.stdout.subarray(4096).every((byte: number) => byte === 0xee)).toBe(true);
  });

  it("asks which file is meant where several match", async () => {
    const { err, status } = await memtool(["pagecache", "*.bin", "--format", "raw", ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toMatch(/more than one file matches: .*; --inode tells them apart/);
  });

  it("stops at --max-bytes, says so, and leaves nothing more", async () => {
    const dir = join(folder, "limited");
    const limited = ["pagecache", "--extract", dir, "--max-bytes", "300K", "--json", ...ON_DUMP];
    const { out, err, status } = await memtool(limited);
    expect(status).toBe(3);
    expect(err).toContain("no more than 307200 bytes are written below it");
    const rows = jsonLines(out);
    const last = rows.at(-1);
    expect(last?.error).toContain("--max-bytes SIZE allows more");
    expect(rows.slice(0, -1).map(({ error }) => error)).toEqual(rows.slice(0, -1).map(() => null));
    expect(rows.reduce((sum, { written }) => sum + (written as number), 0)).toBeLessThanOrEqual(307_200);
  });

  it("says that nothing matches, and makes no folder then", async () => {
    const dir = join(folder, "none");
    const { err, status } = await memtool(["pagecache", "/no/such", "--extract", dir, ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toMatch(/no file that is cached matches/);
    expect(existsSync(dir)).toBe(false);
  });

  it.each([
    [["--inode", "x"], /--inode x: not a number/],
    [["--format", "hex"], /raw is the only one/],
    [["--format", "raw", "--extract", "x"], /exclude each other/],
    [["--format", "raw", "--json"], /--json and --format raw exclude each other/],
    [["--fill", "0"], /--fill is for --format raw/],
    [["--extract", ""], /the name of the folder is empty/],
    [["--max-bytes", "1G"], /--max-bytes is for --extract/],
    [["--extract", "x", "--max-bytes", "much"], /not a length: "much"/],
  ])("refuses %j before the target is opened", async (args, message) => {
    const { err, status } = await memtool(["pagecache", ...args, "-f", "/no/such/dump"]);
    expect(status).toBe(2);
    expect(err).toMatch(message);
  });
});
