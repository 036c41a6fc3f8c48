/** What a kernel tells of itself, whole processes: CPU time beyond `node -e 0`, which runs right beside each. */
import { spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync } from "node:fs";
import { CLI, costOf } from "../child.js";
import { KDUMP } from "../fixture.js";
import type { Figure, Group, Row } from "../row.js";
import { lazy, workPath } from "../work-folder.js";

const GIB = 2 ** 30;

/** Runs the command, and gives what it prints. @throws if it fails. */
function memtool(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`memtool ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** The fixture as a raw image of a size: behind its own memory, a hole. It has no note, so that the kernel is searched for. */
function rawOf(size: number): string {
  const path = workPath(`linux-${size}.raw`);
  memtool("convert", "-f", KDUMP, "--to", "raw", path);
  const file = openSync(path, "r+");
  ftruncateSync(file, size);
  closeSync(file);
  return path;
}

const small = lazy(() => rawOf(GIB / 4));
const large = lazy(() => rawOf(5 * GIB));
const cacheFolder = lazy(() => {
  const folder = workPath("profiles");
  mkdirSync(folder, { recursive: true });
  return folder;
});

/** Milliseconds of CPU, or MiB of memory, of a command, as `figure` says. */
function row(name: string, figure: Figure, run: () => number): Row {
  return { name, figure, samples: 7, prepare: () => ({ run }) };
}

const ms = (most: number): Figure => ({ unit: "ms CPU", most });

/** CPU time of a command beyond another one's, which runs before and after it. */
function beyond(
  args: readonly string[],
  less: readonly string[] = ["-e", "0"],
  more: NodeJS.ProcessEnv = {},
): number {
  const before = costOf(less).cpu;
  const { cpu } = costOf(args, undefined, more);
  return cpu - (before + costOf(less).cpu) / 2;
}

const command = (path: string, name: string) => [CLI, name, "-f", path];

/** A run that leaves its profile, then one that is measured. */
function withProfile(): number {
  const more = { MEMTOOL_CACHE: cacheFolder() };
  const args = [CLI, "ps", "-f", KDUMP];
  costOf(args, undefined, more);
  return beyond(args, undefined, more);
}

export const linux: Group = {
  name: "linux",
  title: "Linux without symbols: whole processes, beyond `node -e 0`",
  rows: [
    row("ps, fixture, no profile", ms(300), () => beyond(command(KDUMP, "ps"))),
    row("ps, fixture, with its profile", ms(150), withProfile),
    row("ps, 256 MiB raw, no profile", ms(400), () => beyond(command(small(), "ps"))),
    row("ps, 5 GiB raw, no profile", ms(800), () => beyond(command(large(), "ps"))),
    row("vmas, fixture, beyond ps", ms(200), () => beyond(command(KDUMP, "vmas"), command(KDUMP, "ps"))),
    row("ps, fixture: peak", { unit: "MiB", most: 200 }, () => costOf(command(KDUMP, "ps")).peak),
    row("ps, 5 GiB raw: peak", { unit: "MiB", most: 200 }, () => costOf(command(large(), "ps")).peak),
  ],
};
