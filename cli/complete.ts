/**
 * Shell completion: what may follow words of a command line, by the program's own tree of commands, which has every name and option
 * already; only what values an option takes is told here. The target is not opened: that would make a shell wait.
 *
 * (The package @bomb.sh/tab does not fit: it brings a commander of its own beside the one that is built in, and knows no values.)
 */
import type { Command, Option } from "commander";
import { listConnectors } from "../connectors/connectors.js";
import { FORMATS } from "../src/formats/index.js";
import { CHECK_NAMES, COMPARED, TIMELINE_KINDS } from "../src/linux/index.js";
import { MMU_FORMATS } from "../src/paging/index.js";
import { STRING_ENCODINGS } from "../src/search/index.js";
import { VALUE_TYPES } from "./commands/values.js";
import { ROW_FORMATS } from "./rows/choice.js";

/** What may come; with `files`, also names of files. */
export interface Completions {
  readonly words: readonly { readonly word: string; readonly about: string }[];
  readonly files: boolean;
}

/** Shells that there is a script for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/** Values by option, or by command and option or argument. */
const VALUES: Readonly<Record<string, () => readonly string[]>> = {
  "--dump-format": () => FORMATS.map(({ name }) => name),
  "--mmu": () => MMU_FORMATS.map(({ name }) => name),
  "--connector": () => [...listConnectors().keys()].map((name) => `${name}:`),
  "--output": () => ROW_FORMATS,
  "--to": () => ["raw", "elf", "kdump", "lime"],
  "--compress": () => ["none", "zlib", "zstd"],
  "--exclude": () => ["zero"],
  "read --format": () => ["hex", "raw", "json"],
  "dump --format": () => ["elf", "raw"],
  "pagecache --format": () => ["raw"],
  "watch --type": () => VALUE_TYPES,
  "freeze --type": () => VALUE_TYPES,
  "serve --compress": () => ["auto", "always", "never"],
  "check what": () => CHECK_NAMES,
  "diff --only": () => COMPARED,
  "strings --encoding": () => STRING_ENCODINGS,
  "timeline --kind": () => TIMELINE_KINDS,
  "completion shell": () => SHELLS,
};

/** Options that take several values with commas between: the one behind the last comma is completed. */
const WITH_COMMAS: ReadonlySet<string> = new Set(["diff --only", "strings --encoding", "timeline --kind"]);

/** Values whose names say that they are files, such as `<file>`, `<dir>`, `<script>`. */
const OF_FILE = /file|dir|script|output/i;

/** @param words Those behind `memtool`; the last one, which may be empty, is to be completed. */
export function completeWords(program: Command, words: readonly string[]): Completions {
  const { before, last } = splitValue(words);
  const { command, option, count, onlyArguments } = follow(program, before);
  if (option !== undefined) return valuesOf(command, option, last, "");
  const joined = /^(--[^=]+)=/.exec(last);
  if (joined !== null && !onlyArguments) {
    const named = optionsOf(program, command).find(isCalled(joined[1] as string));
    return named === undefined ? NONE : valuesOf(command, named, last, joined[0]);
  }
  if (last.startsWith("-") && !onlyArguments) {
    const options = optionsOf(program, command).flatMap(({ long, short, description }) =>
      [long, short].flatMap((word) => (word === undefined ? [] : [{ word, about: firstOf(description) }])),
    );
    return matching([...options, { word: "--help", about: "what it does" }], last, false);
  }
  if (command === program) {
    const commands = program.createHelp().visibleCommands(program);
    return matching(
      commands.map((each) => ({ word: each.name(), about: firstOf(each.description()) })),
      last,
      false,
    );
  }
  if (command.name() === "help") return completeWords(program, [last]);
  const declared = command.registeredArguments;
  const argument = declared[Math.min(count, declared.length - 1)];
  if (argument === undefined || (count >= declared.length && !argument.variadic)) return NONE;
  const values = VALUES[`${command.name()} ${argument.name()}`]?.() ?? [];
  return matching(
    values.map((word) => ({ word, about: "" })),
    last,
    OF_FILE.test(argument.name()),
  );
}

const NONE: Completions = { words: [], files: false };

