/** What `--json` prints, field by field: programs rely on it. */
import { describe, expect, it } from "vitest";
import { patternPage } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";
import { DUMP, ON_DUMP, ROOT, region, truth } from "../support/cli-dump.js";

describe("the contract of --json", () => {
  it("translate: where it is mapped, or why not", async () => {
    const dense = region("dense").runs[0];
    const { out, status } = await memtool([
      "translate",
      dense.start,
      "0x0",
      "0x8000000000000000",
      "--json",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(status).toBe(3);
    expect(jsonLines(out)).toEqual([
      {
        virtual: dense.start,
        physical: dense.physical,
        pageSize: 4096,
        readable: true,
        writable: true,
        user: true,
        executable: false,
      },
      { virtual: "0x0", state: "not-present", level: 1, entry: "0x0" },
      { virtual: "0x8000000000000000", state: "non-canonical", level: 0, entry: "0x0" },
    ]);
  });

  it("translate --walk: every entry beside it", async () => {
    const { out } = await memtool(["translate", "init_task", "--walk", "--json", ...ON_DUMP]);
    const [line] = jsonLines(out);
    expect(line).toMatchObject({ virtual: "0xffffffffa061aa40", physical: "0x2a1aa40", pageSize: 2 << 20 });
    expect(line?.walk).toMatchObject([{ level: 4 }, { level: 3 }, { level: 2 }]);
    expect(line?.walk).toHaveProperty([0, "entryAddress"], "0x2a10ff8");
  });

  it("maps: the runs of the huge pages are where pagemap says", async () => {
    const { start, runs } = region("huge");
    const { out, status } = await memtool(["maps", start, "--length", "4M", "--json", ...ROOT, ...ON_DUMP]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toEqual([
      {
        start,
        end: "0x480000200000",
        physical: runs[0].physical,
        pageSize: 2 << 20,
        readable: true,
        writable: true,
        user: true,
        executable: false,
        global: false,
      },
      {
        start: "0x480000200000",
        end: "0x480000400000",
        physical: runs[1].physical,
        pageSize: 2 << 20,
        readable: true,
        writable: false,
        user: true,
        executable: false,
        global: false,
      },
    ]);
  });

  it("maps: neighbours differ in something that is shown", async () => {
    for (const options of [[], ROOT]) {
      const runs = jsonLines((await memtool(["maps", "--json", ...options, ...ON_DUMP])).out);
      const rows = (await memtool(["maps", ...options, ...ON_DUMP])).out.trimEnd().split("\n").slice(1);
      expect(rows).toHaveLength(runs.length);
      for (let i = 1; i < runs.length; i++) {
        const [before, { start, end, physical, ...rights }] = [runs[i - 1] ?? {}, runs[i] ?? {}];
        // Pages in a swap area have no address that could go on.
        if (before.state !== undefined || runs[i]?.state !== undefined) continue;
        const length = BigInt(before.end as string) - BigInt(before.start as string);
        const follows =
          before.end === start && BigInt(before.physical as string) + length === BigInt(physical as string);
        if (!follows) continue;
        expect(before, end as string).not.toMatchObject(rights);
        expect(rows[i]?.slice(60), end as string).not.toBe(rows[i - 1]?.slice(60));
      }
    }
  });

  it("maps: no length has no runs", async () => {
    const { status, out } = await memtool(["maps", "init_task", "--length", "0", ...ON_DUMP]);
    expect([status, out]).toEqual([0, ""]);
  });

  it("symbols: name, address, type; and the offset from the one near an address", async () => {
    const { out } = await memtool(["symbols", "init_task", "init_pid_n?", "--json", ...ON_DUMP]);
    expect(jsonLines(out)).toEqual([
      { name: "init_task", address: "0xffffffffa061aa40", type: "D" },
      { name: "init_pid_ns", address: "0xffffffffa0659420", type: "D" },
    ]);
    const near = await memtool(["symbols", "--near", truth.stops.kernel.registers.rip, "--json", ...ON_DUMP]);
    const [found] = jsonLines(near.out);
    expect(`${found?.name}+${found?.offset}`).toBe(truth.stops.kernel.symbol);
    const text = await memtool(["symbols", "--near", truth.stops.kernel.registers.rip, ...ON_DUMP]);
    expect(text.out).toBe(
      `${truth.stops.kernel.registers.rip}  ${found?.type}  ${truth.stops.kernel.symbol}\n`,
    );
  });

  it("read: good runs and holes, ascending, that cover the range", async () => {
    const { out, status, err } = await memtool([
      "read",
      "0x40010000f000",
      "--length",
      "0x12000",
      "--json",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(status).toBe(3);
    const lines = jsonLines(out);
    expect(lines).toEqual([
      { address: "0x40010000f000", length: 4096, hex: expect.any(String) },
      { address: "0x400100010000", length: 0x10000, state: "not-present", level: 1 },
      { address: "0x400100020000", length: 4096, hex: expect.any(String) },
    ]);
    expect(lines[0]?.hex).toBe(Buffer.from(patternPage(0x40010000f000n, 0)).toString("hex"));
    expect(lines[2]?.hex).toBe(Buffer.from(patternPage(0x400100020000n, 0)).toString("hex"));
    expect(err).toContain("0x400100010000 to 0x400100020000  64 KiB  not-present (level 1)");
  });

  it("read: at most 64 KiB a line, which together are the bytes", async () => {
    const { out, status } = await memtool([
      "read",
      "0x100000040001",
      "--length",
      "200000",
      "--json",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(status).toBe(0);
    const lines = jsonLines(out);
    expect(lines.map(({ length }) => length)).toEqual([65536, 65536, 65536, 3392]);
    expect(lines.map(({ address }) => address)).toEqual([
      "0x100000040001",
      "0x100000050001",
      "0x100000060001",
      "0x100000070001",
    ]);
    const raw = await memtool([
      "read",
      "0x100000040001",
      "--length",
      "200000",
      "--format",
      "raw",
      ...ROOT,
      ...ON_DUMP,
    ]);
    expect(raw.stdout.toString("hex")).toBe(lines.map(({ hex }) => hex).join(""));
  });

  it("info: one object with the truth in it", async () => {
    const { out, status } = await memtool(["info", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const [info, more] = jsonLines(out);
    expect(more).toBeUndefined();
    expect(info).toMatchObject({
      target: `file:${DUMP}`,
      format: "kdump",
      size: truth.fixture.size,
      architecture: "x86_64",
      paging: { format: "x86-64", source: "the kernel" },
      present: truth.fixture.pagesStored * 4096,
      kernel: {
        release: truth.kernel.release,
        physBase: "-0x1dc00000",
        root: "0x2a10000",
        verified: true,
        found: { vmcoreinfo: "note", root: "swapper_pg_dir" },
        symbols: 87347,
      },
      cpus: [{ cpu: 0, cr3: truth.stops.kernel.root, rip: truth.stops.kernel.registers.rip }],
    });
    const excluded = Object.values(info?.excluded as Record<string, number>).reduce(
      (sum, bytes) => sum + bytes,
      0,
    );
    expect(excluded).toBe((truth.fixture.pagesInRam - truth.fixture.pagesStored) * 4096);
  });
});
