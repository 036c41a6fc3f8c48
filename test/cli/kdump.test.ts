/** The command over kdump dumps: pages of zeros that were left out, and dumps that were split. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pattern } from "../support/bytes.js";
import { jsonLines, memtool } from "../support/cli.js";
import { flatten } from "../support/flatten.js";
import { splitKdump } from "../support/formats/split-kdump.js";
import { type KdumpOptions, type KdumpPage, writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;
const page = (pfn: number, stored: KdumpPage["stored"] = "zlib"): KdumpPage => ({
  pfn,
  bytes: stored === "zero" ? new Uint8Array(PAGE) : pattern(PAGE, pfn),
  stored,
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "memtool-kdump-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const save = (name: string, bytes: Uint8Array) => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};
/** Reads a range of physical memory as bytes. */
const read = (files: readonly string[], at: number, length: number, ...more: string[]) => {
  const targets = files.flatMap((file) => ["-f", file]);
  return memtool([
    "read",
    ...targets,
    "--physical",
    "--format",
    "raw",
    "--length",
    String(length),
    ...more,
    String(at),
  ]);
};

describe("read --zero-excluded", () => {
  const options: KdumpOptions = { maxPages: 4, leftOut: [1], dumpLevel: 1 };

  it("reads zeros where only pages of zeros were left out, and nothing else does", async () => {
    const file = save("zero", writeKdump([page(0), page(2)], options));
    const whole = await read([file], 0, 3 * PAGE, "--zero-excluded");
    expect(whole.status).toBe(0);
    const expected = [pattern(PAGE, 0), new Uint8Array(PAGE), pattern(PAGE, 2)];
    expect(Buffer.compare(whole.stdout, Buffer.concat(expected))).toBe(0);
    const without = await read([file], 0, 3 * PAGE);
    expect(without.status).not.toBe(0);
    expect(without.err).toContain("zero");
    // Page 3 is no RAM.
    const outside = await read([file], 3 * PAGE, 8, "--zero-excluded");
    expect(outside.status).not.toBe(0);
    expect(outside.stdout).toHaveLength(0);
  });

  it.each<[string, Partial<KdumpOptions>, readonly KdumpPage[]]>([
    ["QEMU wrote both bitmaps alike", { sameBitmaps: true, release: "" }, [page(0), page(2)]],
    ["free pages were left out, too", { dumpLevel: 17 }, [page(0), page(2)]],
    ["the dump is incomplete", { status: 9 }, [page(0), page(2)]],
    ["it is a part of a dump", { part: { start: 0, end: 2 } }, [page(0), page(2)]],
    ["pages of zeros are stored, so that others were left out", {}, [page(0), page(2, "zero")]],
  ])("reads no zeros where %s", async (_why, more, pages) => {
    for (const flat of [false, true]) {
      const bytes = writeKdump(pages, { ...options, ...more });
      const file = save("other", flat ? flatten(bytes) : bytes);
      const { status, stdout, err } = await read([file], PAGE, 16, "--zero-excluded");
      expect(status).not.toBe(0);
      expect(stdout).toHaveLength(0);
      expect(err).toContain("excluded");
    }
  });
});

describe("a split dump", () => {
  it("is read by giving all of its files, and says so if one is missing", async () => {
    const pages = Array.from({ length: 9 }, (_, pfn) => page(pfn));
    const [a, b, c] = splitKdump(pages, [3, 6], { maxPages: 9, dumpLevel: 0 }).map((bytes, i) =>
      save(`part-${i}`, i === 1 ? flatten(bytes, { blockSize: 4000 }) : bytes),
    ) as [string, string, string];
    const whole = await read([c, a, b], 0, 9 * PAGE);
    expect(whole.err).toBe("");
    expect(Buffer.compare(whole.stdout, Buffer.concat(pages.map(({ bytes }) => bytes)))).toBe(0);
    const info = await memtool(["info", "-f", a, "-f", c, "--json"]);
    const [facts] = jsonLines(info.out);
    expect(facts).toMatchObject({
      format: "kdump",
      present: 6 * PAGE,
      excluded: { "other file": 3 * PAGE },
      details: { split: true, files: 2, filesMissing: true },
    });
    expect(String(facts?.warnings)).toContain("-f A -f B");
    expect(facts?.size).toBe(statSync(a).size + statSync(c).size);
    const before = readFileSync(c);
    const picture = await memtool(["coverage", "-f", a, "-f", c, "--svg", c]);
    expect(picture.status).toBe(2);
    expect(picture.err).toContain(`${c} is one of the dump's files`);
    expect(Buffer.compare(readFileSync(c), before)).toBe(0);
    const other = save(
      "other-dump",
      writeKdump(pages, { maxPages: 9, part: { start: 3, end: 6 }, dumpLevel: 31 }),
    );
    const refused = await read([a, other], 0, 8);
    expect(refused.status).toBe(1);
    expect(refused.err).toContain(`${other}: its dump_level is 31`);
  });
});
