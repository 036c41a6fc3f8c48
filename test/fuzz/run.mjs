// Fuzzes the dump formats: `npm run fuzz -- --seconds 60 [--format kdump] [--seed 1]`. Bundles fuzzer.ts with counters in
// every branch of the code under test (src/formats, src/codecs), so that inputs which reach new code are kept and
// changed further; then runs it, a format after the other, each in a process of its own that a watchdog can end.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, transform } from "esbuild";
import instrumenting from "istanbul-lib-instrument";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: {
    format: { type: "string", multiple: true },
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    jobs: { type: "string", default: String(availableParallelism()) },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
if (values.help || !(seconds > 0) || !Number.isSafeInteger(seed)) {
  process.stdout.write(
    "npm run fuzz -- [--seconds N each] [--format NAME]... [--seed N] [--jobs N] [--list]\n\n" +
      "Damages small dumps of every format and reads them. What it finds lies in tmp/fuzz/, one file each; the line\n" +
      "printed says how to run it again. Found cases become tests.\n",
  );
  process.exit(values.help ? 0 : 2);
}

/** The code that is guided by. */
const WATCHED = /\/src\/(formats|codecs)\/.+\.ts$/;
const instrumenter = instrumenting.createInstrumenter({ esModules: true, coverageVariable: "__fuzz__" });

/** @type {import("esbuild").Plugin} */
const count = {
  name: "count-branches",
  setup({ onLoad, onResolve }) {
    onLoad({ filter: WATCHED }, async ({ path }) => {
      const { code } = await transform(readFileSync(path, "utf8"), { loader: "ts", target: "es2022" });
      return { contents: instrumenter.instrumentSync(code, path), loader: "js" };
    });
    // The formats' cases are made for vitest; nothing of it runs here.
    onResolve({ filter: /^vitest$/ }, () => ({ path: `${root}test/fuzz/no-vitest.mjs` }));
  },
};

const folder = `${root}node_modules/.cache/memtool/fuzz-${process.pid}`;
mkdirSync(folder, { recursive: true });
await build({
  entryPoints: [`${root}test/fuzz/main.ts`],
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  plugins: [count],
  logLevel: "warning",
});

/** @param {string[]} args @returns {Promise<{ status: number, output: string }>} */
function run(args, inherit = true) {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      ["--enable-source-maps", "--max-old-space-size=512", `${folder}/main.mjs`, ...args],
      {
        cwd: root,
        stdio: ["ignore", inherit ? "inherit" : "pipe", "inherit"],
      },
    );
    let output = "";
    child.stdout?.on("data", (chunk) => {
      output += chunk;
    });
    child.on("exit", (status) => resolve({ status: status ?? 1, output }));
  });
}

let worst = 0;
try {
  const { output } = await run(["list"], false);
  const names = output.trim().split("\n");
  const unknown = (values.format ?? []).filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    process.stderr.write(`no format ${unknown.join(", ")}: there are ${names.join(", ")}\n`);
    worst = 2;
  } else if (values.list) {
    process.stdout.write(output);
  } else {
    const waiting = [...(values.format ?? names)];
    const work = async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        const { status } = await run(["fuzz", name, String(seconds), String(seed)]);
        worst = Math.max(worst, status);
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, Number(values.jobs)) }, work));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(worst);
