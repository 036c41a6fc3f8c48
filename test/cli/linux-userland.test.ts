import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseElfHeader } from "../../src/linux/userland/elf-header.js";
import { jsonLines, memtool } from "../support/cli.js";

const ON_DUMP = ["-f", "fixtures/linux-6.1-x86_64.kdump"];
/** Of /guest in the fixture: `readelf -n`. */
const GUEST_ID = "f740a624c26ec9d5a5ecace91645d682f562d6f0";

describe("elfs", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "memtool-elfs-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("lists the program and the vDSO of a process that is static", async () => {
    const { out, status } = await memtool(["elfs", "--pid", "98", "--json", ...ON_DUMP]);
    expect(jsonLines(out).map(({ kind, path, how }) => [kind, path, how])).toEqual([
      ["program", "/guest", "mapping"],
      ["vdso", "[vdso]", "special mapping"],
    ]);
    expect(jsonLines(out)[0]).toMatchObject({
      start: "0x400000",
      machine: "x86_64",
      bits: 64,
      buildId: GUEST_ID,
    });
    expect(status).toBe(0);
  });

  it("with --physical finds headers in RAM without any process", async () => {
    const { out, status } = await memtool(["elfs", "--physical", "--json", ...ON_DUMP]);
    const found = jsonLines(out);
    expect(found.map(({ soname }) => soname)).toEqual(
      expect.arrayContaining(["linux-vdso.so.1", "linux-gate.so.1"]),
    );
    expect(found.map(({ buildId }) => buildId)).toContain(GUEST_ID);
    expect(found.every(({ pid, how }) => pid === null && how === "physical memory")).toBe(true);
    expect(status).toBe(0);
  });

  it("--extract writes files and a manifest of what is missing, and replaces nothing", async () => {
    const extract = ["elfs", "--pid", "98", "--extract", directory, "--json", ...ON_DUMP];
    const first = await memtool(extract);
    const files = jsonLines(first.out).map(({ file }) => file as string);
    expect(readdirSync(directory).sort()).toEqual([...files, "manifest.jsonl"].sort());
    for (const line of jsonLines(readFileSync(join(directory, "manifest.jsonl"), "utf8"))) {
      const bytes = readFileSync(join(directory, line.file as string));
      expect(parseElfHeader(bytes), line.file as string).toBeDefined();
      expect(bytes.length).toBe(line.size);
      const holes = line.holes as { start: number; end: number }[];
      expect(holes.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(line.missing);
    }
    writeFileSync(join(directory, files[0] as string), "mine");
    const second = jsonLines((await memtool(extract)).out).map(({ file }) => file as string);
    expect(second).toEqual(files.map((file) => `${file}~2`));
    expect(readdirSync(directory).sort()).toEqual(
      [...files, ...second, "manifest.jsonl", "manifest.jsonl~2"].sort(),
    );
    expect(readFileSync(join(directory, files[0] as string), "utf8")).toBe("mine");
  });

  it("--extract stops at --max-bytes, and its manifest has what is missing so", async () => {
    const below = join(directory, "limited");
    const { out, err, status } = await memtool([
      ...["elfs", "--pid", "98", "--extract", below, "--max-bytes", "100K", "--json"],
      ...ON_DUMP,
    ]);
    expect(status).toBe(3);
    expect(err).toContain("no more than 102400 bytes are written below it");
    expect(err).toContain("--max-bytes SIZE allows more");
    expect(jsonLines(out)).toHaveLength(1);
    const [line] = jsonLines(readFileSync(join(below, "manifest.jsonl"), "utf8"));
    expect((line?.size as number) - (line?.missing as number)).toBeLessThanOrEqual(102_400);
  });

  it("--extract is refused with --physical, which knows only first pages", async () => {
    const { err, status } = await memtool(["elfs", "--physical", "--extract", directory, "-f", "/nowhere"]);
    expect([status, err]).toEqual([2, expect.stringContaining("--extract is for processes")]);
  });
});

describe("libraries", () => {
  it("says of static programs that they have no linker's list", async () => {
    const { out, err, status } = await memtool(["libraries", "--pid", "98", ...ON_DUMP]);
    expect([out, status]).toEqual(["", 0]);
    expect(err).toContain("process 98 has no dynamic linker's list: its program is static");
  });
});

describe("symbols of a process", () => {
  it("are found beside the kernel's, by name, by object and near an address", async () => {
    const { out } = await memtool([
      "symbols",
      "__vdso_time",
      "vdso:time",
      "init_task",
      "--pid",
      "98",
      "--json",
      ...ON_DUMP,
    ]);
    const [vdso, alias, kernel] = jsonLines(out);
    expect(vdso).toMatchObject({ name: "__vdso_time", module: "vdso", type: "T", version: "LINUX_2.6" });
    expect(alias).toMatchObject({ name: "time", address: vdso?.address });
    expect(kernel).not.toHaveProperty("module");
    const near = await memtool(["symbols", "--near", "__vdso_time+1", "--pid", "98", ...ON_DUMP]);
    expect(near.out).toContain("time+0x1  [vdso]\n");
  });

  it("are addresses of read, which reads the process's memory there", async () => {
    const { out, status } = await memtool([
      "read",
      "vdso:__vdso_time",
      "-l",
      "16",
      "--pid",
      "98",
      ...ON_DUMP,
    ]);
    const { out: found } = await memtool(["symbols", "__vdso_time", "--pid", "98", "--json", ...ON_DUMP]);
    const [row] = jsonLines(found);
    expect(out).toContain(String(row?.address).slice(2));
    expect(status).toBe(0);
  });

  it("need --pid, and say so", async () => {
    const { err, status } = await memtool(["read", "libc.so.6:malloc", ...ON_DUMP]);
    expect([status, err]).toEqual([2, expect.stringContaining("say which, with --pid")]);
  });

  it("that neither the process nor the kernel has are an error", async () => {
    const { err, status } = await memtool(["symbols", "__vdso_tine", "--pid", "98", ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toContain('no symbol of the process or the kernel "__vdso_tine"; did you mean __vdso_time');
  });
});
