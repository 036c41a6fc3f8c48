/** Commands that open targets themselves, or none. */
import { COMPARED } from "../../src/linux/index.js";
import { type DiffCommandOptions, diff, diffWanted } from "../commands/diff.js";
import { COMPLETION_SCRIPTS, completeWords, completionLines, SHELLS } from "../complete.js";
import { UsageError } from "../errors.js";
import { loadRepl, loadScripts } from "../packages.js";
import type { ReplOptions } from "../repl/repl.js";
import { addRowOptions, rowsOf } from "../rows/options.js";
import { example, FIXTURE, type Registry } from "./registry.js";

const COMPLETION_HELP = `
To have it in every shell from now on:
  bash  echo 'source <(memtool completion bash)' >> ~/.bashrc
  zsh   echo 'source <(memtool completion zsh)' >> ~/.zshrc   (below compinit)
  fish  memtool completion fish > ~/.config/fish/completions/memtool.fish

Example:
  $ memtool completion bash`;

/** `memtool diff`. */
export function addDiff({ program, environment, globals, end }: Registry): void {
  addRowOptions(program.command("diff"))
    .description(
      "what changed from one target to another, two dumps of a machine or a dump and a live one: processes, modules, open files, " +
        "sockets, mounts, functions' code, pages of cached files and of physical memory",
    )
    .argument("[before]", "a dump, or a connector (NAME:TARGET); left out where -f or -c names it")
    .argument("[after]", "the same; options of the target (--map, --symbols) count for both")
    .option("--only <what>", `some of it, with commas between: ${COMPARED.join(", ")}`)
    .option("--pages", "each range of pages that differ, or that only one has, rather than their sum")
    .addHelpText("after", example(`diff ${FIXTURE} ${FIXTURE}`))
    .action(async (before: string | undefined, after: string | undefined, options: DiffCommandOptions) => {
      const args = [before, after].filter((each) => each !== undefined);
      const wanted = diffWanted(args, options, globals());
      end(await diff(wanted, environment, rowsOf(program, "diff", options)));
    });
}

/** `memtool run`. */
export function addRun({ program, environment, globals, end }: Registry): void {
  program
    .command("run")
    .description(
      "runs a script, TypeScript or JavaScript, with machine, linux, memory, target and args in reach",
    )
    .argument("<script>", "a file (an ES module), or - for standard input")
    .argument("[args...]", "what the script gets as args; options of its own behind --")
    .addHelpText("after", example(`run tasks.ts -f ${FIXTURE}`))
    .action(async (path: string, args: string[]) => {
      end(await loadScripts().runScript(path, args, globals(), environment));
    });
}

/** `memtool repl`. */
export function addRepl({ program, environment, version, globals, end }: Registry): void {
  program
    .command("repl")
    .description(
      "an interactive session: TypeScript or JavaScript with what a script has in reach, and commands with a dot in front",
    )
    .option("--no-history", "keeps nothing of what is typed, and doesn't offer what was typed before")
    .addHelpText(
      "after",
      `${example(`repl -f ${FIXTURE}`)}\n  $ echo 'linux.object("init_task").comm' | memtool repl -f ${FIXTURE}`,
    )
    .action(async (options: ReplOptions) => {
      end(await loadRepl().runRepl(options, globals(), environment, version));
    });
}

/** `memtool completion`, and what its scripts ask. */
export function addCompletion({ program, environment }: Registry): void {
  program
    .command("completion")
    .description("a script for a shell that completes commands, options, their values and files")
    .argument("<shell>", `${SHELLS.slice(0, -1).join(", ")} or ${SHELLS.at(-1)}`)
    .addHelpText("after", COMPLETION_HELP)
    .action((shell: string) => {
      const known = SHELLS.find((each) => each === shell);
      if (known === undefined) throw new UsageError(`completion for "${shell}": one of ${SHELLS.join(", ")}`);
      environment.out.text(COMPLETION_SCRIPTS[known]);
    });
  program
    .command("__complete", { hidden: true })
    .argument("[words...]")
    .action((words: string[]) => environment.out.text(completionLines(completeWords(program, words))));
}
