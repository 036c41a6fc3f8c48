// Runs the benchmarks: `npm run bench -- --json`. Bundles main.ts, since Node 20 runs no TypeScript, and starts it with
// the same arguments in the repository's root. `import.meta.url` stays that of each source file, as under vitest.
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));
// A file of this run's own: others may be at work in the same folder.
const outfile = `${root}node_modules/.cache/memtool/bench-${process.pid}.mjs`;
const args = process.argv.slice(2);

/** @type {import("esbuild").Plugin} */
const keepImportMetaUrl = {
  name: "keep-import-meta-url",
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replaceAll(
        "import.meta.url",
        JSON.stringify(pathToFileURL(path).href),
      ),
      loader: "ts",
    }));
  },
};

// The command and the workers that are measured are the built ones. `MEMTOOL_NO_BUILD=1`, as for the tests.
if (process.env.MEMTOOL_NO_BUILD !== "1" && !args.includes("--list")) {
  const { status } = spawnSync(process.execPath, ["scripts/build.mjs", "--if-stale"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status !== 0) process.exit(1);
}
await build({
  entryPoints: [`${root}test/bench/main.ts`],
  outfile,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  plugins: [keepImportMetaUrl],
  logLevel: "warning",
});
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
