import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import ts from "typescript";
import { describe, expect, test } from "vitest";

/**
 * The folders whose modules a module may import, besides those of its own. Files that lie directly in `src` put the
 * layers together: they may import any layer, and no layer imports them. A new folder needs a line here.
 */
const LAYERS: Record<string, readonly string[]> = {
  "src/io": [],
  "src/codecs": ["src/wasm"],
  "src/wasm": [],
  "src/memory": ["src/io"],
  "src/formats": ["src/io", "src/codecs"],
  "src/paging": ["src/io", "src/memory", "src/wasm"],
  "src/linux": ["src/io", "src/memory", "src/paging"],
  "src/search": ["src/io", "src/memory", "src/paging", "src/wasm"],
  "src/web": ["src/io"],
  src: ["src/*"],
  connectors: ["src", "src/*"],
  cli: ["connectors", "src", "src/*"],
  // Published as memtool/testing.
  "test/suite": ["test/support", "src", "src/*"],
  "test/support": ["test/suite", "scripts", "fixtures", "connectors", "src", "src/*"],
};

/**
 * Single files that a layer may import all the same. A codec may throw our errors; it does no I/O. A format says what
 * there is of memory.
 */
const ALSO_ALLOWED: Record<string, readonly string[]> = {
  "src/codecs": ["src/io/errors.ts"],
  "src/formats": ["src/memory/physical-map.ts"],
};

/** The packages that a layer may name, `node:` meaning Node's own; the others may name none. */
const PACKAGES: Record<string, readonly string[]> = {
  connectors: ["node:"],
  cli: [
    "node:",
    "@alexaltea/capstone-js",
    "@swc/wasm-typescript",
    "better-sqlite3",
    "chalk",
    "commander",
    "hyparquet-writer",
    "string-width",
  ],
  "test/suite": ["node:", "vitest"],
  "test/support": ["node:", "vitest", "fast-check", "typescript"],
};

interface Import {
  readonly specifier: string;
  readonly line: number;
  /** `import()`: resolved when it runs, so the package may be absent. */
  readonly dynamic: boolean;
}

/** Every module that the text names: `import` and `export … from` (types too), `import()`, `import("…").T`. */
function importsOf(text: string): Import[] {
  const source = ts.createSourceFile("module.ts", text, ts.ScriptTarget.Latest);
  const imports: Import[] = [];
  const add = (node: ts.Node | undefined, dynamic: boolean) => {
    if (node === undefined || !ts.isStringLiteralLike(node)) return;
    const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
    imports.push({ specifier: node.text, line, dynamic });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier, false);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, false);
    else if (ts.isExternalModuleReference(node)) add(node.expression, false);
    else if (ts.isCallExpression(node)) {
      const isRequire = ts.isIdentifier(node.expression) && node.expression.text === "require";
      if (isRequire || node.expression.kind === ts.SyntaxKind.ImportKeyword)
        add(node.arguments[0], !isRequire);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return imports;
}

/** `src/io` for anything below it, `cli` for `cli/commands/read.ts`, `src` for `src/index.ts`. */
function layerOf(file: string): string {
  const [top = "", second = ""] = file.split("/");
  if (top === "src" || top === "test") return file.split("/").length > 2 ? `${top}/${second}` : top;
  return top;
}

function packageOf(specifier: string): string {
  if (specifier.startsWith("node:")) return "node:";
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/** What is wrong with the imports of a file, one line each. */
function violations(file: string, text: string, optionalPackages: readonly string[] = []): string[] {
  const layer = layerOf(file);
  const allowed = LAYERS[layer];
  if (allowed === undefined) return [`${file}: ${layer}/ has no line in test/architecture.test.ts`];
  const found: string[] = [];
  for (const { specifier, line, dynamic } of importsOf(text)) {
    const fail = (why: string) => found.push(`${file}:${line}: imports ${specifier}: ${why}`);
    if (!specifier.startsWith(".")) {
      const name = packageOf(specifier);
      if (PACKAGES[layer]?.includes(name)) continue;
      if (layer !== "connectors" || !optionalPackages.includes(name))
        fail(`${layer} may not name this package`);
      else if (!dynamic) fail("an optional package is loaded by import() in the connector that needs it");
      continue;
    }
    const target = join(dirname(file), specifier).replace(/\.js$/, ".ts");
    const to = layerOf(target);
    const isAllowed =
      to === layer ||
      allowed.includes(to) ||
      (allowed.includes("src/*") && to.startsWith("src/")) ||
      ALSO_ALLOWED[layer]?.includes(target);
    if (!isAllowed) fail(`${layer} may not import ${to}`);
  }
  return found;
}

function sourcesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(folder, file.replaceAll("\\", "/")));
}

