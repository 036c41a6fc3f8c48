/** What is typed, to what Node's REPL runs: TypeScript without its types, imports as it can do them, operations driven where they are named. */
import { Script } from "node:vm";
import { withoutTypes } from "../script/strip-types.js";

/** A global function of the session that drives an operation and gives all else back. */
export const DRIVE = "memtool.drive";

/** What is to be run; `undefined` for what is not complete yet. */
export function prepareInput(text: string): string | undefined {
  let code = importsAsExpressions(text);
  if (!parses(code)) {
    try {
      const stripped = withoutTypes(code, "REPL.ts");
      if (parses(stripped)) code = stripped;
    } catch (error) {
      if (/<eof>|unexpected eof/i.test(String(error))) return undefined;
      // Neither: Node says what is wrong with it, as JavaScript, or waits for the rest.
    }
  }
  return drivenDeclaration(code);
}

/** Whether it is JavaScript, as a script or with `await` in it. Nothing is run. */
function parses(code: string): boolean {
  return isScript(code) || isScript(`(async () => {${code}\n})`) || isScript(`(async () => (${code}\n))`);
}

function isScript(code: string): boolean {
  try {
    new Script(code);
    return true;
  } catch {
    return false;
  }
}

const IMPORT = /^[ \t]*import\s+(?:([^"'();]+?)\s+from\s+)?(["'][^"'\n]+["'])[ \t]*;?/gm;

/** Node's REPL has no `import` statements: `import { a as b } from "m"` becomes `const { a: b } = await import("m")`. */
function importsAsExpressions(text: string): string {
  return text.replace(IMPORT, (_all, clause: string | undefined, name: string) => {
    const loaded = `await import(${name});`;
    if (clause === undefined) return loaded;
    if (/^type\b(?!\s*(,|from\b|$))/.test(clause)) return "";
    const [names = ""] = /\{[^}]*\}/.exec(clause) ?? [];
    const rest = clause.replace(names, "").replace(/,/g, " ").trim();
    const fields = names
      .slice(1, -1)
      .split(",")
      .map((each) => each.trim())
      .filter((each) => each !== "" && !/^type\s/.test(each))
      .map((each) => each.replace(/\s+as\s+/, ": "));
    const whole = /^\*\s*as\s+([\w$]+)$/.exec(rest)?.[1];
    if (whole !== undefined) return `const ${whole} = ${loaded}`;
    if (rest !== "") fields.unshift(`default: ${rest}`);
    return `const { ${fields.join(", ")} } = ${loaded}`;
  });
}

/** Names what nobody needs to drive, and takes its own name from where it stands. */
const FUNCTION = /^\s*(?:async\b\s*)?(?:function\b|class\b|[\w$]+\s*=>|\([^()]*\)\s*=>)/;
const DECLARATION = /^(\s*(?:const|let|var)\s+[\w$]+\s*=)(?!=)([\s\S]+?);?\s*$/;

/** `const task = linux.object("init_task")` names the object, not the operation that would find it. */
function drivenDeclaration(code: string): string {
  const [, head, value] = DECLARATION.exec(code) ?? [];
  if (head === undefined || value === undefined || FUNCTION.test(value)) return code;
  // One expression, without a comma: what `for … of` takes.
  if (!isScript(`(async () => {for (const _ of ${value}\n);})`)) return code;
  return `${head} globalThis[Symbol.for("${DRIVE}")](${value}\n)`;
}
