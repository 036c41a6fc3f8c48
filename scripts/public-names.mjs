// What the package exports: each name of each entry, and whether it is a value (V), a type (T) or both. `node scripts/public-names.mjs
// --write` writes test/public-names.txt, with which a test compares it, so that no name comes or goes unseen.
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** The committed list. */
export const LIST = resolve(ROOT, "test/public-names.txt");

/** @returns {string} a line for each name, by entry, of what was built */
export function publicNames() {
  const { exports } = JSON.parse(readFileSync(resolve(ROOT, "package.json"), "utf8"));
  const entries = Object.entries(/** @type {Record<string, { types?: string }>} */ (exports)).flatMap(
    ([name, { types }]) => (types === undefined ? [] : [{ name, file: resolve(ROOT, types) }]),
  );
  const program = ts.createProgram(
    entries.map(({ file }) => file),
    {
      noEmit: true,
      skipLibCheck: true,
      types: [],
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
    },
  );
  const checker = program.getTypeChecker();
  const lines = entries.flatMap(({ name, file }) => {
    const source = program.getSourceFile(file);
    const symbol = source && checker.getSymbolAtLocation(source);
    if (symbol === undefined) throw new Error(`${file}: no module; build first`);
    return checker
      .getExportsOfModule(symbol)
      .map((each) => {
        const { flags } = each.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(each) : each;
        const kind = `${flags & ts.SymbolFlags.Value ? "V" : ""}${flags & ts.SymbolFlags.Type ? "T" : ""}`;
        return `${name} ${each.name} ${kind}`;
      })
      .sort();
  });
  return `${lines.join("\n")}\n`;
}

if (process.argv[2] === "--write") writeFileSync(LIST, publicNames());
