/** Two dumps of one guest: what it did between them is what differs, and its clocks are those that it printed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { bootTwice, type TwiceGuest } from "../../fixtures/vm/twice.mjs";
import { diffMachines, listChecked, type MachineDifference, readClocks } from "../../src/linux/index.js";

describe.each(["amd64", "amd64-612"] as const)("a guest that was dumped twice: %s", (name) => {
  let guest: TwiceGuest;
  let before: Machine;
  let after: Machine;
  let found: MachineDifference[];
  let elapsed: bigint | undefined;
  beforeAll(async () => {
    guest = await bootTwice({ machine: name });
    before = await open(guest.first, { kernel: "search" });
    after = await open(guest.second, { kernel: "search" });
    found = await diffMachines(before, after, {
      pages: true,
      onBoots: (boots) => {
        elapsed = boots.elapsed;
      },
      onDamage: () => {},
    }).toArray();
  });
  afterAll(async () => {
    await before?.close();
    await after?.close();
    await guest?.close();
  });

  const pids = () => (guest.texts.get("pids") ?? "").trim().split(" ").map(Number);
  const of = (kind: string) => found.filter((each) => each.kind === kind);

  it("has the processes that ended, began and changed, and not the one that stayed", () => {
    const [stays, leaves, changes, appears] = pids();
    const mine = new Map(of("process").map((each) => [each.pid, each]));
    expect(mine.has(stays as number)).toBe(false);
    expect(mine.get(leaves as number)?.change).toBe("gone");
    expect(mine.get(appears as number)).toMatchObject({ change: "appeared" });
    const fields = mine.get(changes as number)?.fields ?? [];
    expect(fields.map(({ field, after: now }) => [field, now])).toEqual(
      expect.arrayContaining([
        ["comm", "mt-changed"],
        ["uid", 1234],
      ]),
    );
  });

  it("has the file that was opened, and the one that was closed", () => {
    const files = of("file").filter(({ pid }) => pid === 1);
    expect(files.some(({ change, what }) => change === "appeared" && / 40 \/proc\/uptime$/.test(what))).toBe(
      true,
    );
    expect(files.flatMap(({ fields }) => fields).filter(({ field }) => field === "path")).toEqual([
      { field: "path", before: "/proc/version", after: expect.stringMatching(/^socket:/) },
    ]);
  });

  it("has the socket that listens, and the mount", () => {
    const sockets = of("socket").filter(({ change }) => change === "appeared");
    expect(sockets.map(({ what }) => what)).toContain("tcp 127.0.0.1:4242 LISTEN");
    expect(of("mount").map(({ change, what }) => [change, what])).toEqual([
      ["appeared", "/mnt (tmpfs, none)"],
    ]);
  });

  it("has the page of the file that was written, and no other of it", () => {
    const file = of("cached-file").find(({ what }) => what === "/cached");
    expect(file?.after).toMatchObject({ ranges: [{ start: 4096, end: 8192 }], pages: 1, compared: 3 });
  });

  it("has the page that the host wrote to", () => {
    const ranges = of("pages").map(({ after: range }) => range as { start: number; end: number });
    expect(ranges.some(({ start, end }) => start <= guest.page && guest.page < end)).toBe(true);
  });

  it("tells the static key that was turned as the kernel's own doing, and no other change of text", () => {
    const [, , , , turned] = pids();
    const text = of("text");
    if (turned === 1) expect(text.length).toBeGreaterThan(0);
    expect(text.filter(({ note }) => note === null).map(({ what }) => what)).toEqual([]);
    for (const { note } of text)
      expect(note).toMatch(/^the kernel's own doing: (static key|static call|ftrace|kprobe)/);
  });

  it("tells the kprobes that the guest set, by breakpoint and by jump, as the kernel's own doing", async () => {
    const text = new Map(of("text").map(({ what, note }) => [what, note]));
    const told = probes().map(({ name, isTraced }) => [name, isTraced, text.get(name)]);
    expect(told.filter(([, isTraced]) => isTraced === false).length).toBeGreaterThan(3);
    for (const [, isTraced, note] of told) expect(note).toContain(isTraced === true ? "ftrace" : "kprobe");
  });

  it("lists the kprobes that the guest has, and finds nothing amiss in them", async () => {
    const rows = await listChecked(after.kernel as NonNullable<Machine["kernel"]>, "ftrace", {
      all: true,
    }).toArray();
    const mine = rows.filter(({ what }) => what.startsWith("kprobe of "));
    expect(new Set(mine.map(({ what }) => /^kprobe of ([^:+]+)/.exec(what)?.[1]))).toEqual(
      new Set(probes().map(({ name }) => name)),
    );
    expect(mine.filter(({ severity }) => severity !== null)).toEqual([]);
  });

  /** Those of /sys/kernel/debug/kprobes/list. */
  function probes(): { name: string; isTraced: boolean }[] {
    const lines = (guest.texts.get("kprobes") ?? "").trim().split("\n");
    return lines.map((line) => ({
      name: /\s([A-Za-z_]\w+)\+0x/.exec(line)?.[1] ?? line,
      isTraced: line.includes("[FTRACE]"),
    }));
  }

  it("has the clocks that the guest printed, within a second", async () => {
    const [real = "", boot = ""] = (guest.texts.get("clocks second") ?? "").trim().split(" ");
    const clocks = await readClocks(after.kernel as NonNullable<Machine["kernel"]>);
    expect(Math.abs(Number(clocks?.realtime) / 1e9 - Number(real))).toBeLessThan(3);
    expect(Math.abs(Number(clocks?.boottime) / 1e9 - Number(boot))).toBeLessThan(3);
    expect(Number(clocks?.realtime) / 1e9 - Number(clocks?.boottime) / 1e9).toBeCloseTo(
      Number(real) - Number(boot),
      2,
    );
    const [, first = ""] = (guest.texts.get("clocks first") ?? "").trim().split(" ");
    expect(Math.abs(Number(elapsed) / 1e9 - (Number(boot) - Number(first)))).toBeLessThan(3);
  });
});
