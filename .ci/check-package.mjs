// Packs what `npm publish` would, installs it into an empty project, and uses it there: the command, each entry point,
// the types. Then publint and attw judge the same tarball. dist must be built.
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const fixture = join(root, "fixtures/linux-6.1-x86_64.kdump");
const { version, exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const work = mkdtempSync(join(tmpdir(), "memtool-package-"));
const consumer = join(work, "consumer");

/** @param {string} command @param {string[]} args */
function run(command, args, cwd = consumer) {
  const limits = { timeout: 300_000, maxBuffer: 1 << 26 };
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    ...limits,
  });
}

/** @param {unknown} condition @param {string} message */
function assert(condition, message) {
  if (!condition) throw new Error(message);
}

/** A tool of ours, run in the project that has only the package. @param {string} path @param {string[]} args */
const tool = (path, args, cwd = consumer) =>
  run(process.execPath, [join(root, "node_modules", path), ...args], cwd);

/** @param {string} file @param {string} text */
const write = (file, text) => writeFileSync(join(consumer, file), text);

function pack() {
  const [{ filename, files }] = JSON.parse(
    run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", work], root),
  );
  /** @type {string[]} */
  const paths = files.map((/** @type {{ path: string }} */ { path }) => path);
  const workers = ["dist/worker/source-worker.js", "dist/worker/decode-worker.js"];
  for (const wanted of [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "dist/cli.cjs",
    "dist/commander.LICENSE",
    ...workers,
  ]) {
    assert(paths.includes(wanted), `the tarball has no ${wanted}`);
  }
  const strange = paths.filter(
    (path) => !/^(dist\/|docs\/|package\.json$|[A-Z]+(\.md)?$)|^docs\/api\//.test(path),
  );
  assert(strange.length === 0, `the tarball has ${strange.join(", ")}`);
  return join(work, filename);
}