/** bash splits `--output=csv` and `file:dump` into three words each; what it completes is the last of them alone then. */
function splitValue(given: readonly string[]) {
  const words: string[] = [];
  for (const word of given) {
    if (word !== ":" && words.at(-1)?.endsWith(":") !== true) words.push(word);
    else words.push(`${words.pop() ?? ""}${word}`);
  }
  const last = words.at(-1) ?? "";
  const before = words.slice(0, -1).filter((word) => word !== "=");
  return { before, last: last === "=" && before.at(-1)?.startsWith("--") ? "" : last };
}

/** The command that the words lead to, how many arguments it has so far, and the option whose value comes next. */
function follow(program: Command, words: readonly string[]) {
  let command = program;
  let option: Option | undefined;
  let count = 0;
  let onlyArguments = false;
  for (const word of words) {
    if (option !== undefined) option = undefined;
    else if (word === "--" && !onlyArguments) onlyArguments = true;
    else if (word.startsWith("-") && word !== "-" && !onlyArguments) {
      const named = optionsOf(program, command).find(isCalled(word));
      if (named !== undefined && (named.required || named.optional)) option = named;
    } else if (command === program) {
      const help = program.createHelp().visibleCommands(program);
      command = help.find((each) => each.name() === word) ?? program;
    } else count++;
  }
  return { command, option, count, onlyArguments };
}

const isCalled =
  (word: string) =>
  ({ long, short }: Option): boolean =>
    word === long || word === short;

function optionsOf(program: Command, command: Command): readonly Option[] {
  const visible = command.options.filter(({ hidden }) => !hidden);
  return command === program ? visible : [...visible, ...program.options.filter(({ hidden }) => !hidden)];
}

/** @param cut Stands in front of the value in the last word. */
function valuesOf(command: Command, option: Option, last: string, cut: string): Completions {
  const name = option.long ?? "";
  const ofCommand = `${command.name()} ${name}`;
  const values = (VALUES[ofCommand] ?? VALUES[name])?.() ?? [];
  const front = WITH_COMMAS.has(ofCommand) ? last.slice(0, last.lastIndexOf(",") + 1) || cut : cut;
  return matching(
    values.map((value) => ({ word: `${front}${value}`, about: "" })),
    last,
    OF_FILE.test(/[<[](.*)[>\]]/.exec(option.flags)?.[1] ?? ""),
  );
}

function matching(all: Completions["words"], last: string, files: boolean): Completions {
  return { words: all.filter(({ word }) => word.startsWith(last)), files };
}

/** Of a description, what fits beside a word. */
function firstOf(text: string): string {
  return (text.split(/[;:(,]/, 1)[0] ?? "").trim().slice(0, 72);
}

/** As the scripts read it: a word and what it is, parted by a tab; `:files` for names of files. */
export function completionLines({ words, files }: Completions): string {
  const lines = words.map(({ word, about }) => (about === "" ? word : `${word}\t${about}`));
  return [...lines, ...(files ? [":files"] : [])].map((line) => `${line}\n`).join("");
}

/** What a shell is to read. */
export const COMPLETION_SCRIPTS: Readonly<Record<(typeof SHELLS)[number], string>> = {
  bash: `# memtool completion bash
_memtool() {
  local cur=\${COMP_WORDS[COMP_CWORD]} word about file
  [[ $cur == "=" ]] && cur=
  COMPREPLY=()
  while IFS=$'\\t' read -r word about; do
    if [[ $word == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$cur")
    else
      [[ $word == *: ]] && compopt -o nospace 2>/dev/null
      COMPREPLY+=("$word")
    fi
  done < <("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _memtool memtool
`,
  zsh: `#compdef memtool
# memtool completion zsh
_memtool() {
  local word about files=0 colon='\\:'
  local -a found
  while IFS=$'\\t' read -r word about; do
    if [[ $word == :files ]]; then files=1
    else found+=("\${word//:/$colon}\${about:+:$about}")
    fi
  done < <("\${(Q)words[1]}" __complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)
  (( \${#found} )) && _describe memtool found
  (( files )) && _files
  return 0
}
if [[ $funcstack[1] == _memtool ]]; then _memtool "$@"; else compdef _memtool memtool; fi
`,
  fish: `# memtool completion fish
function __memtool_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l program $before[1]
    set -e before[1]
    for line in ($program __complete -- $before "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c memtool -f -a '(__memtool_complete)'
`,
};
