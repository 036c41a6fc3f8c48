// Runs the benchmarks: `npm run bench -- --json`. Bundles main.ts, and starts it with the same arguments in the
// repository's root.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
// A file of this run's own: others may be at work in the same folder.
const outfile = `${root}node_modules/.cache/memtool/bench-${process.pid}.mjs`;
const args = process.argv.slice(2);

// The command and the workers that are measured are the built ones. `MEMTOOL_NO_BUILD=1`, as for the tests.
if (process.env.MEMTOOL_NO_BUILD !== "1" && !args.includes("--list")) {
  const { status } = spawnSync(process.execPath, ["scripts/build.mjs", "--if-stale"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status !== 0) process.exit(1);
}
await bundle(outfile);
let status = null;
try {
  ({ status } = spawnSync(process.execPath, ["--expose-gc", "--enable-source-maps", outfile, ...args], {
    cwd: root,
    stdio: "inherit",
  }));
} finally {
  rmSync(outfile, { force: true });
}
process.exit(status ?? 1);