/** @param {string} tarball */
function install(tarball) {
  mkdirSync(consumer);
  write("package.json", JSON.stringify({ name: "consumer", private: true, type: "module" }));
  run("npm", ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", tarball]);
}

function checkCommand() {
  const shown = run("npx", ["--no-install", "memtool", "--version"]).trim();
  assert(shown === version, `memtool --version says ${shown}, package.json ${version}`);
  const read = ["read", "linux_banner", "--length", "64", "--json", "-f", fixture];
  const output = run("npx", ["--no-install", "memtool", ...read]);
  const runs = output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const banner = Buffer.from(runs.map(({ hex }) => hex).join(""), "hex");
  assert(
    banner.length === 64 && banner.toString("latin1").startsWith("Linux version 6.1"),
    `memtool read doesn't show the kernel's banner:\n${output}`,
  );
  checkMapping(output);
}

/** A script finds the installed memtool from a folder that has none. `@swc/wasm-typescript` is optional. */
function checkScripts() {
  const script = join(work, "script.ts");
  writeFileSync(
    script,
    `import { Machine } from "memtool";\nconst name: string = (await linux.process(1)).comm!;
    console.log(machine instanceof Machine, name);`,
  );
  const cli = join(consumer, "node_modules/memtool/dist/cli.cjs");
  const { stdout, stderr } = spawnSync(process.execPath, [cli, "run", script, "-f", fixture], {
    cwd: work,
    encoding: "utf8",
  });
  if (existsSync(join(consumer, "node_modules/@swc/wasm-typescript"))) {
    assert(stdout === "true init\n", `memtool run: ${stdout}${stderr}`);
  } else {
    assert(stderr.includes("npm install @swc/wasm-typescript"), `memtool run says: ${stdout}${stderr}`);
  }
}

/** ffi-rs is optional: without it, the command says how to get it. @param {string} expected */
function checkMapping(expected) {
  const target = ["-c", `file:${fixture}:map=true`];
  const read = ["read", "linux_banner", "--length", "64", "--json", ...target];
  const cli = join(consumer, "node_modules/memtool/dist/cli.cjs");
  const { stdout, stderr } = spawnSync(process.execPath, [cli, ...read], { cwd: consumer, encoding: "utf8" });
  if (existsSync(join(consumer, "node_modules/ffi-rs"))) {
    assert(stdout === expected, `a mapped dump reads otherwise: ${stdout}${stderr}`);
  } else {
    assert(stderr.includes("npm install ffi-rs"), `without ffi-rs, map=true says: ${stdout}${stderr}`);
  }
}

/** The package's entry points but memtool/testing, which needs the user's vitest. */
const entryPoints = Object.keys(exports)
  .filter((entry) => !["./package.json", "./testing"].includes(entry))
  .map((entry) => entry.replace(".", "memtool"));

function checkEntryPoints() {
  const imports = entryPoints.map((entry, i) => `import * as e${i} from "${entry}";`);
  const checks = entryPoints.map(
    (entry, i) => `if (Object.keys(e${i}).length === 0) throw new Error("${entry} exports nothing");`,
  );
  // A class is one class, whichever entry point it comes from.
  const index = entryPoints.indexOf("memtool");
  const core = entryPoints.indexOf("memtool/core");
  const same = `for (const name of Object.keys(e${core})) {
    if (e${core}[name] !== e${index}[name]) throw new Error(\`\${name} differs between memtool and memtool/core\`);
  }`;
  write("imports.js", [...imports, ...checks, same].join("\n"));
  run(process.execPath, ["imports.js"]);
}

/** The threads that help to decompress start from what was installed, and stay. */
function checkThreads() {
  write(
    "threads.js",
    `import { readdirSync } from "node:fs";
    import { availableParallelism } from "node:os";
    import { open } from "memtool";
    const threads = () => process.platform === "linux" ? readdirSync("/proc/self/task").length : 0;
    const machine = await open(${JSON.stringify(fixture)}, { kernel: "none" });
    const before = threads();
    await machine.physical.readPartial(0, machine.physical.map.end);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const expected = process.platform === "linux" && availableParallelism() > 1;
    if (threads() > before !== expected) throw new Error(\`\${before} threads, then \${threads()}\`);
    await machine.close();`,
  );
  run(process.execPath, ["threads.js"]);
}

/** zstd's WebAssembly is found where it was installed. */
function checkCodecs() {
  write(
    "codecs.js",
    `import { nodeDecoders, nodeEncoders } from "memtool";
    const page = new Uint8Array(4096).fill(7);
    for (const [encoder, decoder] of [["deflate", "inflate"], ["zstd", "zstd"]]) {
      const found = nodeDecoders[decoder](nodeEncoders[encoder](page), 4096);
      if (Buffer.compare(found, page) !== 0) throw new Error(\`\${decoder} gives another page\`);
    }`,
  );
  run(process.execPath, ["codecs.js"]);
}

/** Under vitest, as a user's tests would; the user brings vitest, here ours stands in. */
function checkTesting() {
  for (const name of ["vitest", "@types"]) {
    symlinkSync(join(root, "node_modules", name), join(consumer, "node_modules", name), "dir");
  }
  write(
    "suite.test.js",
    `import * as testing from "memtool/testing";
    import { expect, test } from "vitest";
    test("memtool/testing has the suite", () => expect(testing.packetIoSuite).toBeTypeOf("function"));`,
  );
  tool("vitest/vitest.mjs", ["run", "--root", ".", "--reporter=dot"]);
}

function checkTypes() {
  const settings = { strict: true, noEmit: true, target: "ES2022", module: "NodeNext", skipLibCheck: false };
  const lib = ["ES2023", "ESNext.Disposable"];
  const onNode = [...entryPoints, "memtool/testing"];
  const imports = onNode.map((entry, i) => `import * as e${i} from "${entry}";`);
  write(
    "node.ts",
    `${imports.join("\n")}
    import { MemtoolError, open } from "memtool";
    import { MemtoolError as CoreError } from "memtool/core";
    export const same = (error: MemtoolError): CoreError => error;
    // @ts-expect-error: a path isn't a number; so the types aren't any.
    export const machine = open(12);
    // @ts-expect-error: no such name.
    import { nothing } from "memtool";
    export const used = [nothing, ${onNode.map((_, i) => `e${i}`).join(", ")}];`,
  );
  // The core's types stand alone: without Node's, and without the DOM's.
  write("core.ts", `import * as core from "memtool/core";\nexport const names = Object.keys(core);`);
  for (const [name, types] of /** @type {const} */ ([
    ["node", ["node"]],
    ["core", []],
  ])) {
    // A dependency's own types are none of our business, so those of the test runner aren't checked here.
    const compilerOptions = { ...settings, lib, types, skipLibCheck: name === "node" };
    write(`tsconfig.${name}.json`, JSON.stringify({ compilerOptions, files: [`${name}.ts`] }));
    tool("typescript/bin/tsc", ["-p", `tsconfig.${name}.json`, "--pretty", "false"]);
  }
}

/** @param {string} tarball */
function judge(tarball) {
  const checks = {
    publint: () => tool("publint/src/cli.js", ["run", tarball, "--strict"]),
    attw: () =>
      tool("@arethetypeswrong/cli/dist/index.js", [
        tarball,
        "--profile",
        "esm-only",
        "--no-definitely-typed",
      ]),
  };
  for (const check of Object.values(checks)) check();
}

try {
  const tarball = pack();
  /** @type {[string, () => void][]} */
  const steps = [
    ["installs", () => install(tarball)],
    ["has a command", checkCommand],
    ["runs scripts", checkScripts],
    ["can be imported", checkEntryPoints],
    ["has threads that help", checkThreads],
    ["has codecs", checkCodecs],
    ["brings a test suite", checkTesting],
    ["has types", checkTypes],
    ["is well-formed", () => judge(tarball)],
  ];
  for (const [what, step] of steps) {
    step();
    console.log(`the package ${what}`);
  }
} catch (error) {
  // What a command said on its standard output is why it failed; on its standard error it has said it already.
  const { message, stdout } = /** @type {Error & { stdout?: string }} */ (error);
  console.error([message, stdout].filter(Boolean).join("\n"));
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
