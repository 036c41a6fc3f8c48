/** What can't be read: it is said, and the rest is given. */
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, testFolder } from "../support/cli-dump.js";

const { file } = testFolder();

describe("what can't be read", () => {
  it("is shown as such", async () => {
    const { out, status, err } = await memtool([
      "read",
      "0x11fff8",
      "--length",
      "4K",
      "--physical",
      ...ON_DUMP,
    ]);
    expect(status).toBe(3);
    expect(out).toBe(
      "000000000011fff8  00 00 00 00 00 00 00 00  ·· ·· ·· ·· ·· ·· ·· ··  |........        |\n" +
        "0000000000120008  ·· ·· ·· ·· ·· ·· ·· ··  ·· ·· ·· ·· ·· ·· ·· ··  excluded\n" +
        "*\n" +
        "0000000000120fe8  ·· ·· ·· ·· ·· ·· ·· ··  ·· ·· ·· ·· ·· ·· ·· ··  excluded\n",
    );
    expect(err).toBe(
      "memtool: about 4 KiB of 4 KiB could not be read (ends are exclusive):\n" +
        "  0x120000 to 0x120ff8  about 4 KiB  excluded\n",
    );
  });

  it("stops a raw output, unless it is filled or left out", async () => {
    const args = ["read", "0x11fff8", "--length", "16", "--physical", "--format", "raw", ...ON_DUMP];
    const stopped = await memtool(args);
    expect([stopped.status, stopped.stdout.length]).toEqual([1, 8]);
    expect(stopped.err).toContain("stopped at 0x120000");
    expect(stopped.err).toContain("--fill");
    const filled = await memtool([...args, "--fill", "0xaa"]);
    expect([filled.status, filled.stdout.toString("hex")]).toEqual([3, "0000000000000000aaaaaaaaaaaaaaaa"]);
    const left = await memtool([...args, "--skip-holes"]);
    expect([left.status, left.stdout.length]).toEqual([3, 8]);
  });

  it("length 0 reads nothing, and is no failure", async () => {
    for (const address of ["0x0", "linux_banner", "0xffffffffffffffff"]) {
      expect(await memtool(["read", address, "--length", "0", ...ON_DUMP])).toMatchObject({
        status: 0,
        out: "",
        err: "",
      });
    }
  });

  it("a whole address space is read, holes of 2^47 bytes at once, in bounded memory", async () => {
    const { out, status } = await memtool(
      ["read", "0x0", "--length", "0xffff8a2780000000", "--json", ...ON_DUMP],
      {
        env: { NODE_OPTIONS: "--max-old-space-size=64" },
      },
    );
    expect(status).toBe(1);
    expect(jsonLines(out)).toEqual([
      { address: "0x0", length: 2 ** 47, state: "not-present", level: 4 },
      { address: "0x800000000000", length: "0xffff000000000000", state: "non-canonical" },
      { address: "0xffff800000000000", length: 0xa0000000000, state: "not-present", level: 4 },
      { address: "0xffff8a0000000000", length: 0x2780000000, state: "not-present", level: 3 },
    ]);
    const physical = await memtool([
      "read",
      "0x7000000",
      "--length",
      "15T",
      "--physical",
      "--json",
      ...ON_DUMP,
    ]);
    expect(jsonLines(physical.out)).toEqual([
      { address: "0x7000000", length: 15 * 2 ** 40, state: "outside" },
    ]);
    const beyond = await memtool([
      "read",
      "0x7000000",
      "--length",
      "0xffffffff00000000",
      "--physical",
      "--json",
      ...ON_DUMP,
    ]);
    expect(jsonLines(beyond.out)).toEqual([
      { address: "0x7000000", length: "0xffffffff00000000", state: "outside" },
    ]);
    // No physical address, though an address of 64 bits.
    const virtual = await memtool(["read", "0xffffffff81000000", "--physical", "--json", ...ON_DUMP]);
    expect(jsonLines(virtual.out)).toEqual([
      { address: "0xffffffff81000000", length: 256, state: "outside" },
    ]);
  });

  it("a raw image is streamed whole, and the kernel is found in it by a scan", async () => {
    const { stdout, status } = await memtool([
      "read",
      "0",
      "--length",
      "112M",
      "--physical",
      "--format",
      "raw",
      "--fill",
      "0",
      ...ON_DUMP,
    ]);
    expect([status, stdout.length]).toEqual([3, 112 << 20]);
    const raw = file("raw", stdout);
    const info = await memtool(["info", "--json", "-f", raw]);
    expect(jsonLines(info.out)[0]).toMatchObject({
      kernel: { verified: true, found: { vmcoreinfo: "scan" } },
    });
    const banner = await memtool(["read", "linux_banner", "--length", "13", "--format", "raw", "-f", raw]);
    expect(banner).toMatchObject({ out: "Linux version", status: 0 });
  });
});
