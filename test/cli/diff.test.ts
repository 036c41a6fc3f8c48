/** `memtool diff`: which target an error concerns, and how values are written. */
import { describe, expect, it } from "vitest";
import { changeText, factsOf, fieldsOf } from "../../cli/render/changes.js";
import type { MachineDifference } from "../../src/linux/index.js";
import { memtool } from "../support/cli.js";
import { DUMP } from "../support/cli-dump.js";

describe("an error says which target it is of", () => {
  it.each([
    ["first", ["nosuch.kdump", DUMP], /^memtool: first: .*nosuch\.kdump: there is no such file\n$/],
    ["second", [DUMP, "nosuch.kdump"], /^memtool: second: .*nosuch\.kdump: there is no such file\n$/],
    [
      "second",
      [DUMP, "package.json"],
      /^memtool: second: no Linux kernel found: .* \(--only pages compares memory without one\)\n$/,
    ],
  ])("%s: diff %j", async (_side, targets, message) => {
    const { out, err, status } = await memtool(["diff", ...targets]);
    expect([out, status]).toEqual(["", 1]);
    expect(err).toMatch(message);
    expect(err).not.toContain("--physical");
  });
});

describe("values are written as the list of their kind writes them", () => {
  const change = (kind: string, field: string, before: unknown, after: unknown) =>
    fieldsOf({ kind, fields: [{ field, before, after }] } as unknown as MachineDifference);

  it("inodes and places in files are numbers, addresses are 0x…", () => {
    expect(change("file", "inode", 0xf00000b7n, 316n)).toEqual([
      { field: "inode", before: 4026532023, after: 316 },
    ]);
    expect(change("file", "position", 0, 12345)).toEqual([{ field: "position", before: 0, after: 12345 }]);
    expect(change("file", "file", 16n, null)).toEqual([{ field: "file", before: 16n, after: null }]);
    expect(change("file", "inode", 16n, 17n).map(changeText)).toEqual(["inode 16 → 17"]);
    expect(change("file", "file", 16n, null).map(changeText)).toEqual(["file 0x10 → none"]);
  });

  it("an inode of all 64 bits stays exact", () => {
    expect(change("file", "inode", 2n ** 64n - 1n, 1n)[0]?.before).toBe(2n ** 64n - 1n);
  });

  it("physical addresses are 0x…, devices are two numbers", () => {
    expect(factsOf("process", { pid: 1, root: 0x557e000, start: 0.7 })).toEqual({
      pid: 1,
      root: "0x557e000",
      start: 0.7,
    });
    expect(factsOf("pages", { start: 4096, end: 8192, state: "changed", pages: 1 })).toEqual({
      start: "0x1000",
      end: "0x2000",
      state: "changed",
      pages: 1,
    });
    expect(factsOf("mount", { root: "/", device: 23 })).toEqual({ root: "/", device: "0:23" });
  });

  it("a cached file has what is known of the file", () => {
    const file = { address: 16n, path: "/cached", inode: 5n, device: 2 };
    expect(factsOf("cached-file", { file, ranges: [], pages: 1, compared: 3 })).toEqual({
      address: 16n,
      path: "/cached",
      inode: 5,
      device: "0:2",
      pages: 1,
      compared: 3,
    });
    expect(factsOf("file", undefined)).toBeNull();
  });
});
