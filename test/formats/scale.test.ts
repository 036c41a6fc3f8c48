/** Dumps whose size, not whose damage, is the difficulty: each takes seconds to minutes if work is not linear. */
import { describe, expect, it } from "vitest";
import { readPartial } from "../../src/io/index.js";
import { openBytes } from "../support/dump.js";
import { writeKdump } from "../support/write-kdump.js";

const PAGE = 512;

/** A kdump file of `pages` pages, all RAM, of which every second is stored; no descriptor says anything. */
function scattered(pages: number): Uint8Array {
  const head = writeKdump([], { blockSize: PAGE, maxPages: pages, dumpLevel: 1 });
  const file = new Uint8Array(head.length + (pages / 2) * 24);
  file.set(head);
  const bitmap = pages / 8;
  const at = head.length - 2 * bitmap;
  file.fill(0xff, at, at + bitmap);
  file.fill(0x55, at + bitmap, head.length);
  return file;
}

describe("a kdump file with pages left out all over RAM", () => {
  const pages = 2 ** 20;
  const file = scattered(pages);

  it("has a map in time that grows with it, not with its square", () => {
    const image = openBytes(file);
    expect(image.map.length).toBe(pages);
    expect(image.map.stateOf(PAGE)).toBe("excluded");
    expect(image.map.end).toBe(pages * PAGE);
  });

  it("is read in time that grows with it, not with its square", () => {
    const image = openBytes(file);
    const { good, holes } = readPartial(image.io, 0, pages * PAGE).sync();
    expect(good).toEqual([]);
    expect(holes.at(-1)?.end).toBe(pages * PAGE);
  });
});
