import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quoted } from "../../src/formats/containers/compressed-files.js";
import { openDump } from "../../src/formats/index.js";
import { testFile } from "../support/dump.js";

const ZSTD = "\x28\xb5\x2f\xfd";

function refusal(magic: string, name: string, more: readonly (readonly [number, string])[] = []): string {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => magic.charCodeAt(i) || 0);
  for (const [at, text] of more)
    bytes.set(
      [...text].map((c) => c.charCodeAt(0)),
      at,
    );
  try {
    openDump(testFile(bytes, "sync", name)).sync();
  } catch (error) {
    expect(error).toMatchObject({ code: "UNSUPPORTED_FORMAT", file: name });
    return (error as Error).message;
  }
  return "opened";
}

it.each([
  ["gzip", "\x1f\x8b\x08\0", "m.gz", "gzip -dc 'm.gz' > 'm'"],
  ["xz", "\xfd7zXZ\0", "m.lime.xz", "xz -dc 'm.lime.xz' > 'm.lime'"],
  ["zstd", ZSTD, "a b/m.zst", "zstd -d -k 'a b/m.zst' -o 'a b/m'"],
  ["bzip2", "BZh91AY&SY", "m.bz2", "bzip2 -dc 'm.bz2' > 'm'"],
  ["lz4", "\x04\x22\x4d\x18", "m.lz4", "lz4 -d -k 'm.lz4' 'm'"],
  ["lz4", "\x02\x21\x4c\x18", "m.lz4", "lz4 -d -k 'm.lz4' 'm'"],
  ["lzop", "\x89LZO\0\r\n\x1a\n", "m.lzo", "lzop -dc 'm.lzo' > 'm'"],
  ["snappy", "\xff\x06\0\0sNaPpY", "m.sz", "snzip -dc 'm.sz' > 'm'"],
  ["zip", "PK\x03\x04", "m.zip", "unzip -p 'm.zip' > 'm'"],
  ["7z", "7z\xbc\xaf\x27\x1c", "m.7z", "7z e -so 'm.7z' > 'm'"],
  [
    "lzma",
    "\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0",
    "m.lzma",
    "xz --format=lzma -dc 'm.lzma' > 'm'",
  ],
  ["zlib", "\x38\x8d\x04", "m.zlib", "pigz -dc < 'm.zlib' > 'm'"],
])("a %s file is refused with the command that unpacks it", (name, magic, file, command) => {
  expect(refusal(magic, file)).toContain(
    `this is a ${name} file: memtool reads dumps unpacked: run ${command};`,
  );
  expect(refusal(magic, file)).toMatch(/force the format raw$/);
});

it("pzstd's files and tar archives are known by what lies further on", () => {
  expect(refusal("\x50\x2a\x4d\x18\x04\0\0\0", "m.zst", [[12, ZSTD]])).toMatch(/this is a zstd file/);
  expect(refusal("mem", "m.tar", [[257, "ustar"]])).toContain("run tar -xOf 'm.tar' > 'm';");
});

it.each([
  ["a dictionary of no such size", "\x5d\x01\x02\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0"],
  ["a size of petabytes", "\x5d\0\0\x80\0\0\0\0\0\0\xff\xff\0\0"],
  ["another first byte of data", "\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\x01"],
  ["nothing but zeros", "\x5d"],
  ["a zlib header, and a block of no kind", "\x78\x9c\x07"],
  ["half a gzip header", "\x1f\x8b\x09"],
])("memory that begins like a packed file, with %s, is memory", (_, magic) => {
  expect(refusal(magic, "mem")).toBe("opened");
});

it("the unpacked file gets another name, also where the packed one has no suffix, or nothing else", () => {
  expect(refusal("\x1f\x8b\x08", "MEM.GZ")).toContain("> 'MEM';");
  expect(refusal("\x1f\x8b\x08", "mem.dump")).toContain("> 'mem.dump.unpacked';");
  expect(refusal("\x1f\x8b\x08", "d/.gz")).toContain("> 'd/.gz.unpacked';");
});

describe.skipIf(process.platform === "win32")("commands in a shell", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "memtool-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const names = ["plain", "it's", '$(touch x) "`id`"', "-rf", "a\nb\tc\\'", "ünï", "*?", "!x", "\x7f\x01"];
  it.each(names)("%j is one word, just as it is", (name) => {
    const out = execFileSync("bash", ["-c", `printf %s ${quoted(name)}`], { encoding: "latin1" });
    const text = Buffer.from(out, "latin1").toString("utf8");
    expect(text).toBe(name.startsWith("-") ? `./${name}` : name);
  });

  it("the command of a gzip file unpacks it", () => {
    const path = join(folder, "it's mem.raw.gz");
    writeFileSync(path, gzipSync("memory"));
    const message = refusal("\x1f\x8b\x08", path);
    const command = message.replace(/^.*: run /, "").replace(/; to read the file as raw.*$/, "");
    execFileSync("bash", ["-c", command]);
    expect(readFileSync(join(folder, "it's mem.raw"), "utf8")).toBe("memory");
    expect(readFileSync(path).length).toBeGreaterThan(0);
  });
});
