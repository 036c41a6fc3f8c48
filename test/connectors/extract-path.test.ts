import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve, sep } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ExtractFolder } from "../../connectors/extract-folder.js";
import { collisionKey, extractNames } from "../../connectors/extract-path.js";

/** Names that somebody would try. */
const nasty = fc.constantFrom(
  ...[
    "..",
    ".",
    "",
    "/",
    "\\",
    "..\\..",
    "C:",
    "C:\\x",
    "\\\\server\\share",
    "NUL",
    "nul.txt",
    "con",
    "COM1.log",
    "CONIN$",
    "aux .",
  ],
  ...[
    "a\0b",
    "\x1b[2J",
    "a\nb",
    "x.",
    "x ",
    "...",
    ". .",
    "\u202egnp.exe",
    "\ud800",
    "%2e%2e",
    "~",
    "file",
    "FILE",
    "\u00e9",
    "e\u0301",
  ],
  ...[
    "x".repeat(300),
    "\u{1f600}".repeat(100),
    "a/../../b",
    "LPT\u00b9",
    "k",
    "\u212a",
    "-rf",
    "stream:data",
  ],
);
const paths = fc
  .array(fc.oneof(nasty, fc.string({ unit: "binary", maxLength: 12 })), { maxLength: 80 })
  .map((names) => names.join("/"));

