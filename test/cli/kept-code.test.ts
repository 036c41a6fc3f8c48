import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import * as module from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { runKept } from "../../cli/kept-code.js";
import { memtool } from "../support/cli.js";

/** Node 22.1 and later keep code themselves. */
const isOurs = !("enableCompileCache" in module);

const work = mkdtempSync(join(tmpdir(), "memtool-kept-"));
afterAll(() => rmSync(work, { recursive: true }));

const newCache = () => mkdtempSync(join(work, "cache-"));
const version = async (cache: string) => {
  const { status, out, err } = await memtool(["--version"], { env: { XDG_CACHE_HOME: cache } });
  return [status, out, err];
};
const fine = [0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/), ""];

/** Runs a module with what is kept, and keeps its code as the end of the process does. */
function runAndKeep(path: string, folder: string): void {
  const before = process.listeners("exit");
  runKept(path, folder, module.createRequire(path));
  for (const each of process.listeners("exit").filter((listener) => !before.includes(listener))) {
    each(0);
    process.off("exit", each);
  }
}

describe("code that is kept", () => {
  it("names its own file in stacks, also where another copy of it was kept before", () => {
    const cache = newCache();
    const place = globalThis as { keptStack?: () => string | undefined };
    for (const copy of ["one", "other", "one"]) {
      const path = join(work, `${copy}.cjs`);
      writeFileSync(path, "globalThis.keptStack = () => new Error().stack;");
      runAndKeep(path, cache);
      expect(place.keptStack?.(), copy).toContain(path);
    }
    expect(readdirSync(cache)).toHaveLength(2);
    delete place.keptStack;
  });

  it("loads optional packages, as code does that is not: ffi-rs, which tells holes of a file", async () => {
    const sparse = join(work, "sparse.raw");
    writeFileSync(sparse, "memory");
    truncateSync(sparse, 8 << 20);
    const args = ["info", "-f", sparse];
    const plain = await memtool(args, { env: { NODE_DISABLE_COMPILE_CACHE: "1" } });
    const cache = newCache();
    for (const run of ["kept", "used"]) {
      expect(await memtool(args, { env: { XDG_CACHE_HOME: cache } }), run).toEqual(plain);
    }
  });

  it("is not needed where its folder can't be one, nor is anything said", async () => {
    const cache = newCache();
    mkdirSync(join(cache, "memtool"));
    writeFileSync(join(cache, "memtool", "code"), "");
    expect(await version(cache)).toEqual(fine);
  });

  it.runIf(process.getuid !== undefined)("is not where others can write", async () => {
    const cache = newCache();
    const folder = join(cache, "memtool", "code");
    mkdirSync(folder, { recursive: true });
    for (const [mode, count] of [
      [0o777, 0],
      [0o700, 1],
    ] as const) {
      chmodSync(folder, mode);
      expect(await version(cache)).toEqual(fine);
      // (Node's own code is in a folder below.)
      expect(readdirSync(folder)).toHaveLength(count);
    }
  });

  it.runIf(isOurs)("is written again when it is not what was kept, and by several at once", async () => {
    const cache = newCache();
    const folder = join(cache, "memtool", "code");
    expect(await Promise.all([1, 2, 3].map(() => version(cache)))).toEqual([fine, fine, fine]);
    const names = readdirSync(folder);
    expect(names).toHaveLength(1);
    const path = join(folder, names[0] as string);
    const kept = readFileSync(path);
    for (const bad of [
      new Uint8Array(0),
      kept.subarray(0, 3),
      kept.subarray(0, kept.length >> 1),
      kept.map((byte, i) => (i === kept.length >> 1 ? byte ^ 1 : byte)),
    ]) {
      writeFileSync(path, bad);
      expect(await version(cache)).toEqual(fine);
      expect(readdirSync(folder)).toEqual(names);
      expect(readFileSync(path).length).toBeGreaterThan(kept.length / 2);
      expect(Buffer.compare(readFileSync(path), bad)).not.toBe(0);
    }
  });
});

describe("code that is kept where something else lies", () => {
  it.runIf(isOurs && process.platform === "linux")(
    "is written again, and no pipe is waited for",
    async () => {
      const cache = newCache();
      const folder = join(cache, "memtool", "code");
      await version(cache);
      const path = join(folder, readdirSync(folder)[0] as string);
      rmSync(path);
      expect(spawnSync("mkfifo", [path]).status).toBe(0);
      const env = { ...process.env, XDG_CACHE_HOME: cache };
      const { status, stdout, stderr } = spawnSync(process.execPath, ["dist/cli.cjs", "--version"], {
        env,
        encoding: "utf8",
        timeout: 20_000,
      });
      expect([status, stdout, stderr]).toEqual(fine);
      expect(statSync(path).isFile()).toBe(true);
    },
  );
});

describe("the command finds its files", () => {
  it.each(["C#", "a%41b", "a b?c", "ümlaut"])("in a folder of %j", (name) => {
    const folder = join(work, name);
    mkdirSync(folder);
    cpSync("package.json", join(folder, "package.json"));
    cpSync("dist", join(folder, "dist"), { recursive: true, filter: (path) => !path.endsWith(".map") });
    symlinkSync(resolve("node_modules"), join(folder, "node_modules"), "junction");
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(folder, "dist", "cli.cjs"), "--version"],
      {
        encoding: "utf8",
      },
    );
    expect([status, stdout, stderr]).toEqual(fine);
  });
});
