/** `write`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { DUMP, testFolder } from "../support/cli-dump.js";
import { DummyKernel } from "../support/kernel.js";

const { file, folder } = testFolder();

describe("writing", () => {
  it("changes a raw dump, reads it back, and says so", async () => {
    const path = file("writable", new DummyKernel({ textAt: 0x9000 }).ram);
    const { out, status } = await memtool(["write", "init_task+4", "de ad", "beef", "--write", "-f", path]);
    expect([status, out]).toEqual([0, "wrote 4 bytes at 0xffffffff91040004, read back and compared\n"]);
    expect(readFileSync(path).subarray(0x240004, 0x240008).toString("hex")).toBe("deadbeef");
    const from = file("bytes", "hello");
    const second = await memtool([
      "write",
      "0x240000",
      "--from",
      from,
      "--physical",
      "--write",
      "--json",
      "-f",
      path,
    ]);
    expect(jsonLines(second.out)).toEqual([{ address: "0x240000", length: 5, written: 5, verified: true }]);
    expect(readFileSync(path).subarray(0x240000, 0x240005).toString()).toBe("hello");
  });

  it("writes what can be written, and says what can't", async () => {
    const path = file("edge", new Uint8Array(4096));
    const { status, err } = await memtool(["write", "4094", "01020304", "--physical", "--write", "-f", path]);
    expect(status).toBe(3);
    expect(err).toContain("not written: 0x1000, 2 bytes (outside)");
    expect(readFileSync(path)).toHaveLength(4096);
  });

  it("refuses what can't be written", async () => {
    const copy = file("copy.kdump", readFileSync(DUMP));
    const { status, out, err } = await memtool(["write", "init_task", "00", "--write", "-f", copy]);
    expect([status, out]).toEqual([1, ""]);
    expect(err).toContain("read-only");
    expect(readFileSync(copy).equals(readFileSync(DUMP))).toBe(true);
  });

  it("says why the bytes can't be had", async () => {
    const path = file("target", new Uint8Array(4096));
    const missing = join(folder, "no\x1b[31m");
    const { status, out, err } = await memtool(["write", "0", "--from", missing, "--write", "-f", path]);
    expect([status, out]).toEqual([1, ""]);
    expect(err).toBe(`memtool: --from ${folder}/no\\x1b[31m: no such file or directory (ENOENT)\n`);
  });
});
