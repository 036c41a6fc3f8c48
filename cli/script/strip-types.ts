/** Takes the types out of TypeScript. */
import { createRequire } from "node:module";

/** What the package throws: a plain object. */
interface Refusal {
  readonly message?: string;
  readonly startLine?: number;
  readonly startColumn?: number;
  readonly snippet?: string;
}

/** Types become spaces: all else stays in its line and column. */
export function withoutTypes(text: string, path: string): string {
  const { transformSync } = loadPackage(path);
  try {
    return transformSync(text, { mode: "strip-only", module: true, filename: path }).code;
  } catch (error) {
    const { message, startLine, startColumn, snippet } = error as Refusal;
    const place = startLine === undefined ? "" : `:${startLine}:${(startColumn ?? 0) + 1}`;
    const where = snippet === undefined ? "" : `\n${snippet.trimEnd()}`;
    throw atNoPlace(new SyntaxError(`${path}${place}: ${message ?? error}${where}`));
  }
}

function loadPackage(path: string): typeof import("@swc/wasm-typescript") {
  try {
    return createRequire(import.meta.url)("@swc/wasm-typescript");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
    throw atNoPlace(
      new Error(
        `${path} is TypeScript, and what takes its types away is not installed: npm install @swc/wasm-typescript (or write JavaScript)`,
      ),
    );
  }
}

/** An error without a stack: where it is thrown is none of the script's places. */
function atNoPlace(error: Error): Error {
  error.stack = `${error.name}: ${error.message}`;
  return error;
}
