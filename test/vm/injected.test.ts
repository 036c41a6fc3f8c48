/** Code in memory that is of no file, or not as in its file, and processes that have ended: what memtool finds against what a program made. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { bootInjected, type InjectedGuest } from "../../fixtures/vm/injected.mjs";
import { type Linux, type ScannedTask, type SuspiciousMemory, scanTasks } from "../../src/linux/index.js";
import { rowsOf } from "../support/vm-rows.js";

const hex = (value: bigint | undefined) => `0x${value?.toString(16)}`;

describe("a guest with injected code and ended processes", () => {
  let guest: InjectedGuest;
  let machine: Machine;
  let linux: Linux;
  let found: SuspiciousMemory[];
  let scanned: ScannedTask[];
  const damage: string[] = [];
  beforeAll(async () => {
    guest = await bootInjected({ log: (line) => console.log(line) });
    machine = await open(guest.rawFile);
    linux = await machine.linux();
    const onDamage = (each: { message: string }) => void damage.push(each.message);
    found = await linux.suspiciousMemory({ onDamage }).toArray();
    scanned = await scanTasks(linux, { onDamage }).toArray();
  });
  afterAll(async () => {
    await machine?.close();
    await guest?.close();
  });

  /** Lines of a section that the guest printed, by their fields. */
  const rows = (name: string) => rowsOf(guest.texts, name);
  const made = (kind: string) => {
    const [, start] = rows("made").find(([name]) => name === kind) as string[];
    return found.find((each) => hex(each.start) === start);
  };

  it("finds each mapping that the program made, where it made it, and nothing else", () => {
    const mine = found.map(({ pid, start, end }) => `${pid} ${hex(start)} ${hex(end)}`);
    const parts = new Map<string, string[]>(rows("made").map(([kind, ...range]) => [kind as string, range]));
    parts.delete("sound");
    // (Rights of one page alone make a range of their own of it.)
    const [start] = parts.get("modified") as string[];
    const second = BigInt(start as string) + 4096n;
    parts.set("modified", [hex(second), hex(second + 4096n)]);
    expect(mine.sort()).toEqual([...parts.values()].map((range) => `1 ${range.join(" ")}`).sort());
    expect(damage).toEqual([]);
  });

  it("says what is unusual about each", () => {
    const kinds = (kind: string) => made(kind)?.kinds;
    expect(kinds("anonymous writable")).toEqual(["anonymous", "writable"]);
    expect(kinds("anonymous")).toEqual(["anonymous"]);
    expect(kinds("memfd")).toEqual(["memfd"]);
    expect(kinds("deleted")).toEqual(["deleted"]);
    expect(kinds("shared writable")).toEqual(["writable", "shared"]);
    expect(kinds("heap")).toEqual(["heap"]);
    expect(kinds("stack writable")).toEqual(["stack", "writable"]);
  });

  it("tells pages of zeros, and ranges of which nothing is in memory", () => {
    expect(made("zeros")).toMatchObject({ zero: true, resident: 2 });
    expect(made("untouched")).toMatchObject({ zero: undefined, resident: 0, bytes: new Uint8Array(0) });
    expect(made("anonymous")).toMatchObject({ zero: false, severity: "notice" });
  });

  it("shows the code behind a page of zeros", () => {
    const one = made("anonymous writable") as SuspiciousMemory;
    expect(one.address).toBe(one.start + 4096n);
    expect(Buffer.from(one.bytes).toString("hex")).toMatch(/^554889e531c05dc30{16}/);
  });

  it("finds the three bytes that are not those of the file, and where", () => {
    const page = found.find(({ kinds }) => kinds.includes("modified")) as SuspiciousMemory;
    expect(page).toMatchObject({ severity: "alert", modifiedCount: 1, path: "/init" });
    expect(page.modified).toEqual([{ address: page.start, differing: 3, first: 0x123 }]);
    expect(page.address).toBe(page.start + 0x120n);
  });

  it("finds what is left of processes that have ended, and hides none", () => {
    const pids = rows("ended").map(([pid]) => Number(pid));
    const remains = scanned.filter(({ comm, status }) => comm === "mt-ended" && status === "freed");
    expect(remains.length).toBeGreaterThan(pids.length / 2);
    expect(remains.map(({ pid }) => pid).filter((pid) => !pids.includes(pid ?? -1))).toEqual([]);
    expect(scanned.filter(({ status }) => ["hidden", "copy"].includes(status))).toEqual([]);
  });

  it("finds every thread that is listed by its shape, and both CPUs' idle tasks", async () => {
    const byShape = scanned.filter(({ evidence }) => evidence.length > 0).map(({ address }) => address);
    const threads = await linux.tasks({ threads: true }).toArray();
    expect(threads.map(({ address }) => address).filter((each) => !byShape.includes(each))).toEqual([]);
    expect(
      scanned
        .filter(({ status }) => status === "idle")
        .map(({ comm }) => comm)
        .sort(),
    ).toEqual(["swapper/0", "swapper/1"]);
  });
});
