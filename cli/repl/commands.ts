/** What is typed with a dot in front: commands of memtool over the open target. */
import type { LinuxKernel } from "../../src/linux/index.js";
import { read } from "../commands/read.js";
import { symbols } from "../commands/symbols.js";
import { translate } from "../commands/translate.js";
import { UsageError } from "../errors.js";
import type { CommandOptions, KernelCommand } from "../linux/command.js";
import { KERNEL_COMMANDS } from "../linux/commands.js";
import { TYPES } from "../linux/types.js";
import { parsePid } from "../parse.js";
import type { Session } from "../session.js";

/** What a command runs on. */
export interface CommandTarget {
  readonly session: Session;
  readonly linux: LinuxKernel;
  readonly version: string;
}

/** One of them. */
export interface DotCommand {
  readonly usage: string;
  readonly help: string;
  /** @returns the exit status that the command of the command line would have. */
  run(target: CommandTarget, text: string): Promise<number>;
}

/** All, by what stands behind the dot. */
export const DOT_COMMANDS: ReadonlyMap<string, DotCommand> = new Map<string, DotCommand>([
  [
    "x",
    {
      usage: ".x ADDRESS [LENGTH]",
      help: "bytes there, as a hex dump (256 by default)",
      run: ({ session }, text) => {
        const [address, length, ...rest] = wordsOf(text);
        if (address === undefined || rest.length > 0) throw new UsageError(".x ADDRESS [LENGTH]");
        return read(session, [address], length === undefined ? {} : { length });
      },
    },
  ],
  [
    "w",
    {
      usage: ".w ADDRESS",
      help: "where it is in physical memory, and every page-table entry on the way",
      run: ({ session }, text) => translate(session, some(wordsOf(text), ".w ADDRESS"), { walk: true }),
    },
  ],
  [
    "sym",
    {
      usage: ".sym NAME",
      help: "kernel symbols by name or pattern (with --pid, the process's too), or the one near an address (0x…)",
      run: ({ session }, text) => {
        const names = some(wordsOf(text), ".sym NAME");
        const [first = ""] = names;
        if (!/^\d/.test(first)) return symbols(session, names, {});
        return symbols(session, names.slice(1), { near: first });
      },
    },
  ],
  [
    "t",
    {
      usage: ".t TYPE",
      help: "a type as C defines it, or names of types by a pattern",
      run: (target, text) => runKernelCommand(TYPES, target, some([text.trim()], ".t TYPE"), {}),
    },
  ],
  ...KERNEL_COMMANDS.map((command): [string, DotCommand] => [
    command.name,
    {
      usage: `.${command.name}`,
      help: command.description,
      run: (target, text) => {
        const { args, options } = parseWords(command, wordsOf(text));
        return runKernelCommand(command, target, args, options);
      },
    },
  ]),
]);

async function runKernelCommand(
  command: KernelCommand,
  { session, linux: kernel, version }: CommandTarget,
  args: readonly string[],
  { pid: given, ...options }: CommandOptions,
): Promise<number> {
  const ofProcess = command.ofProcess === true || command.needsProcess === true;
  const own = ofProcess ? session.pid : undefined;
  const pid = typeof given === "string" ? parsePid(given) : own;
  if (pid === undefined && command.needsProcess === true)
    throw new UsageError("of which process? --pid NUMBER");
  if (given !== undefined && !ofProcess) {
    throw new UsageError(`${command.name}: what it lists is the kernel's, not a process's`);
  }
  command.check?.(args, options, session.options);
  return await command.run({ session, kernel, args, options, pid, version });
}

function some(words: readonly string[], usage: string): readonly string[] {
  if (words.length === 0 || words[0] === "") throw new UsageError(usage);
  return words;
}

/** Words; quotes hold several together, also behind what they belong to: `--name="a b"`. @throws {UsageError} for one that is not closed. */
export function wordsOf(text: string): string[] {
  const words = text.match(/(?:[^\s"']|"[^"]*"|'[^']*'|["'].*$)+/gs) ?? [];
  return words.map((word) =>
    word.replace(/"([^"]*)"|'([^']*)'|["'].*$/gs, (whole, a?: string, b?: string) => {
      const inside = a ?? b;
      if (inside === undefined) throw new UsageError(`the quote is not closed: ${whole}`);
      return inside;
    }),
  );
}

/** A command's words, as its table of options has them. @throws {UsageError} */
export function parseWords(
  command: KernelCommand,
  words: readonly string[],
): { readonly args: readonly string[]; readonly options: CommandOptions } {
  const flags = [...(command.options ?? []).map(([text]) => text), "--pid <number>"];
  const options: Record<string, unknown> = {};
  const args: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (!/^-./.test(word)) {
      args.push(word);
      continue;
    }
    const [name = "", joined] = word.split(/=(.*)/s, 2);
    const flag = flags.find((text) => text.split(/[ ,]+/).includes(name));
    const long = flag?.split(/[ ,]+/).find((text) => text.startsWith("--"));
    if (flag === undefined || long === undefined) {
      throw new UsageError(`unknown option '${name}' of ${command.name}`);
    }
    const isNo = long.startsWith("--no-");
    const key = long.slice(isNo ? 5 : 2).replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase());
    if (!flag.includes("<")) {
      // As commander has it: `--no-x` says that x is false.
      options[key] = !isNo;
      continue;
    }
    const value = joined ?? words[++i];
    if (value === undefined) throw new UsageError(`${command.name}: ${name} needs a value`);
    options[key] = flag.includes("...>") ? [...((options[key] as string[]) ?? []), value] : value;
  }
  return { args, options };
}

/** What `.help` says. */
export function helpText(): string {
  const own = [...DOT_COMMANDS].slice(0, -KERNEL_COMMANDS.length);
  const rows = own.map(([, { usage, help }]) => `${usage.padEnd(21)}${help}`);
  const others = KERNEL_COMMANDS.map(({ name }) => `.${name}`);
  return `${rows.join("\n")}
${wrap(others, 78)}
${" ".repeat(21)}as the commands of that name, with their options and --pid NUMBER
${".break".padEnd(21)}drops what was begun and is not complete
${".exit".padEnd(21)}ends the session (as Ctrl-D); Ctrl-C stops an evaluation

In reach: machine, linux, memory, target, args, import … from "memtool", await. Operations are driven when they are
shown, named (const t = linux.object("init_task")), or asked for a member; .sync() and await do so anywhere. Tab
completes commands, symbols, types and members. _ is the last result.`;
}

function wrap(words: readonly string[], width: number): string {
  const rows: string[] = [];
  for (const word of words) {
    const last = rows.at(-1);
    if (last === undefined || last.length + word.length + 1 > width) rows.push(word);
    else rows[rows.length - 1] = `${last} ${word}`;
  }
  return rows.join("\n");
}
