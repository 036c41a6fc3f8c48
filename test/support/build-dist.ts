import { execFileSync } from "node:child_process";

/** Vitest's global setup: brings `dist` up to date, once a run. */
export function setup(): void {
  if (process.env.MEMTOOL_NO_BUILD === "1") return;
  execFileSync(process.execPath, ["scripts/build.mjs", "--if-stale"], { stdio: "inherit", timeout: 300_000 });
}
