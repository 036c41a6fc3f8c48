import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { OutputFile } from "../../connectors/convert/output-file.js";

const root = mkdtempSync(join(tmpdir(), "memtool-output-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(root, String(count++));
  mkdirSync(folder);
});
const at = (name: string) => join(folder, name);
const bytes = (text: string) => new TextEncoder().encode(text);

describe("a file that appears whole or not at all", () => {
  it("has its name and all of its bytes once it is committed, and no other name", async () => {
    const file = OutputFile.create(at("a"));
    file.write(9, bytes("later"));
    file.write(0, bytes("first"));
    await file.complete(20);
    expect(existsSync(at("a"))).toBe(false);
    await file.commit();
    expect(readFileSync(at("a"), "latin1")).toBe(`first${"\0".repeat(4)}later${"\0".repeat(6)}`);
    expect(readdirSync(folder)).toEqual(["a"]);
    // Memory holds secrets.
    expect(statSync(at("a")).mode & 0o777).toBe(0o600);
    await file.discard();
    expect(existsSync(at("a"))).toBe(true);
  });

  it("leaves nothing when it is discarded, also with writes under way", async () => {
    const file = OutputFile.create(at("a"));
    for (let i = 0; i < 100; i++) file.write(i * 65_536, new Uint8Array(65_536));
    await file.discard();
    await file.discard();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("replaces no file, also not one that was made meanwhile", async () => {
    writeFileSync(at("a"), "old");
    expect(() => OutputFile.create(at("a"))).toThrow(/there is a file of that name; --force replaces it/);
    const file = OutputFile.create(at("b"));
    writeFileSync(at("b"), "meanwhile");
    await file.complete(3);
    await expect(file.commit()).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
    await file.discard();
    expect(readFileSync(at("b"), "latin1")).toBe("meanwhile");
    expect(readdirSync(folder).sort()).toEqual(["a", "b"]);
  });

  it("replaces a file by force", async () => {
    writeFileSync(at("a"), "old");
    const file = OutputFile.create(at("a"), { force: true });
    file.write(0, bytes("new"));
    await file.complete(3);
    expect(readFileSync(at("a"), "latin1")).toBe("old");
    await file.commit();
    expect(readFileSync(at("a"), "latin1")).toBe("new");
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  it("replaces by force the file that a link leads to, and leaves the link", async () => {
    mkdirSync(at("there"));
    writeFileSync(at("there/a"), "old");
    symlinkSync(at("there/a"), at("link"));
    expect(() => OutputFile.create(at("link"))).toThrow(/there is a file of that name/);
    const file = OutputFile.create(at("link"), { force: true });
    file.write(0, bytes("new"));
    await file.complete(3);
    await file.commit();
    expect(readlinkSync(at("link"))).toBe(at("there/a"));
    expect(readFileSync(at("there/a"), "latin1")).toBe("new");
    expect(readdirSync(at("there"))).toEqual(["a"]);
    expect(readdirSync(folder).sort()).toEqual(["link", "there"]);
  });

  it("is gone when the process ends before anybody could discard it", async () => {
    const listeners = process.listeners("exit");
    const files = Array.from({ length: 20 }, (_, i) => OutputFile.create(at(`a${i}`)));
    const [onExit, ...others] = process.listeners("exit").filter((one) => !listeners.includes(one));
    expect(others).toEqual([]);
    onExit?.(0);
    expect(readdirSync(folder)).toEqual([]);
    for (const file of files) await file.discard();
    expect(process.listeners("exit")).toEqual(listeners);
  });

  it("never replaces what is being read, whatever its name", () => {
    writeFileSync(at("source"), "x");
    symlinkSync(at("source"), at("link"));
    for (const name of ["source", "link", `../${folder.split("/").pop()}/source`]) {
      expect(() => OutputFile.create(at(name), { force: true, sources: [at("source")] })).toThrow(
        /what is being read/,
      );
    }
  });

  it("never replaces what is no regular file", () => {
    expect(() => OutputFile.create(folder, { force: true })).toThrow(/a folder; name a file in it/);
    expect(() => OutputFile.create("/dev/null", { force: true })).toThrow(/no regular file/);
    writeFileSync(at("file"), "");
    expect(() => OutputFile.create(at("file/a"))).toThrow(/there is no folder .*file$/);
    expect(() => OutputFile.create(at("missing/"))).toThrow(/missing\/: this is a folder; name a file in it/);
    expect(() => OutputFile.create(at("missing/a"))).toThrow(/there is no folder .*missing/);
    expect(() => OutputFile.create(at("x".repeat(300)))).toThrow(/name is too long/);
  });

  it.skipIf(!existsSync("/dev/full"))("a full disk is said, and nothing is left", async () => {
    // The kernel's device that is always full, under the temporary name.
    const file = OutputFile.create(at("a"));
    rmSync(file.temporary);
    symlinkSync("/dev/full", file.temporary);
    const full = Reflect.construct(OutputFile, [
      at("a"),
      file.temporary,
      (await import("node:fs")).openSync("/dev/full", "w"),
      false,
    ]) as OutputFile;
    full.write(0, bytes("x"));
    await expect(full.settle()).rejects.toMatchObject({
      code: "NO_SPACE",
      message: expect.stringContaining("no space is left"),
    });
    full.write(1, bytes("y"));
    await expect(full.complete(2)).rejects.toMatchObject({ code: "NO_SPACE" });
    await full.discard();
    await file.discard();
    expect(readdirSync(folder)).toEqual([]);
  });
});
