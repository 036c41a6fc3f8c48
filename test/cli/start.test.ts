import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { memtool } from "../support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-start-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, "file");
writeFileSync(file, "");

describe("the command starts", () => {
  // Below /proc, Node 24.21 never comes back from making folders.
  it.each(["", "relative", "/proc/1/missing", "/dev/null", file, join(folder, "missing")])(
    "without a word where it can keep nothing (a home of %j)",
    async (home) => {
      const { status, out, err } = await memtool(["--version"], { env: { HOME: home, XDG_CACHE_HOME: "" } });
      expect([status, err]).toEqual([0, ""]);
      expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
      expect(readdirSync(folder)).toEqual(["file"]);
    },
  );

  it("and keeps its compiled code below the user's cache", async () => {
    const cache = mkdtempSync(join(folder, "cache-"));
    const { status, err } = await memtool(["--version"], { env: { XDG_CACHE_HOME: cache } });
    expect([status, err]).toEqual([0, ""]);
    expect(readdirSync(join(cache, "memtool", "code"))).toHaveLength(1);
  });
});
