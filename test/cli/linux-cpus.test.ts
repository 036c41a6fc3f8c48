/** The commands about CPUs and slab caches: rows for programs, tables for people. */
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, truth } from "../support/cli-dump.js";

describe("memtool cpus", () => {
  const { registers, symbol } = truth.stops.kernel;

  it("gives a row for each CPU, with what the emulator said of its registers", async () => {
    const { out, status } = await memtool(["cpus", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toMatchObject([
      {
        cpu: 0,
        online: true,
        pid: truth.pid,
        idle: false,
        pc: registers.rip,
        sp: registers.rsp,
        symbol,
        processor: { kind: "x86", vendor: "GenuineIntel" },
        registers: { cr3: registers.cr3, rflags: registers.rflags, gs_base: registers.gsBase },
      },
    ]);
  });

  it("shows people where each was, and all registers and features when asked", async () => {
    const short = (await memtool(["cpus", ...ON_DUMP])).out;
    expect(short).toMatch(/^CPU +ONLINE +PROCESSOR +PER-CPU +PID +COMM +IDLE +AT +STACK\n/);
    expect(short).toContain(symbol);
    expect(short).not.toContain("cr3");
    const long = (await memtool(["cpus", "--registers", "--features", ...ON_DUMP])).out;
    expect(long).toContain(`cr3 ${registers.cr3}`);
    expect(long).toMatch(/^ {2}features: fpu .* vaes$/m);
    expect(long).toMatch(/^ {2}bugs: cpu_meltdown /m);
  });
});

describe("memtool slabs", () => {
  it("gives a row for each cache", async () => {
    const { out, status } = await memtool(["slabs", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const rows = jsonLines(out);
    expect(rows.length).toBeGreaterThan(100);
    expect(rows.at(-1)).toMatchObject({ name: "kmem_cache", ctor: null, aliases: [] });
    expect(rows.find(({ name }) => name === "inode_cache")).toMatchObject({ ctor: { name: "init_once" } });
  });

  it("shows people numbers, constructors and flags by name", async () => {
    const { out } = await memtool(["slabs", ...ON_DUMP]);
    expect(out).toMatch(/^NAME +ACTIVE +OBJECTS +SIZE +ASKED /);
    expect(out).toMatch(/^inode_cache +\d+ +\d+ .* init_once .*RECLAIM_ACCOUNT\|/m);
    expect(out).toMatch(/^kmem_cache +\d+ +\d+ .* HWCACHE_ALIGN/m);
  });
});
