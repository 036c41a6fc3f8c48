/** What a file system tells only when a file is closed, or a folder looked at, as a disk over the network does. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Extracted, extractFiles } from "../../cli/linux/pagecache-extract.js";
import { ExtractError, ExtractFolder } from "../../connectors/extract-folder.js";
import { open } from "../../connectors/open.js";

const trouble = vi.hoisted(() => ({ close: "", lstat: "" }));
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const failure = (code: string, call: string) =>
    Object.assign(new Error(`${code}: it did not work, ${call}`), { code });
  return {
    ...fs,
    closeSync: (fd: number) => {
      fs.closeSync(fd);
      if (trouble.close !== "") throw failure(trouble.close, "close");
    },
    lstatSync: (...args: Parameters<typeof fs.lstatSync>) => {
      if (trouble.lstat !== "") throw failure(trouble.lstat, "lstat");
      return fs.lstatSync(...args);
    },
  };
});

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "extract-close-"));
});
afterEach(() => {
  Object.assign(trouble, { close: "", lstat: "" });
  rmSync(base, { recursive: true });
});

/** What it throws. */
function thrownBy(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

test.each([
  ["EIO", "WRITE_FAILED", /: could not be closed: it may not be whole; .*anew.* \(EIO\)$/],
  ["ENOSPC", "NO_SPACE", /: no space is left on the disk$/],
  ["EDQUOT", "NO_SPACE", /: no space is left on the disk$/],
])("a file whose closing fails with %s is told by its name, once", (errno, code, message) => {
  const file = new ExtractFolder(join(base, "out")).create("/a/b");
  file.write(0, Buffer.from("bytes"));
  trouble.close = errno;
  const error = thrownBy(() => file.close());
  expect(error).toBeInstanceOf(ExtractError);
  expect(error).toMatchObject({ code, path: file.path, message: expect.stringMatching(message) });
  expect((error as Error).message).toContain(file.path);
  expect(() => file.close()).not.toThrow();
});

test("a file that is given up behind another error tells none of its own, and is closed", () => {
  const file = new ExtractFolder(join(base, "out")).create("/a");
  trouble.close = "EIO";
  file.abandon();
  trouble.close = "";
  expect(() => file.write(0, Buffer.from("x"))).toThrow(ExtractError);
});

test("a folder that can be looked at no longer is told by its name", () => {
  const folder = new ExtractFolder(join(base, "out"));
  folder.create("/sub/a").close();
  trouble.lstat = "EACCES";
  expect(thrownBy(() => folder.create("/sub/b"))).toMatchObject({
    code: "WRITE_FAILED",
    path: join(folder.path, "sub"),
  });
});

test("a cached file that can't be closed is one that could not be written; those behind it are", async () => {
  const machine = await open("fixtures/linux-6.1-x86_64.kdump");
  try {
    const linux = await machine.linux();
    const files = linux.cachedFiles({ where: ({ path }) => /^\/(shared.bin|init)$/.test(path ?? "") });
    const found: Extracted[] = [];
    trouble.close = "EIO";
    for await (const each of extractFiles(linux, files, join(base, "out"), undefined, () => {})) {
      found.push(each);
      trouble.close = "";
    }
    expect(found.map(({ error }) => error?.includes("could not be closed"))).toEqual([true, undefined]);
    expect(readdirSync(join(base, "out"))).toHaveLength(2);
  } finally {
    await machine.close();
  }
});
