/** YARA rules, by the optional package @litko/yara-x: what compiles them, and scans bytes. */
import { MemtoolError } from "../../src/io/index.js";

/** Rules as text. */
export interface YaraSource {
  /** What errors call it: the file's name. */
  readonly name: string;
  readonly text: string;
  /** Where `include` looks; without one, there is none. */
  readonly folder?: string | undefined;
}

/** What is wrong with rules. */
export interface YaraProblem {
  readonly name: string;
  /** 1 for the first; `undefined` where it is not told. */
  readonly line: number | undefined;
  /** In one line: "rules.yar:3:13: unknown pattern `$b`: this pattern is not declared". */
  readonly message: string;
  /** All that the compiler says, in several lines. */
  readonly detail: string;
}

/** Rules that can't be compiled: code `BAD_RULES`. */
export class YaraError extends MemtoolError {
  readonly problems: readonly YaraProblem[];

  constructor(problems: readonly YaraProblem[]) {
    super("BAD_RULES", problems.map(({ message }) => message).join("; "));
    this.problems = problems;
  }
}

/** What the package says of a rule that matches. @internal */
export interface EngineMatch {
  readonly ruleIdentifier: string;
  readonly meta: object;
  readonly tags: readonly string[];
  readonly matches: readonly {
    readonly offset: number;
    readonly length: number;
    readonly identifier: string;
  }[];
}

/** Compiled rules of the package. @internal */
export interface Engine {
  scan(data: Buffer): EngineMatch[];
  setMaxMatchesPerPattern(count: number): void;
}

interface Message {
  readonly message: string;
}

interface EngineOptions {
  readonly enableIncludes: boolean;
  readonly includeDirectories?: string[];
}

/** The package, as far as it is used. @internal */
export interface YaraPackage {
  validate(
    text: string,
    options: EngineOptions,
  ): { readonly errors: Message[]; readonly warnings: Message[] };
  compile(text: string, options: EngineOptions): Engine;
}

/** Compiled rules; what {@link compileYara} gives. */
export interface YaraRules {
  /** What the compiler thinks of them, though it took them. */
  readonly warnings: readonly YaraProblem[];
  /** Each source's. @internal */
  readonly engines: readonly { readonly name: string; readonly engine: Engine }[];
}

/** The line to type. */
const INSTALL = "npm install @litko/yara-x@0.3.0";

/**
 * Compiles rules. Each source is compiled for itself: names of rules may be the same in several.
 *
 * @throws {YaraError} `BAD_RULES` with all problems, by source and line. {MemtoolError} `NO_PACKAGE`.
 */
export async function compileYara(
  sources: readonly YaraSource[],
  load: () => Promise<unknown> = () => import("@litko/yara-x"),
): Promise<YaraRules> {
  const engine = await loadPackage(load);
  const problems: YaraProblem[] = [];
  const warnings: YaraProblem[] = [];
  const engines: { name: string; engine: Engine }[] = [];
  for (const { name, text, folder } of sources) {
    const options =
      folder === undefined
        ? { enableIncludes: false }
        : { enableIncludes: true, includeDirectories: [folder] };
    const problemOf = ({ message }: Message) => problemIn(name, message);
    try {
      const found = engine.validate(text, options);
      problems.push(...found.errors.map(problemOf));
      warnings.push(...found.warnings.map(problemOf));
      if (found.errors.length === 0) engines.push({ name, engine: engine.compile(text, options) });
    } catch (error) {
      problems.push(problemOf(error as Error));
    }
  }
  if (problems.length > 0) throw new YaraError(problems);
  return { warnings, engines };
}

/**
 * What the compiler says: `error[E025]: what`, then a line `--> FILE:3:13`, then the text, with a line `| ^^ why` below it. It calls a text
 * without a file "line".
 */
function problemIn(name: string, detail: string): YaraProblem {
  const what = detail.split("\n", 1)[0]?.replace(/^(?:.*?: )?(?:error|warning)\[\w+\]: /, "") ?? "";
  const [, file, line, column] = /^ *--> (.*):(\d+):(\d+) *$/m.exec(detail) ?? [];
  const why = /^ *\| *[\^-]+ (.+)$/m.exec(detail)?.[1];
  const place = line === undefined ? name : `${file === "line" ? name : file}:${line}:${column}`;
  return {
    name,
    line: line === undefined ? undefined : Number(line),
    message: `${place}: ${what}${why === undefined ? "" : `: ${why}`}`,
    detail,
  };
}

async function loadPackage(load: () => Promise<unknown>): Promise<YaraPackage> {
  try {
    const found = (await load()) as YaraPackage & { readonly default?: YaraPackage };
    return found.default ?? found;
  } catch (cause) {
    const { message } = cause as Error;
    if (/Cannot find (?:package|module) '@litko\/yara-x'/.test(message))
      throw new MemtoolError("NO_PACKAGE", `YARA rules need a package that is not installed: ${INSTALL}`);
    throw new MemtoolError(
      "NO_PACKAGE",
      "YARA rules need the package @litko/yara-x, and it does not load here: it has binaries for Linux on x86-64 (with glibc) and " +
        `macOS; elsewhere, write the memory with "memtool dump" or "memtool convert", and let YARA scan the file. (If it should: ${INSTALL})`,
      { cause },
    );
  }
}