describe("imports point one way", () => {
  const { optionalDependencies = {}, peerDependenciesMeta = {} } = JSON.parse(
    readFileSync("package.json", "utf8"),
  );
  const files = ["src", "connectors", "cli", "test/suite", "test/support"].flatMap(sourcesBelow);

  test("in every module", () => {
    expect(files).toContain("src/index.ts");
    expect(files).toContain("connectors/index.ts");
    const optional = Object.keys({ ...optionalDependencies, ...peerDependenciesMeta });
    expect(files.flatMap((file) => violations(file, readFileSync(file, "utf8"), optional))).toEqual([]);
  });

  test.each([
    ["src imports a connector", "src/io/x.ts", `import { f } from "../../connectors/file.js";`],
    ["src's index imports a connector", "src/index.ts", `export * from "../connectors/index.js";`],
    ["src imports the command line's types", "src/linux/x.ts", `import type { T } from "../../cli/main.js";`],
    ["src names a Node module", "src/io/x.ts", `import { readFileSync } from "node:fs";`],
    ["src names a Node module late", "src/io/x.ts", `const fs = await import("node:fs");`],
    ["src names a package", "src/codecs/x.ts", `import { inflate } from "pako";`],
    ["io imports memory", "src/io/x.ts", `import { M } from "../memory/physical-memory.js";`],
    ["io imports memory in a type", "src/io/x.ts", `let m: import("../memory/physical-memory.js").M;`],
    ["memory imports paging", "src/memory/x.ts", `export { walk } from "../paging/walk.hot.js";`],
    ["paging imports linux", "src/paging/x.ts", `import "../linux/task.js";`],
    ["formats import memory", "src/formats/x.ts", `import { M } from "../memory/physical-memory.js";`],
    ["codecs do I/O", "src/codecs/x.ts", `import { Packet } from "../io/packet.js";`],
    ["a layer imports the index", "src/io/x.ts", `import { Packet } from "../index.js";`],
    ["a folder without a line", "src/unknown/x.ts", ""],
    ["a connector imports the command line", "connectors/qemu/x.ts", `import { f } from "../../cli/x.js";`],
    ["a connector imports the tests", "connectors/x.ts", `import { f } from "../test/support/x.js";`],
    ["a connector uses colour", "connectors/x.ts", `import chalk from "chalk";`],
    ["an optional package is loaded at once", "connectors/x.ts", `import { open } from "native";`],
    ["the suite brings a package along", "test/suite/x.ts", `import fc from "fast-check";`],
  ])("%s: refused", (_, file, text) => {
    expect(violations(file, text, ["native"])).toHaveLength(1);
  });

  test.each([
    ["its own layer", "src/io/x.ts", `import { f } from "./y.js"; import { g } from "./deep/y.js";`],
    ["linux uses paging", "src/linux/x.ts", `import { f } from "../paging/mmu.js";`],
    ["formats use codecs", "src/formats/x.ts", `import { f } from "../codecs/lz4.js";`],
    ["codecs throw our errors", "src/codecs/x.ts", `import { MemtoolError } from "../io/errors.js";`],
    [
      "connectors use src",
      "connectors/qemu/x.ts",
      `import { f } from "../../src/index.js"; import "node:fs";`,
    ],
    ["an optional package, when it is needed", "connectors/x.ts", `const native = await import("native");`],
    [
      "the command line uses a connector",
      "cli/commands/x.ts",
      `import { open } from "../../connectors/index.js";`,
    ],
  ])("%s: allowed", (_, file, text) => {
    expect(violations(file, text, ["native"])).toEqual([]);
  });
});
