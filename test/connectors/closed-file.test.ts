/** Files that were closed: by who opened them, and again by who was on the way to it. */
import { closeSync, openSync, readSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cleanUpAfter } from "../../connectors/errors.js";
import { openFile } from "../../connectors/file.js";
import { mapFile } from "../../connectors/mapped-file.js";
import { readInto, Scheduler, type Source, SourceIo } from "../../src/io/index.js";
import { testFolder } from "../support/test-folder.js";

const { file } = testFolder();

describe.each<[string, (path: string) => Source | Promise<Source>]>([
  ["a file", openFile],
  ["a mapped file", mapFile],
])("%s that is closed twice", (_, openSource) => {
  it("leaves alone what has its descriptor's number by then, and reads nothing", async () => {
    const path = file("memory", "memory");
    const source = await openSource(path);
    await source.close?.();
    const next = openSync(path, "r");
    try {
      await source.close?.();
      expect(readSync(next, Buffer.alloc(6))).toBe(6);
      const io = new SourceIo(source, new Scheduler());
      expect(() => readInto(io, 0, new Uint8Array(4)).sync()).toThrow(/gone|closed/);
    } finally {
      closeSync(next);
    }
  });
});

describe("an error, and another one as what was opened is closed for it", () => {
  it("are told together", async () => {
    const first = new Error("the address is not mapped");
    const told = await cleanUpAfter(first, () => {
      throw new Error("the disk is full");
    });
    expect(told).toBe(first);
    expect(first.message).toBe("the address is not mapped; and the disk is full");
  });
});
