import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { defineConfig, type Options } from "tsup";

/**
 * What callers may import, one entry for each line of `exports` in package.json.
 *
 * `connectors/index.ts` is everything for Node: it re-exports `src/index.ts` and `connectors/connectors.ts`, which
 * holds the connectors' own names. So `memtool/connectors` adds to `memtool/core` instead of repeating it.
 */
const entryPoints = {
  index: "connectors/index.ts",
  core: "src/index.ts",
  connectors: "connectors/connectors.ts",
  web: "src/web/index.ts",
  testing: "test/suite/index.ts",
  script: "cli/script/context.ts",
};

/** What `memtool run` and `memtool repl` load: with the library that scripts import, so that there is one. */
const forScripts = {
  repl: "cli/repl/repl.ts",
  "run-script": "cli/script/run-script.ts",
  "module-hooks": "cli/script/module-hooks.ts",
};

/**
 * Files that run in a thread of their own: `connectors/worker/NAME.ts` becomes `dist/worker/NAME.js`.
 *
 * Every other module lands flat in `dist/`, whatever its folder was, so a path relative to `import.meta.url` is only
 * the same before and after the build from a module exactly one folder deep. `connectors/start-worker.ts` is that
 * module, and the only one that names these files:
 *
 * ```ts
 * const built = import.meta.url.endsWith(".ts") ? "../dist/worker/" : "./worker/";
 * export const workerUrl = (name: string): URL => new URL(`${built}${name}.js`, import.meta.url);
 * ```
 *
 * From source (vitest, benches) it points at the built worker, because Node 20 can't run TypeScript in a worker;
 * vitest's global setup builds `dist` first. For the same reason the version is read from
 * `new URL("../package.json", import.meta.url)`, in a module one folder deep.
 */
const workers = Object.fromEntries(
  readdirSync("connectors/worker")
    .filter((file) => file.endsWith(".ts"))
    .map((file) => [`worker/${basename(file, ".ts")}`, `connectors/worker/${file}`]),
);

const common: Options = {
  format: "esm",
  target: "node20",
  platform: "node",
  tsconfig: "tsconfig.json",
  // Nothing from node_modules is copied into dist. A dependency that package.json doesn't name fails in CI, where
  // the package is installed into an empty directory.
  skipNodeModulesBundle: true,
  removeNodeProtocol: false,
  sourcemap: true,
  // scripts/build.mjs gives a folder that is empty, and both builds write into it at once.
  clean: false,
};

const library: Options = {
  entry: { ...entryPoints, ...workers, ...forScripts },
  // Shared modules become shared chunks, for the code and for the types: a class is one class, whichever entry it
  // comes from, so `instanceof` holds between `memtool` and `memtool/core`.
  splitting: true,
  dts: { entry: entryPoints },
};

/**
 * The command is one file (and one to start it) with nothing but what it uses, as most of its runs are short. CPU milliseconds on Node 20 above
 * `node -e 0`, for reading a page of the fixture, minimum of 21 runs: as one of the entry points above, whose code came
 * from 14 files, 103; as one file 72, and minified 66. With every command in a file of its own, loaded when it is called, it
 * was 74: a file takes a millisecond, and what a command adds to what all of them share is compiled in less.
 *
 * So it has its own copy of the library's classes. It hands none of them to anybody who has the other.
 */
const oneFile: Options = {
  splitting: false,
  minify: true,
  esbuildOptions: (options) => {
    // Node prints the whole line in which an error was thrown that nobody caught.
    options.lineLimit = 160;
  },
};

/** CommonJS: Node starts it with a tenth less work, and only it can be given compiled code before Node 22.1 (cli/kept-code.ts). */
const commonJs: Options = {
  ...oneFile,
  format: "cjs",
  outExtension: () => ({ js: ".cjs" }),
  inject: ["cli/import-meta-url.ts"],
  define: { "import.meta.url": "importMetaUrl" },
};

// The first line of cli/main.ts is `#!/usr/bin/env node`; tsup keeps it and sets the executable bit.
const start: Options = { ...commonJs, entry: { cli: "cli/main.ts" } };

const command: Options = {
  ...commonJs,
  entry: { command: "cli/command.ts" },
  // The one package that every run needs: so its code is kept as well. Its licence goes along (scripts/build.mjs).
  noExternal: ["commander", "node:child_process"],
  esbuildOptions: (options, context) => {
    oneFile.esbuildOptions?.(options, context);
    // `import()` fails in code that is run by `vm.Script`: it becomes `require`.
    options.supported = { ...options.supported, "dynamic-import": false };
    // commander loads it for commands that are programs of their own, and it loads Node's network with it.
    options.alias = { ...options.alias, "node:child_process": "./cli/no-child-process.ts" };
  },
};

export default defineConfig([
  { ...common, ...library },
  { ...common, ...start },
  { ...common, ...command },
]);
