/** Search of a raw dump in the page cache, beside C's `memmem` over the same file, read in pieces of the same size. */
import { tmpdir } from "node:os";
import { type Machine, open, search, searchMachine } from "../../../connectors/connectors.js";
import { SCAN_PIECE, type SearchHit, type SearchPattern } from "../../../src/search/index.js";
import { cProgram } from "../c-programs.js";
import { type Guest, guestOf } from "../dumps/guest.js";
import { needRoom } from "../dumps/kinds.js";
import { writeRaw } from "../dumps/plain.js";
import type { Group, Row } from "../row.js";
import { lazy, workPath } from "../work-folder.js";

const NEEDLE = "memtool-witness";

const dump = lazy(async () => {
  needRoom(tmpdir(), 2 * 2 ** 30);
  const guest: Guest = await guestOf(1);
  const path = workPath("search.raw");
  writeRaw(guest, path);
  return { path, bytes: guest.bytes, guest };
});

/** What the C program adds up: 1 for each hit, and where it is. */
const needles = lazy(async () => {
  const { guest } = await dump();
  const tile = Buffer.from(guest.tile.buffer, guest.tile.byteOffset, guest.tile.length);
  // (Of the seam between two tiles too.)
  const around = Buffer.concat([tile, tile.subarray(0, NEEDLE.length - 1)]);
  let sum = 0;
  for (let at = around.indexOf(NEEDLE); at >= 0; at = around.indexOf(NEEDLE, at + 1))
    for (let to = at; to + NEEDLE.length <= guest.bytes; to += tile.length) sum = (sum + 1 + to) >>> 0;
  return sum;
});

const LIMIT = "memmem in C";

type Hits = (machine: Machine, patterns: readonly SearchPattern[]) => AsyncIterable<SearchHit>;
const alone: Hits = (machine, patterns) => search(machine.physical as never, patterns);
const together: Hits = (machine, patterns) => searchMachine(machine, patterns, { threads: 2 });

function searchRow(name: string, pattern: SearchPattern, hitsOf: Hits, goal?: number): Row {
  return {
    name,
    against: [{ limit: LIMIT, goals: goal === undefined ? [] : [{ name: "goal", ratio: goal }] }],
    prepare: async () => {
      const { path, bytes } = await dump();
      const machine = await open(path, { kernel: "none" });
      const run = async () => {
        let sum = 0;
        for await (const { physical } of hitsOf(machine, [pattern]))
          sum = (sum + 1 + (physical as number)) >>> 0;
        return sum;
      };
      const expected = "text" in pattern && pattern.ignoreCase !== true ? { expected: await needles() } : {};
      return { run, ...expected, operations: bytes, close: () => machine.close() };
    },
  };
}

export const searchGroup: Group = {
  name: "search",
  title: "Search of a raw dump of 1 GiB (M/s are MB/s)",
  rows: [
    {
      name: LIMIT,
      isLimit: true,
      needsCompiler: true,
      prepare: async () => {
        const { path, bytes } = await dump();
        const args = [path, Buffer.from(NEEDLE).toString("hex"), SCAN_PIECE];
        return cProgram("memmem", args, 1, { operations: bytes, expected: await needles() });
      },
    },
    searchRow("text", { text: NEEDLE }, alone, 0.5),
    searchRow("text, two threads", { text: NEEDLE }, together),
    searchRow("text, any case", { text: NEEDLE, ignoreCase: true }, alone),
    searchRow("bytes with wildcards", { hex: "48 8b ?? 2? 08 ff e0" }, alone),
    searchRow("a number of 8 bytes", { number: 0xffff8880_02345678n, size: 8 }, alone),
    searchRow(
      "pointers to 256 bytes",
      { pointerTo: { start: 0xffff8880_02345600n, end: 0xffff8880_02345700n } },
      alone,
    ),
    searchRow("an expression", { regex: /[a-z0-9.]{4,}@[a-z0-9.]{4,}/ }, alone),
    searchRow("an expression, two threads", { regex: /[a-z0-9.]{4,}@[a-z0-9.]{4,}/ }, together),
  ],
};
