/** The memory of a running kernel as a target: here a file of its form, made of the fixture. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { memtool } from "../support/cli.js";
import { testFolder } from "../support/cli-dump.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
const { folder } = testFolder();

it("kcore lists the processes of its kernel, found by its own note", async () => {
  const path = join(folder, "kcore");
  const made = await memtool(["convert", path, "--to", "elf", "-f", FIXTURE]);
  expect([made.status, made.err]).toEqual([0, expect.any(String)]);
  const ofDump = await memtool(["ps", "-f", FIXTURE]);
  const ofKcore = await memtool(["ps", "-c", `kcore:${path}`]);
  expect(ofKcore.out).toBe(ofDump.out);
  expect(ofKcore.status).toBe(ofDump.status);
  const written = await memtool(["write", "0x1000", "00", "--physical", "--write", "-c", `kcore:${path}`]);
  expect([written.status === 0, written.err]).toEqual([false, expect.stringContaining("can't write")]);
});
