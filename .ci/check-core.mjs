// Checks that memtool/core needs ECMAScript and nothing else: no module, no global of a platform, by name and in use.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import ts from "typescript";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
/** @type {string[]} */
const problems = [];

// Every import, before the bundler drops what it can: node:, packages, and chunks that drag them in.
const { outputFiles, metafile, warnings } = await build({
  entryPoints: ["dist/core.js"],
  bundle: true,
  write: false,
  metafile: true,
  format: "iife",
  globalName: "core",
  platform: "neutral",
  target: "es2022",
  logLevel: "silent",
  // An import of anything but our own files is left as it is, to be listed below.
  plugins: [
    {
      name: "only-our-files",
      setup({ onResolve }) {
        onResolve({ filter: /^[^.]/ }, ({ kind, path }) =>
          kind === "entry-point" ? null : { path, external: true },
        );
      },
    },
  ],
});
for (const [file, { imports }] of Object.entries(metafile.inputs)) {
  for (const { path, external } of imports) if (external) problems.push(`${file} imports ${path}`);
}
// `import.meta` among them, which a script has not.
for (const { id, text, location } of warnings) {
  // A chunk that core shares and needs no name of: our own, and package.json says that nothing of it runs by itself.
  if (id === "ignored-bare-import") continue;
  problems.push(`${location?.file}:${location?.line}: ${text}`);
}

// Every global that the text names, also where it would run only elsewhere: TypeScript knows ECMAScript's.
const bundle = outputFiles[0]?.text ?? "";
const name = "core-bundle.js";
const host = ts.createCompilerHost({});
const readSource = host.getSourceFile.bind(host);
/** @type {ts.CompilerHost["getSourceFile"]} */
const getSourceFile = (file, options) =>
  file === name ? ts.createSourceFile(file, bundle, ts.ScriptTarget.ES2022, true) : readSource(file, options);
host.getSourceFile = getSourceFile;
const program = ts.createProgram(
  [name],
  {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
  },
  host,
);
const source = program.getSourceFile(name);
if (source === undefined) throw new Error("TypeScript didn't read the bundle");
/** "Cannot find name", as such and with each of the hints that TypeScript gives about a known platform's name. */
const CANNOT_FIND_NAME = [2304, 2503, 2552, 2580, 2581, 2582, 2583, 2584, 2591, 2592, 2593, 2867, 2868];
const globals = new Set();
for (const { code, start = 0, length = 0 } of program.getSemanticDiagnostics(source)) {
  if (CANNOT_FIND_NAME.includes(code)) globals.add(bundle.slice(start, start + length));
}
// `globalThis.name` is fine for ECMAScript's own names; anything else could be any name.
const realm = vm.createContext({});
vm.runInContext("delete globalThis.console; delete globalThis.WebAssembly;", realm);
const ecmascript = new Set([
  ...vm.runInContext("Object.getOwnPropertyNames(globalThis)", realm),
  "SuppressedError",
  "DisposableStack",
  "AsyncDisposableStack",
]);
/** @param {ts.Node} node */
const visit = (node) => {
  if (ts.isIdentifier(node) && node.text === "globalThis") {
    const { parent } = node;
    const isRead = ts.isPropertyAccessExpression(parent) && parent.expression === node;
    if (!isRead) globals.add(parent.getText().slice(0, 60));
    else if (!ecmascript.has(parent.name.text)) globals.add(parent.getText());
  }
  ts.forEachChild(node, visit);
};
visit(source);
for (const global of globals) problems.push(`the core names ${global}, which isn't ECMAScript`);

// In use: as it is, and with WebAssembly given to it, which is the one thing of a host that it makes use of.
for (const [where, wasm] of /** @type {const} */ ([
  ["in a bare realm", undefined],
  ["in a bare realm, with WebAssembly", Reflect.get(globalThis, "WebAssembly")],
])) {
  realm.wasm = wasm;
  try {
    vm.runInContext(bundle, realm, { filename: name });
    const job = vm.runInContext(readFileSync(".ci/core-job.js", "utf8"), realm, {
      filename: "core-job.js",
      timeout: 30_000,
    });
    const late = new Promise((_, reject) => setTimeout(reject, 30_000, "didn't end in 30 s").unref());
    const result = await Promise.race([job, late]);
    if (result !== "ok") problems.push(`${where}: ${result}`);
  } catch (error) {
    problems.push(`${where}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

const modules = Object.keys(metafile.inputs).length;
console.log(
  problems.length > 0
    ? problems.join("\n")
    : `core: ${modules} files, ${bundle.length} bytes, ECMAScript only`,
);
process.exit(problems.length > 0 ? 1 : 0);
