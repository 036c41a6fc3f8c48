/** Searches in a process, mapping by mapping: what lies in two of them, and how often its system is asked for them. */
import { writeFileSync } from "node:fs";
import { beforeAll, beforeEach, expect, it } from "vitest";
import { registerConnector } from "../../connectors/registry.js";
import { AddressRanges, type Source } from "../../src/io/index.js";
import { testFolder } from "../support/cli-dump.js";
import { runHere } from "./run-here.js";

const { folder } = testFolder();
const PAGE = 4096;
const MAPPINGS = 1000;
/** "split" lies across the end of the first mapping, "whole" in the last one. */
const MEMORY = new Uint8Array(MAPPINGS * PAGE);
MEMORY.set(Buffer.from("split"), PAGE - 2);
MEMORY.set(Buffer.from("whole"), MEMORY.length - 100);

let asked = 0;
let rules: string;

beforeAll(() => {
  rules = `${folder}/rules.yar`;
  writeFileSync(rules, 'rule r { strings: $split = "split" $whole = "whole" condition: any of them }');
  registerConnector("mapped", {
    kind: "virtual",
    about: "a process of many mappings",
    open: (): Source & { maps(): unknown } => ({
      name: "mapped:",
      supports: { write: false, live: true },
      ranges: () => AddressRanges.single(0, MEMORY.length),
      maps() {
        asked++;
        return Array.from({ length: MAPPINGS }, (_, i) => ({
          start: BigInt(i * PAGE),
          end: BigInt((i + 1) * PAGE),
          ...{ readable: true, writable: i % 2 === 0, executable: false, shared: false },
          ...{ offset: 0n, inode: 0, path: i === 0 ? "[heap]" : "" },
        }));
      },
      transferSync(batch) {
        for (let row = 0; row < batch.length; row++) {
          const at = batch.address(row);
          batch.bytes(row).set(MEMORY.subarray(at, at + batch.bytes(row).length));
          batch.done(row);
        }
      },
    }),
  });
});
beforeEach(() => {
  asked = 0;
});

it.each([
  ["of all", []],
  ["of a range", ["--from", "0x0", "--length", String(MEMORY.length)]],
])("`yara` %s looks at each mapping by itself, and asks for them a few times in all", async (_, range) => {
  const { status, text } = await runHere(["yara", rules, ...range, "-c", "mapped:"]);
  expect([status, text]).toEqual([0, expect.stringContaining("$whole    process  ?, r--p")]);
  expect(text).not.toContain("$split");
  expect(asked).toBeLessThan(10);
});

it("`search` finds what lies across the end of a mapping", async () => {
  const { status, text } = await runHere(["search", "--text", "split", "-c", "mapped:"]);
  expect([status, text]).toEqual([0, expect.stringContaining("0xffe           process  ?, [heap], rw-p")]);
  expect(asked).toBeLessThan(10);
});
