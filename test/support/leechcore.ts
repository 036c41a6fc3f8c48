/** The stand-in for LeechCore's library (fixtures/leechcore), compiled where there is a gcc. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join, resolve } from "node:path";

const SOURCES = "fixtures/leechcore";
const CACHE = resolve("node_modules/.cache/memtool/leechcore");
const FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11"];

/** Whether the stand-in can be made here. */
export const hasCompiler =
  process.platform === "linux" && spawnSync("gcc", ["--version"], { stdio: "ignore" }).status === 0;

function compiled(name: string, source: string, flags: readonly string[]): string {
  const hash = createHash("sha256").update(flags.join(" "));
  for (const file of [source, "abi.h"]) hash.update(readFileSync(join(SOURCES, file)));
  const path = join(CACHE, `${hash.digest("hex").slice(0, 16)}-${name}`);
  if (existsSync(path)) return path;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  const args = [...FLAGS, ...flags, "-o", unfinished, join(SOURCES, source)];
  const { status, stderr } = spawnSync("gcc", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`gcc does not compile ${source}:\n${stderr}`);
  renameSync(unfinished, path);
  return path;
}

/** Path of the library. @param how `"old"`: without `LcReadScatterEx`, as before 2.23. */
export function standIn(how: "new" | "old" = "new"): string {
  const flags = ["-shared", "-fPIC", "-fvisibility=hidden"];
  return compiled(`${how}.so`, "standin.c", how === "old" ? [...flags, "-DNO_SCATTER_EX"] : flags);
}

/** What a C compiler makes of the interface's structures: offsets of fields, sizes. */
export function layoutOfC(): Readonly<Record<string, number>> {
  const program = compiled("layout", "layout.c", []);
  return JSON.parse(spawnSync(program, { encoding: "utf8" }).stdout) as Record<string, number>;
}
