/** Layers around a connector's source, from the command line. */
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { memtool } from "../support/cli.js";
import { DUMP, testFolder } from "../support/cli-dump.js";

const { folder } = testFolder();

describe("a target with layers", () => {
  it("gives the same processes through them, and from their recording when the dump is gone", async () => {
    const copy = join(folder, "copy.kdump");
    const recording = join(folder, "ps.rec");
    copyFileSync(DUMP, copy);
    const [plain, layered] = await Promise.all([
      memtool(["ps", "--json", "-f", DUMP]),
      memtool([
        "ps",
        "--json",
        "-c",
        `file:${copy}:delay=20us,metrics=true,readonly=true,record=${recording}`,
      ]),
    ]);
    expect([plain.status, layered.out === plain.out]).toEqual([0, true]);
    expect(layered.err).toMatch(
      /^memtool: what passed through file:.*:\n {2}\d+ batches, \d+ rows, .* moved\n {2}a batch took /,
    );
    rmSync(copy);
    const [replayed, other] = await Promise.all([
      memtool(["ps", "--json", "-c", `file:${copy}:replay=${recording}`]),
      memtool(["modules", "-c", `file::replay=${recording}`]),
    ]);
    expect([replayed.status, replayed.err, replayed.out === plain.out]).toEqual([0, "", true]);
    expect([other.status, other.out, other.err]).toEqual([1, "", expect.stringContaining("(not recorded)")]);
  });

  it("of a recording that is damaged says so, and no other file is taken for one", async () => {
    const path = join(folder, "no.rec");
    writeFileSync(path, "memtool");
    const { status, err } = await memtool(["info", "-c", `file::replay=${path}`]);
    expect([status, err]).toEqual([
      1,
      `memtool: replay=${path}: this is no recording: record=FILE makes one\n`,
    ]);
  });
});
