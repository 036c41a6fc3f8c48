/** `memtool owners`: a row an owner for programs, a table for people. */
import { describe, expect, it } from "vitest";
import type { PageRun } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, truth } from "../support/cli-dump.js";

/** A page that the witness alone maps, and where. */
const OWN = (truth.witnessPages as PageRun[]).find(
  ({ physical, exclusive }) => physical !== null && exclusive === true,
);
const PHYSICAL = OWN?.physical as string;

describe("memtool owners", () => {
  it("gives each owner of each address, in the order of these", async () => {
    const address = `0x${(Number(PHYSICAL) + 16).toString(16)}`;
    const { out, status } = await memtool(["owners", address, "0xfee00000", "0", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const virtual = `0x${(BigInt(OWN?.start ?? 0) + 16n).toString(16)}`;
    expect(jsonLines(out)).toEqual([
      {
        physical: address,
        kind: "process",
        pid: truth.witnessPid,
        virtual,
        what: "mt-witness, rw-p",
        owner: { comm: "mt-witness", path: "", rights: "rw-p" },
      },
      {
        physical: "0xfee00000",
        kind: "no page structure",
        pid: null,
        virtual: null,
        what: "Local APIC",
        owner: { name: "Local APIC" },
      },
      {
        physical: "0x0",
        kind: "reserved",
        pid: null,
        virtual: null,
        what: "Reserved",
        owner: { name: "Reserved" },
      },
    ]);
  });

  it("takes addresses from standard input; a line that is none is told, and the others answered", async () => {
    const { out, err, status } = await memtool(["owners", "--stdin", "--json", ...ON_DUMP], {
      input: `# hits\n${PHYSICAL}\nnowhere\n${PHYSICAL}\n`,
    });
    expect(jsonLines(out).map(({ physical, pid }) => [physical, pid])).toEqual([
      [PHYSICAL, truth.witnessPid],
      [PHYSICAL, truth.witnessPid],
    ]);
    expect(err).toContain('line 3: not a physical address: "nowhere"');
    expect(status).toBe(3);
  });

  it("answers a range page by page, for people as a table", async () => {
    const { out, status } = await memtool(["owners", "0x1000000", "--length", "12K", ...ON_DUMP]);
    expect(status).toBe(0);
    const [heading, ...rows] = out.trimEnd().split("\n");
    expect(heading).toMatch(/^ *PHYSICAL +KIND +PID +VIRTUAL +WHAT$/);
    expect(rows.map((row) => row.trim().split(/ +/)[0])).toEqual(["0x1000000", "0x1001000", "0x1002000"]);
    expect(out).toMatch(/kernel +0xffffffff[0-9a-f]+ +text, \w+/);
  });

  it.each([
    [["owners"], "no address: give one or more, or --stdin"],
    [
      ["owners", "--stdin", "0x1000"],
      "--stdin reads the addresses from standard input: give none as arguments",
    ],
    [["owners", "linux_banner"], 'not a physical address: "linux_banner"'],
    [["owners", "0x1000", "--length", "0"], "--length"],
    [["owners", "0", "--length", "1T"], "268435456 pages are too many at once"],
  ])("refuses %j before the target is opened", async (command, says) => {
    const { out, err, status } = await memtool([...command, "-f", "no-such-file"]);
    expect([out, status]).toEqual(["", 2]);
    expect(err).toContain(says);
  });

  it("makes no table of a million pages and more", async () => {
    const { out, err, status } = await memtool(["owners", "0", "--length", "5G", ...ON_DUMP]);
    expect([out, status]).toEqual(["", 2]);
    expect(err).toContain("--json");
  });

  it("says what a kernel without types lacks", async () => {
    const { out, err, status } = await memtool(["owners", "0x1000", "-f", "fixtures/linux-6.1-i386.kdump"]);
    expect([out, status]).toEqual(["", 1]);
    expect(err).toContain("--types FILE");
  });
});
