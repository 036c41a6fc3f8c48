/** The commands about the kernel's own things: rows for programs, tables for people. */
import { describe, expect, it } from "vitest";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, truth } from "../support/cli-dump.js";

describe("memtool iomem", () => {
  it("gives a row for each line of /proc/iomem", async () => {
    const { out, status } = await memtool(["iomem", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const rows = jsonLines(out).map(({ start, end, name, depth }) => ({ start, end, name, depth }));
    expect(rows).toEqual((truth as Truth).iomem);
  });

  it("shows people what lies in what, and ports", async () => {
    const { out } = await memtool(["iomem", ...ON_DUMP]);
    expect(out).toMatch(/ 0xf0000 +0x100000 {2}Reserved\n +0xf0000 +0x100000 {4}System ROM\n/);
    expect((await memtool(["iomem", "--ports", ...ON_DUMP])).out).toMatch(/ 0x0 +0x20 +dma1\n/);
  });
});

describe("memtool capabilities", () => {
  it("gives each set as a number and by names", async () => {
    const { out, status } = await memtool(["capabilities", "--pid", "1", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toMatchObject([
      { pid: 1, tgid: 1, comm: "init", permitted: "0x1ffffffffff", ambient: "0x0" },
    ]);
    const names = jsonLines(out)[0]?.names as Record<string, string[]>;
    expect(names.permitted).toHaveLength(41);
    expect(names.ambient).toEqual([]);
  });

  it("shows people all, none, or which", async () => {
    const { out } = await memtool(["capabilities", "--pid", "1", ...ON_DUMP]);
    expect(out).toMatch(/^ *1 +init +all +all +- +all +-\n/m);
  });
});

describe("memtool timers", () => {
  it("gives programs times as decimal text, and addresses as hex", async () => {
    const { out, status } = await memtool(["timers", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const rows = jsonLines(out);
    const sleeper = rows.find((each) => each.function === "hrtimer_wakeup");
    expect(sleeper).toMatchObject({
      kind: "high-resolution",
      cpu: 0,
      clock: "monotonic",
      soft: false,
      work: null,
    });
    const { expires, softExpires, now, remaining, address, base } = sleeper as Record<string, string>;
    for (const each of [expires, softExpires, now, remaining]) expect(each).toMatch(/^-?\d+$/);
    expect(BigInt(remaining as string)).toBe(BigInt(expires as string) - BigInt(now as string));
    for (const each of [address, base]) expect(each).toMatch(/^0xff[0-9a-f]{14}$/);
    expect(rows.find((each) => each.work === "vmstat_shepherd")).toMatchObject({
      kind: "wheel",
      softExpires: null,
    });
  });

  it("shows people what is called, when, and for whom", async () => {
    const { out } = await memtool(["timers", ...ON_DUMP]);
    expect(out).toMatch(
      /^high-resolution +0 +monotonic +\d+ +-?\d+ ns +0xff[0-9a-f]+ +hrtimer_wakeup +\d+ \(\S+\)$/m,
    );
    expect(out).toMatch(/^wheel +0 +deferrable .* jiffies +deferrable, irqsafe .* vmstat_shepherd$/m);
  });
});

describe("memtool irqs", () => {
  it("gives programs counts of each CPU, and each handler", async () => {
    const { out, status } = await memtool(["irqs", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const serial = jsonLines(out).find((each) => each.label === "4");
    expect(serial).toMatchObject({ irq: 4, chip: "IO-APIC", hwirq: "0x4", flow: "edge", affinity: [0] });
    expect(serial?.counts).toEqual([{ cpu: 0, count: serial?.total }]);
    expect(serial?.actions).toMatchObject([
      { name: "ttyS0", handler: "serial8250_interrupt", threadPid: null },
    ]);
  });

  it("shows people the lines of /proc/interrupts, and of /proc/softirqs", async () => {
    const { out } = await memtool(["irqs", ...ON_DUMP]);
    expect(out).toMatch(/^ +4 +\d+ +IO-APIC +4 +edge +edge +0 +ttyS0 \(serial8250_interrupt\)$/m);
    expect(out).toMatch(/^LOC +\d+ +Local timer interrupts$/m);
    expect((await memtool(["irqs", "--softirqs", ...ON_DUMP])).out).toMatch(
      /^ +1 +TIMER +\d+ +run_timer_softirq$/m,
    );
    expect((await memtool(["irqs", "--all", ...ON_DUMP])).out.length).toBeGreaterThan(out.length);
  });
});
