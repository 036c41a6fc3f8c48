// Bundles main.ts, since Node 20 runs no TypeScript. `import.meta.url` stays that of each source file, as under vitest.
import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

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

/** @param {string} outfile Below the repository's root, so that its packages are found. */
export async function bundle(outfile) {
  await build({
    entryPoints: [fileURLToPath(new URL("main.ts", import.meta.url))],
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
}
