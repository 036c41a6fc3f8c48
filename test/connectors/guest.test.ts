/** Guests inside targets: `open` with `ept`, and `--ept` on the command line. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../connectors/convert/convert.js";
import { open } from "../../connectors/open.js";
import { pattern } from "../support/bytes.js";
import { memtool } from "../support/cli.js";
import { NestedTables } from "../support/write-nested.js";

const PAGE = 4096;
const MiB = 2 ** 20;
/** Pages of the guest at 0 and at 1 MiB, by frame of the host. */
const LOW = [900, 3, 17];
const HIGH = [4, 800];

const folder = mkdtempSync(join(tmpdir(), "memtool-guest-"));
const host = join(folder, "host.raw");
const bytes = pattern(4 * MiB, 3);
let root = 0;
/** The guest's memory as a raw image. */
const wanted = new Uint8Array(MiB + HIGH.length * PAGE);

beforeAll(() => {
  let next = 1000;
  const tables = new NestedTables(bytes, "ept", 5, () => {
    bytes.fill(0, next * PAGE, (next + 1) * PAGE);
    return next++ * PAGE;
  });
  const map = (guest: number, frame: number) => {
    tables.map({ guest, host: frame * PAGE, size: PAGE });
    wanted.set(bytes.subarray(frame * PAGE, (frame + 1) * PAGE), guest);
  };
  for (const [i, frame] of LOW.entries()) map(i * PAGE, frame);
  for (const [i, frame] of HIGH.entries()) map(MiB + i * PAGE, frame);
  root = tables.root;
  writeFileSync(host, bytes);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a guest inside a dump", () => {
  it("is opened instead of its host, which it still tells of", async () => {
    const machine = await open(host, { kernel: "none", ept: { root } });
    try {
      expect(machine.image).toBeUndefined();
      expect(machine.guest).toMatchObject({ root, mmu: { name: "ept5" }, formatSource: "tables" });
      expect(machine.guest?.host.map.bytesPresent).toBe(4 * MiB);
      expect([...(machine.physical?.map ?? [])]).toEqual([
        { start: 0, end: 3 * PAGE, state: "present" },
        { start: MiB, end: MiB + 2 * PAGE, state: "present" },
      ]);
      expect(await machine.memory.read(MiB, 2 * PAGE)).toEqual(wanted.slice(MiB));
      const path = join(folder, "inner.raw");
      const summary = await convert(machine, path, { to: "raw", verify: true });
      expect(summary.present).toBe(5 * PAGE);
      expect(Buffer.from(readFileSync(path)).equals(wanted)).toBe(true);
    } finally {
      await machine.close();
    }
  });

  it("that isn't there, or in a process, is an error", async () => {
    const guest = (at: number) => open(host, { kernel: "none", ept: [{ root: at }] });
    await expect(guest(0)).rejects.toMatchObject({ code: "NO_NESTED_TABLES" });
    await expect(guest(root + 1)).rejects.toThrow(RangeError);
    const inProcess = open({ connector: `proc:${process.pid}` }, { ept: { root } });
    await expect(inProcess).rejects.toMatchObject({ code: "NO_PHYSICAL_MEMORY" });
  });
});

describe("--ept", () => {
  const hex = (value: number) => `0x${value.toString(16)}`;

  it("shows the guest, and says which format was taken and why", async () => {
    const { out, status } = await memtool(["info", "-f", host, "--ept", hex(root)]);
    expect(status).toBe(0);
    expect(out).toContain(`guest inside  nested page tables at ${hex(root)}, ept5 as its tables look\n`);
    expect(out).toContain("present       20 KiB\n");
    const eptp = await memtool(["info", "-f", host, "--ept", hex(root + 0x26), "--json"]);
    expect(JSON.parse(eptp.out)).toMatchObject({
      format: "raw",
      guest: { root: hex(root), format: "ept5", formatSource: "EPTP", mapped: 5 * PAGE, missingTables: 0 },
      present: 5 * PAGE,
    });
    const given = await memtool(["info", "-f", host, "--ept", `${hex(root)}:ept5`]);
    expect(given.out).toContain("ept5 as asked for");
  });

  it("reads and writes down the guest's physical memory; what its tables don't map is not present", async () => {
    const target = ["-f", host, "--ept", hex(root)];
    const read = await memtool(["read", "0x2ff8", "-l", "16", "--physical", "--json", ...target]);
    const line = JSON.parse(read.out.split("\n")[0] as string);
    expect(line).toEqual({
      address: "0x2ff8",
      length: 8,
      hex: Buffer.from(wanted.subarray(0x2ff8, 0x3000)).toString("hex"),
    });
    expect(read.status).toBe(3);
    expect(read.out).toContain('"state":"not-present"');
    const path = join(folder, "inner.lime");
    const written = await memtool(["convert", path, "--verify", ...target]);
    expect(written.status).toBe(0);
    const machine = await open(path, { kernel: "none" });
    expect(await machine.physical?.read(MiB, 8)).toEqual(wanted.slice(MiB, MiB + 8));
    await machine.close();
  });

  it.each([
    ["0x1008", "neither a multiple of 4096 nor an EPTP"],
    ["0x1000:x86", "behind the colon, one of ept, ept4"],
    ["init_task", "takes a physical address"],
    ["0x101e:npt", "an EPTP of ept4, not npt"],
  ])("%s is a mistake in the command line", async (text, why) => {
    const { err, status } = await memtool(["info", "-f", host, "--ept", text]);
    expect([status, err]).toEqual([2, expect.stringContaining(why)]);
  });

  it("of what is no guest says so", async () => {
    const { err, status } = await memtool(["info", "-f", host, "--ept", "0x5000"]);
    expect([status, err]).toEqual([1, expect.stringContaining("no nested page tables at 0x5000")]);
  });
});