describe("names of a dump as names of files", () => {
  test("none leads up, is a device, has a character that is not seen, or is too long", () => {
    fc.assert(
      fc.property(paths, (path) => {
        const names = extractNames(path);
        expect(names.length).toBeGreaterThan(0);
        for (const name of names) {
          expect(name).not.toMatch(/^\.{0,2}$|[\p{C}\\/:*?"<>|]|[. ]$/u);
          expect(name).not.toMatch(/^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?$/i);
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
        }
        expect(Buffer.byteLength(names.join("/"))).toBeLessThan(1500);
        expect(resolve("/top", ...names).startsWith(`${sep}top${sep}`)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test("paths that mean different files get different names", () => {
    const meaning = (path: string) =>
      Buffer.from(path)
        .toString()
        .split("/")
        .filter((name) => name !== "" && name !== ".")
        .join("/") || "/";
    fc.assert(
      fc.property(paths, paths, (a, b) => {
        expect(extractNames(a).join("/") === extractNames(b).join("/")).toBe(meaning(a) === meaning(b));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["/etc/passwd", ["etc", "passwd"]],
    ["../../etc/passwd", ["%2E%2E", "%2E%2E", "etc", "passwd"]],
    ["C:\\Windows\\x", ["C%3A%5CWindows%5Cx"]],
    ["/dev/NUL.txt", ["dev", "%4EUL.txt"]],
    ["a\0b", ["a%00b"]],
    ["/tmp/end. ", ["tmp", "end.%20"]],
    ["/", ["%2F"]],
    ["", ["%2F"]],
    ["/usr/lib/naïve file (1).so", ["usr", "lib", "naïve file (1).so"]],
  ])("%j is %j", (path, names) => {
    expect(extractNames(path)).toEqual(names);
  });
});

describe("a folder that files are extracted into", () => {
  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "extract-"));
  });
  afterEach(() => {
    rmSync(base, { recursive: true });
  });
  const write = (folder: ExtractFolder, path: string, text: string) => {
    const file = folder.create(path);
    file.write(0, Buffer.from(text));
    file.close();
    return file.relative;
  };

  test("every file that is made by any names is below it, keeps its own bytes, and nothing else appears", () => {
    fc.assert(
      fc.property(fc.array(paths, { maxLength: 12 }), (names) => {
        const root = mkdtempSync(join(base, "case-"));
        const folder = new ExtractFolder(join(root, "out"));
        const made = names.map((name, i) => [write(folder, name, String(i)), i] as const);
        expect(readdirSync(root)).toEqual(["out"]);
        for (const [relative, i] of made) {
          expect(readFileSync(join(root, "out", relative), "utf8")).toBe(String(i));
        }
        // Also where upper and lower case are one.
        expect(new Set(made.map(([relative]) => collisionKey(relative))).size).toBe(names.length);
      }),
      { numRuns: 100 },
    );
  });

  test("what has a name that is taken gets another: a file twice, in other case, where a folder is, below a file", () => {
    const folder = new ExtractFolder(join(base, "out"));
    const made = ["/a", "/a", "/A", "/a/b", "/c/d", "/c", "/C/e"].map((name) => write(folder, name, name));
    expect(made).toEqual(["a", "a~2", "A~3", "a~4/b", "c/d", "c~2", "C~3/e"]);
  });

  test("what is there already is not replaced", () => {
    mkdirSync(join(base, "out"));
    writeFileSync(join(base, "out", "a"), "old");
    expect(write(new ExtractFolder(join(base, "out")), "/a", "new")).toBe("a~2");
    expect(readFileSync(join(base, "out", "a"), "utf8")).toBe("old");
  });

  test("links in it are not followed, neither as files nor as folders", () => {
    mkdirSync(join(base, "out"));
    mkdirSync(join(base, "elsewhere"));
    symlinkSync("../elsewhere", join(base, "out", "folder"));
    symlinkSync("../elsewhere/file", join(base, "out", "file"));
    const folder = new ExtractFolder(join(base, "out"));
    expect(write(folder, "/folder/x", "1")).toBe("folder~2/x");
    expect(write(folder, "/file", "2")).toBe("file~2");
    expect(readdirSync(join(base, "elsewhere"))).toEqual([]);
    expect(lstatSync(join(base, "out", "folder")).isSymbolicLink()).toBe(true);
  });

  test("a folder that becomes a link meanwhile is not gone through", () => {
    const folder = new ExtractFolder(join(base, "out"));
    write(folder, "/sub/a", "1");
    rmSync(join(base, "out", "sub"), { recursive: true });
    mkdirSync(join(base, "elsewhere"));
    symlinkSync("../elsewhere", join(base, "out", "sub"));
    expect(() => folder.create("/sub/b")).toThrow("somebody replaced this folder");
    expect(existsSync(join(base, "elsewhere", "b"))).toBe(false);
  });

  test("what is not written is a hole, and takes no room", () => {
    const file = new ExtractFolder(join(base, "out")).create("sparse");
    file.write(2 ** 30, Buffer.from("x"));
    file.resize(2 ** 38);
    file.close();
    const stats = statSync(file.path);
    expect(stats.size).toBe(2 ** 38);
    expect(stats.blocks * 512).toBeLessThan(2 ** 20);
  });

  test("no more is written than its limit, and nothing after that was reached", () => {
    const folder = new ExtractFolder(join(base, "out"), 3 * 4096 + 10);
    const file = folder.create("/sub/a");
    file.write(0, Buffer.alloc(10));
    expect(() => file.write(10, Buffer.alloc(4097))).toThrow(
      expect.objectContaining({ code: "LIMIT", message: expect.stringContaining("12298 bytes") }),
    );
    // (It would fit.)
    expect(() => file.write(10, Buffer.alloc(1))).toThrow(/no more than/);
    expect(() => folder.create("/b")).toThrow(/no more than/);
    file.close();
    expect(statSync(file.path).size).toBe(10);
    expect(readdirSync(join(base, "out"))).toEqual(["sub"]);
  });

  test("files without a byte reach the limit too", () => {
    const folder = new ExtractFolder(join(base, "out"), 3 * 4096);
    const make = () => {
      for (let i = 0; i < 10; i++) folder.create(`/${i}`).close();
    };
    expect(make).toThrow(/no more than/);
    expect(readdirSync(join(base, "out"))).toHaveLength(3);
  });

  test("a folder that can't be is said to be none", () => {
    writeFileSync(join(base, "file"), "");
    expect(() => new ExtractFolder(join(base, "file"))).toThrow(/no folder/);
    expect(() => new ExtractFolder(join(base, "none", "below"))).toThrow(/the folder above it is not there/);
  });
});
