/** The search for the root of a tree of structures that point to each other. */
import { expect, it } from "vitest";
import { Io } from "../../../src/io/index.js";
import { findTreeRoot, type TreeMark } from "../../../src/linux/find/image-search.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

it("a root is found by members where pointers can be; damaged types that have them elsewhere find none", () => {
  const memory = new HandMemory(new HandTypes());
  const root = memory.take(4096, 4096) + 512n;
  const child = memory.take(64);
  memory.put(root + 16n, child);
  memory.put(child, root);
  const find = (mark: TreeMark) =>
    Io.of(memory.space.scheduler, () =>
      // biome-ignore lint/correctness/useYield: nothing more is read.
      findTreeRoot(memory.space, [{ start: root - 512n, end: root + 8192n }], mark, function* () {
        return true;
      }),
    ).sync();
  const mark = { parent: 0, sibling: 8, child: 16 };
  expect(find(mark)).toBe(root);
  for (const other of [{ child: 17 }, { parent: 1 }, { sibling: 12 }, { child: -8 }, { child: 1e9 }]) {
    expect(find({ ...mark, ...other })).toBeUndefined();
  }
});
