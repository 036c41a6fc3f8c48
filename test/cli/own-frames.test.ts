/** Stacks of errors in scripts and sessions: which frames are told. */
import { describe, expect, it } from "vitest";
import { theirFrames } from "../../cli/script/own-frames.js";

const shown = (folder: string, files: readonly (string | null)[]) => {
  const frames = files.map((file) => ({ getFileName: () => file as string }));
  return theirFrames(frames, folder).map((frame) => frame.getFileName());
};

describe("frames of a script", () => {
  it.each([
    ["file:///opt/memtool/dist/", "/opt/memtool/dist/"],
    ["file:///opt/with%20a%20space/%C3%BC/", "/opt/with a space/ü/"],
  ])("are those outside of memtool's folder, by URL and by path: %s", (folder, path) => {
    const files = [
      `${folder}index.js`,
      "file:///home/task.ts",
      null,
      `${folder}repl.js`,
      "/home/helper.cjs",
      "memtool:run",
      "node:vm",
      `${path}command.cjs`,
    ];
    expect(shown(folder, files)).toEqual(["file:///home/task.ts", null, "/home/helper.cjs"]);
  });

  it("end with the last that is not Node's", () => {
    expect(shown("file:///opt/", ["stdin", "node:events", "stdin", "node:vm", "node:repl"])).toEqual([
      "stdin",
      "node:events",
      "stdin",
    ]);
  });
});
