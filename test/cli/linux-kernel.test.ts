/** The commands about the kernel's own things: rows for programs, tables for people. */
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, testFolder, truth } from "../support/cli-dump.js";
import { DummyKernel, IMAGE } from "../support/kernel.js";

const { file } = testFolder();

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

/** Options that open a kernel which holds this configuration. */
function holding(config: string): string[] {
  const kernel = new DummyKernel({ textAt: 0x3000 });
  const place = 0x60000;
  // (Its image begins at 2 MiB.)
  kernel.ram.set(gzipSync(config), 0x200000 + place);
  const symbols = `${IMAGE.toString(16)} T _stext\n${(IMAGE + BigInt(place)).toString(16)} r kernel_config_data\n`;
  return ["-f", file("kernel.raw", kernel.ram), "--symbols", file("kernel.map", symbols)];
}

describe("memtool config", () => {
  it("says where the configuration of a kernel is that does not hold it", async () => {
    const { status, out, err } = await memtool(["config", ...ON_DUMP]);
    expect({ status, out }).toEqual({ status: 1, out: "" });
    expect(err).toMatch(/does not hold its configuration \(.*CONFIG_IKCONFIG.*\/boot\/config-6\.1\.0-/);
  });

  it("shows the text, or options by name or pattern, with or without their prefix", async () => {
    const config = 'CONFIG_SMP=y\n# CONFIG_BPF is not set\nCONFIG_BPF_JIT=y\nCONFIG_HOST="(a\\\\b)"\n';
    const dump = holding(`# Linux/x86\n${config}`);
    const run = async (...args: string[]) => {
      const { status, out } = await memtool(["config", ...args, ...dump]);
      return { status, out };
    };
    expect(await run()).toEqual({ status: 0, out: `# Linux/x86\n${config}` });
    expect(await run("SMP", "CONFIG_BPF*")).toEqual({
      status: 0,
      out: config.split("\n").slice(0, 3).join("\n").concat("\n"),
    });
    expect(jsonLines((await run("HOST", "BPF", "--json")).out)).toEqual([
      { name: "CONFIG_BPF", value: "n" },
      { name: "CONFIG_HOST", value: "(a\\b)" },
    ]);
    expect(await run("NOTHING")).toEqual({ status: 1, out: "" });
  });
});

describe("memtool tty", () => {
  it("gives a row for each open terminal, and its processes", async () => {
    const { out, status } = await memtool(["tty", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const [serial] = jsonLines(out).filter(({ name }) => name === "ttyS0");
    expect(serial).toMatchObject({
      device: "4:64",
      driver: "ttyS",
      discipline: "n_tty",
      receive: "n_tty_receive_buf2",
      users: expect.arrayContaining([{ pid: 1, comm: "init", fd: 0 }]),
    });
    expect((await memtool(["tty", ...ON_DUMP])).out).toMatch(
      /^ttyS0 +4:64 .* n_tty +n_tty_receive_buf2 +1 +1 \d/m,
    );
  });

  it("shows their drivers as /proc/tty/drivers does", async () => {
    const { out } = await memtool(["tty", "--drivers", ...ON_DUMP]);
    expect(out).toMatch(/^pty_slave +pts +136 +0-1048575 +pty:slave +0xffff/m);
    expect(out).toMatch(/^unknown +tty +4 +1-63 +console +0xffff/m);
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
