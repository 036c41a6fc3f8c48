/** The small committed dumps, one for each form of page table: memtool's page tables are the guest's, every mapping. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { pagingSuite } from "../support/paging-suite.js";
import { readSmallTruth } from "../support/small-truth.js";

const NAMES = readdirSync("fixtures")
  .filter(
    (name) => name.endsWith(".truth.json") && name.startsWith("linux-") && !name.includes("x86_64.truth"),
  )
  .map((name) => name.replace(".truth.json", ""));

it("there is a small dump of every form of page table that guests have", () => {
  const formats = NAMES.map((name) => readSmallTruth(`fixtures/${name}.truth.json`).paging?.format);
  expect([...new Set(formats)].sort()).toEqual(
    ["aarch64", "sv39", "sv48", "sv57", "x86-32", "x86-64-la57", "x86-pae"].sort(),
  );
});

for (const name of NAMES) {
  describe(name, () => {
    const truth = readSmallTruth(`fixtures/${name}.truth.json`);

    it("is the file that its truth is about", () => {
      const bytes = readFileSync(`fixtures/${name}.kdump`);
      expect(createHash("sha256").update(bytes).digest("hex")).toBe(truth.fixture?.sha256);
    });

    pagingSuite(name, () => ({ target: `fixtures/${name}.kdump`, truth }));
  });
}
