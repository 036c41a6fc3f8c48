/** The commands and their options. What a command does is in commands/. */
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { YaraError } from "../connectors/connectors.js";
import { FORMATS } from "../src/formats/index.js";
import { COMPARED } from "../src/linux/index.js";
import { MMU_FORMATS, NESTED_FORMATS } from "../src/paging/index.js";
import { type ConvertCommandOptions, convert, convertOptions } from "./commands/convert.js";
import { type CoverageCommandOptions, coverage, parseBlock } from "./commands/coverage.js";
import { type DiffCommandOptions, diff, diffWanted } from "./commands/diff.js";
import { type InfoCommandOptions, info } from "./commands/info.js";
import { checkMapsOptions, type MapsCommandOptions, maps } from "./commands/maps.js";
import { type ReadCommandOptions, read, readOptions } from "./commands/read.js";
import { reverse, reverseTargets } from "./commands/reverse.js";
import { type RootsCommandOptions, roots } from "./commands/roots.js";
import { type SymbolsCommandOptions, symbols } from "./commands/symbols.js";
import { type TranslateCommandOptions, translate } from "./commands/translate.js";
import { bytesToWrite, type WriteCommandOptions, write } from "./commands/write.js";
import { COMPLETION_SCRIPTS, completeWords, completionLines, SHELLS } from "./complete.js";
import { describeError, EXIT, isUsage, UsageError } from "./errors.js";
import { addKernelCommands, KERNEL_COMMANDS } from "./linux/commands.js";
import { loadRepl, loadScripts } from "./packages.js";
import {
  type AddressExpression,
  parseAddress,
  parseEpt,
  parseKaslr,
  parseMmu,
  parsePid,
  parseRoot,
} from "./parse.js";
import { escapeText } from "./render/escape.js";
import type { ReplOptions } from "./repl/repl.js";
import type { RowChoice } from "./rows/choice.js";
import { addRowOptions, rowsOf } from "./rows/options.js";
import { type SearchCommandOptions, searchWanted } from "./search/patterns.js";
import { fromSymbol, needsKernel, type PlaceOptions } from "./search/place-options.js";
import { searchCommand } from "./search/search.js";
import { type StringsCommandOptions, stringsCommand, stringsWanted } from "./search/strings.js";
import { checkYara, type YaraCommandOptions, yaraCommand } from "./search/yara.js";
import { loadRules } from "./search/yara-rules.js";
import { type Environment, type GlobalOptions, type Purpose, purposeOf, Session } from "./session.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";

const COMMANDS = `info, coverage, read, search, strings, yara, translate, maps, roots, symbols, write, convert, diff, run, repl, completion, ${KERNEL_COMMANDS.map(({ name }) => name).join(", ")}`;

const EPILOGUE = `
Addresses are 0x…, decimal or a kernel symbol, each with +offset or -offset: init_task+0x10.
With --pid they may be symbols of the process: malloc, libc.so.6:malloc, vdso:__vdso_time.
The target is -f FILE or -c CONNECTOR, else the environment's MEMTOOL_TARGET (either of both).

Exit status: 0 everything was read (or written, found), 1 nothing was, 2 the command line is wrong, 3 some was.

Example:
  $ memtool read linux_banner --length 160 -f ${FIXTURE}`;

const COMPLETION_HELP = `
To have it in every shell from now on:
  bash  echo 'source <(memtool completion bash)' >> ~/.bashrc
  zsh   echo 'source <(memtool completion zsh)' >> ~/.zshrc   (below compinit)
  fish  memtool completion fish > ~/.config/fish/completions/memtool.fish

Example:
  $ memtool completion bash`;

/** Runs a command line. @returns the exit status. */
export async function run(
  args: readonly string[],
  version: string,
  environment: Environment,
): Promise<number> {
  let status: number = EXIT.ok;
  const program = new Command("memtool");
  // Options before and after the command alike: commander's default, as long as no positional options are enabled.
  program
    .description("Reads the memory of dumps, processes and machines.")
    .version(version)
    .option(
      "-f, --file <file>",
      "a memory dump; its format is detected (given several times: the files of a dump that was split)",
      (file: string, files: string[] = []) => [...files, file],
    )
    .option("-c, --connector <name:target>", "a connector, such as proc:1234", once)
    .option(
      "--dump-format <format>",
      `the dump's format, instead of what its content says: ${FORMATS.map(({ name }) => name).join(", ")}`,
      once,
    )
    .option(
      "--map <ranges>",
      "where a raw image's bytes belong, or a QEMU stream's RAM: start-end@offset,… or a file of them or of /proc/iomem",
      once,
    )
    .option("--physical", "use physical memory")
    .option("--root <address>", "use the page tables of this root (a CR3, a TTBR0)", checked(parseRoot))
    .option(
      "--mmu <format>",
      `format of the page tables, instead of what the dump says: ${MMU_FORMATS.map(({ name }) => name).join(", ")}`,
      checked(parseMmu),
    )
    .option(
      "--swap <file>",
      "a swap area, a partition's image or a swap file, to read swapped pages from (given several times: in order of their " +
        "numbers, or as NUMBER=FILE)",
      (area: string, areas: string[] = []) => [...areas, area],
    )
    .option(
      "--ept <root[:format]>",
      "open a guest inside, by its nested page tables: an EPTP, an nCR3, or the address of the top table; the format is " +
        `looked at, or one of ${NESTED_FORMATS.join(", ")} (given several times: each guest lies in the one before)`,
      (text: string, before: string[] = []) => [...before, checked(parseEpt)(text)],
    )
    .option(
      "--pid <number>",
      "use a process's memory, or list only what is that process's",
      checked(parsePid),
    )
    .option(
      "--symbols <file>",
      "the kernel's symbols, instead of its own table: a System.map or a saved /proc/kallsyms of this very kernel",
      once,
    )
    .option(
      "--kaslr <offset>",
      "what KASLR added to the kernel's addresses, for --symbols where the dump does not tell it",
      checked(parseKaslr),
    )
    .option(
      "--types <file>",
      "the kernel's types, instead of its own: a file of BTF, a vmlinux with BTF, or Volatility's ISF (each also as .gz)",
      once,
    )
    .option("--write", "allow writes to the target")
    .option(
      "--cache",
      "keep what was read of the kernel for the next dump of the same build, and use it (of dumps you trust)",
    )
    .option("--json", "one JSON object a line; nothing else on standard output")
    .addHelpText("after", EPILOGUE)
    .showHelpAfterError(false)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => environment.out.text(text),
      writeErr: (text) => environment.stderr.write(text),
      outputError: (text, writeErr) => writeErr(`memtool: ${escapeText(oneLine(text))}\n`),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride();

  program
    .command("info")
    .description("what the target is: format, ranges, CPUs, kernel, and how it was found")
    .option("--svg <file>", "write a picture of it and of its memory as well")
    .addHelpText("after", example(`info -f ${FIXTURE}`))
    .action((options: InfoCommandOptions) => session((opened) => info(opened, options), "info"));

  program
    .command("coverage")
    .description("draws how much of each part of memory is there, is zero, was left out, or is no memory")
    .option(
      "--block <size>",
      "bytes that one block stands for: a power of two, such as 2M (default: what fits)",
    )
    .option("--svg <file>", "write a picture with legend instead")
    .addHelpText("after", example(`coverage -f ${FIXTURE}`))
    .action((options: CoverageCommandOptions) => {
      if (options.block !== undefined) parseBlock(options.block);
      return session((opened) => coverage(opened, options), "coverage");
    });

  program
    .command("read")
    .description(
      "bytes at addresses; what could not be read is shown as ··, with the reason on standard error",
    )
    .argument("[address...]", "0x…, decimal or a symbol, each with +offset or -offset")
    .option("-l, --length <bytes>", "bytes at each address: decimal, 0x…, or with K, M, G (default 256)")
    .option(
      "--stdin",
      "read lines of ADDRESS [LENGTH], answered in their order; bad ones are reported, the others answered",
    )
    .option("--format <format>", "hex, raw or json (default hex; json with --json)")
    .option("--fill <byte>", "raw: writes this byte for each that could not be read")
    .option("--skip-holes", "raw: leaves out what could not be read")
    .option("--no-squeeze", "hex: shows rows of data that repeat (holes are always squeezed)")
    .option("--zero-excluded", "reads pages that the dump left out for being zero as zeros, where it says so")
    .addHelpText("after", example(`read linux_banner --length 160 -f ${FIXTURE}`))
    .action((addresses: string[], options: ReadCommandOptions) => {
      readOptions(options, program.opts<GlobalOptions>().json ?? false);
      const purpose = purposeOf(checkAddresses(addresses, options.stdin), options.stdin);
      return session((opened) => read(opened, addresses, options), purpose);
    });

  const several = (value: string, list: string[] = []) => [...list, value];
  addRowOptions(program.command("search"))
    .description(
      "where text, bytes, numbers or pointers are, and whose memory that is: in physical memory, a process (--pid), " +
        "every process, or a range (--from)",
    )
    .option("--text <text>", "a string as UTF-8 (each pattern several times, if you like)", several)
    .option("--utf16 <text>", "a string as UTF-16, little-endian", several)
    .option("--hex <bytes>", "bytes, two digits each; ? stands for any digit", several)
    .option(
      "--regex <expression>",
      "a JavaScript regular expression over bytes; matches of up to 256 bytes; ^ and $ are the ends of readable memory",
      several,
    )
    .option("--u32 <number>", "an integer of 4 bytes, aligned", several)
    .option("--u64 <number>", "an integer of 8 bytes, aligned", several)
    .option(
      "--pointer-to <range>",
      "pointers to ADDRESS, or into START-END or ADDRESS+LENGTH; addresses may be symbols",
      several,
    )
    .option("-i, --ignore-case", "of ASCII letters, in text and expressions")
    .option("--align <bytes>", "of numbers and pointers (default: their size)")
    .option("--all-processes", "search every process's memory, one after the other")
    .option("--from <address>", "virtual addresses from here on, or physical ones with --physical")
    .option("-l, --length <bytes>", "so many bytes from --from on")
    .option("--limit <count>", "stops after so many hits")
    .option("--context <bytes>", "shows so many bytes before and behind each hit")
    .option("--no-owners", "doesn't look for whose memory a hit is in, which takes a kernel and a second")
    .addHelpText(
      "after",
      `${example(`search --text "Linux version" -f ${FIXTURE}`)}\n  $ memtool search --pointer-to init_task --from 0xffff888000000000 -f ${FIXTURE}`,
    )
    .action((options: SearchCommandOptions) => {
      const { usesSymbols } = searchWanted(options);
      const isVirtual = usesSymbols || needsKernel(options, program.opts<GlobalOptions>().pid);
      const purpose = isVirtual ? "virtual" : options.owners === false ? "coverage" : "memory";
      return session((opened) => searchCommand(opened, options), purpose, rowsOf(program, "search", options));
    });

  /** What `strings` and `yara` are opened for. */
  const purposeOfPlaces = (options: PlaceOptions, withOwners: boolean): Purpose => {
    if (fromSymbol(options) || needsKernel(options, program.opts<GlobalOptions>().pid)) return "virtual";
    return withOwners ? "memory" : "coverage";
  };

  addPlaceOptions(addRowOptions(program.command("strings")))
    .description(
      "texts in physical memory, a process (--pid), every process, or a range (--from), as strings of binutils finds them",
    )
    .option("-n, --min <count>", "characters that a text has at least (default 4)")
    .option(
      "-e, --encoding <name>",
      "ascii, utf8, utf16le or utf16be; several times or a,b (default: ascii and utf16le)",
      several,
    )
    .option("--grep <expression>", "texts that match this JavaScript regular expression only")
    .option("-i, --ignore-case", "of --grep")
    .option("--owners", "tells whose memory each text is in, which takes long where they are many")
    .addHelpText(
      "after",
      `${example(`strings --min 8 --grep "^memtool-" -f ${FIXTURE}`)}\n  $ memtool strings --pid 98 --owners --json -f ${FIXTURE}`,
    )
    .action((options: StringsCommandOptions) => {
      stringsWanted(options);
      const purpose = purposeOfPlaces(options, options.owners === true);
      return session(
        (opened) => stringsCommand(opened, options),
        purpose,
        rowsOf(program, "strings", options),
      );
    });

  addPlaceOptions(addRowOptions(program.command("yara")))
    .description(
      "what YARA rules match in physical memory, a process (--pid), every process, or a range (--from), and whose memory that is",
    )
    .argument("<rules...>", "files of rules (the package @litko/yara-x compiles and scans)")
    .option("--no-owners", "doesn't look for whose memory a hit is in, which takes a kernel and a second")
    .addHelpText("after", example(`yara rules.yar --all-processes -f ${FIXTURE}`))
    .action(async (files: string[], options: YaraCommandOptions) => {
      checkYara(options);
      const rows = rowsOf(program, "yara", options);
      const rules = await loadRules(files);
      const purpose = purposeOfPlaces(options, options.owners !== false);
      return session((opened) => yaraCommand(opened, rules, options), purpose, rows);
    });

  program
    .command("translate")
    .description("physical address, page size and rights of virtual addresses; or back")
    .argument("[address...]", "0x…, decimal or a symbol, each with +offset or -offset")
    .option("--stdin", "read an address a line, answered in their order")
    .option("--walk", "show every page-table entry on the way")
    .option(
      "--reverse",
      "the addresses are physical: show every virtual address that maps them, in the order of those",
    )
    .option("-l, --length <bytes>", "--reverse: look for the mappings of so many bytes from each address on")
    .option("--all-roots", "--reverse: look in the page tables of every CPU and of the kernel too")
    .addHelpText(
      "after",
      `${example(`translate init_task --walk -f ${FIXTURE}`)}\n  $ memtool translate --reverse 0x2a1aa40 --all-roots -f ${FIXTURE}`,
    )
    .action((addresses: string[], options: TranslateCommandOptions) => {
      if (options.reverse === true) {
        reverseTargets(addresses, options);
        return session((opened) => reverse(opened, addresses, options), "virtual");
      }
      for (const [name, value] of [
        ["--length", options.length],
        ["--all-roots", options.allRoots],
      ]) {
        if (value !== undefined) throw new UsageError(`${name} is for --reverse`);
      }
      checkAddresses(addresses, options.stdin);
      return session((opened) => translate(opened, addresses, options), "virtual");
    });

  addRowOptions(program.command("maps"))
    .description("every mapped run: contiguous in both address spaces, with one page size and rights")
    .argument("[address]", "where to begin (default: the whole address space)")
    .option("-l, --length <bytes>", "how far to go from there")
    .option("--rights", "neighbouring runs with the same rights as one, whatever their frames and page sizes")
    .option("--wx", "what is both writable and executable first, then the rest; also with --rights")
    .option("--summary", "how much is mapped, by rights and page size")
    .option("--diff <root>", "where the page tables of another root differ")
    .option("--svg <file>", "write a picture with legend instead: sizes and gaps at log scale")
    .addHelpText(
      "after",
      `${example(`maps _text --length 32M -f ${FIXTURE}`)}\n  $ memtool maps --rights --wx -f ${FIXTURE}\n  $ memtool maps --diff 0x55f8000 -f ${FIXTURE}`,
    )
    .action((address: string | undefined, options: MapsCommandOptions) => {
      checkMapsOptions(address, options);
      checkAddresses(address === undefined ? [] : [address], false);
      return session((opened) => maps(opened, address, options), "virtual", rowsOf(program, "maps", options));
    });

  addRowOptions(program.command("roots"))
    .description(
      "page-table roots: those that registers and the kernel tell of, and all that a search of RAM finds",
    )
    .option("--all", "tries every format of the architecture, also where the dump says which it is")
    .addHelpText("after", example(`roots -f ${FIXTURE}`))
    .action((options: RootsCommandOptions) =>
      session((opened) => roots(opened, options), "roots", rowsOf(program, "roots", options)),
    );

  addRowOptions(program.command("symbols"))
    .description(
      "kernel symbols by name or pattern (*, ?, [a-z]), or the one near an address; with --pid, those of a process too",
    )
    .argument("[name...]", "names or patterns; with --pid also OBJECT:NAME (libc.so.6:mem*), or kernel:NAME")
    .option("--near <address>", "the symbol at or below this address")
    .addHelpText(
      "after",
      `${example(`symbols init_task 'init_*_ns' -f ${FIXTURE}`)}\n  $ memtool symbols '__vdso_*' --pid 98 -f ${FIXTURE}`,
    )
    .action((names: string[], options: SymbolsCommandOptions) =>
      session((opened) => symbols(opened, names, options), "kernel", rowsOf(program, "symbols", options)),
    );

  program
    .command("write")
    .description(
      "writes bytes, reads them back and compares; needs --write, and a target that can be written",
    )
    .argument("<address>", "0x…, decimal or a symbol, each with +offset or -offset")
    .argument("[hex...]", "the bytes, two hex digits each")
    .option("--from <file>", "take the bytes from a file instead")
    .addHelpText(
      "after",
      `${example("write 0x7ffd1000 68690a --write -c proc:1234")}\n(The shipped fixture is compressed, and can't be written.)`,
    )
    .action((address: string, words: string[], options: WriteCommandOptions) => {
      const globals = program.opts<GlobalOptions>();
      if (globals.write !== true) {
        throw new UsageError("write changes the target: say so with --write");
      }
      const bytes = bytesToWrite(words, options);
      const purpose = purposeOf(checkAddresses([address], false));
      return session((opened) => write(opened, address, bytes), purpose);
    });

  program
    .command("convert")
    .description(
      "writes the target's physical memory as a raw image, an ELF core, a kdump or a LiME file; what is missing stays " +
        "missing, as far as the format can say it",
    )
    .argument("[output]", "the new file; it gets its name once it is complete")
    .option("-o, --output <file>", "the same")
    .option("--to <format>", "raw, elf, kdump or lime (default: as the name ends: .raw, .elf, .kdump, .lime)")
    .option("--compress <codec>", "kdump: none, zlib or zstd (default zlib)")
    .option("--exclude <what>", "kdump: zero leaves out pages of zeros (reading them gives a hole)")
    .option(
      "--keep <ranges>",
      "physical ranges to keep, START-END,… (ends exclusive) or START+LENGTH; other RAM is left out",
      (text: string, before: string[] = []) => [...before, text],
    )
    .option("--force", "replace the file if it is there")
    .option("--verify", "read the file back and compare it with the target")
    .addHelpText("after", example(`convert guest.elf --verify -f ${FIXTURE}`))
    .action((path: string | undefined, options: ConvertCommandOptions) => {
      const parsed = convertOptions(path, options);
      return session((opened) => convert(opened, parsed.path, parsed.options), "convert");
    });

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
      const wanted = diffWanted(args, options, program.opts<GlobalOptions>());
      status = await diff(wanted, environment, rowsOf(program, "diff", options));
    });

  program
    .command("run")
    .description(
      "runs a script, TypeScript or JavaScript, with machine, linux, memory, target and args in reach",
    )
    .argument("<script>", "a file (an ES module), or - for standard input")
    .argument("[args...]", "what the script gets as args; options of its own behind --")
    .addHelpText("after", example(`run tasks.ts -f ${FIXTURE}`))
    .action(async (path: string, args: string[]) => {
      status = await loadScripts().runScript(path, args, program.opts<GlobalOptions>(), environment);
    });

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
      status = await loadRepl().runRepl(options, program.opts<GlobalOptions>(), environment, version);
    });

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

  addKernelCommands(
    program,
    (line) => example(`${line} -f ${FIXTURE}`),
    (action, rows) => session(action, "kernel", rows),
  );

  try {
    if (args.length === 0) throw new UsageError(`no command: one of ${COMMANDS} (--help)`);
    if (args[0] === "help" && args[1] !== undefined && !isCommand(args[1])) {
      throw new UsageError(`unknown command '${args[1]}': one of ${COMMANDS}`);
    }
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      status = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    } else if (error instanceof YaraError) {
      const lines = error.problems.map(({ message }) => `  ${escapeText(message)}\n`);
      const { style, stderr } = environment;
      stderr.write(`${style.error("memtool:")} the rules do not compile:\n${lines.join("")}`);
      status = EXIT.usage;
    } else {
      await environment.out.flush();
      const { style, stderr } = environment;
      stderr.write(`${style.error("memtool:")} ${escapeText(describeError(error))}\n`);
      status = isUsage(error) ? EXIT.usage : EXIT.failed;
    }
  }
  await environment.out.flush();
  return status;

  function isCommand(word: string): boolean {
    return (
      word.startsWith("-") || word === "help" || program.commands.some((command) => command.name() === word)
    );
  }

  async function session(
    action: (session: Session) => Promise<number>,
    purpose: Purpose = "memory",
    rows?: RowChoice,
  ) {
    const options = { ...program.opts<GlobalOptions>(), rows };
    const opened = await Session.open(options, environment, purpose);
    try {
      status = await action(opened);
    } finally {
      await opened.close();
    }
  }

  /** Addresses are checked before the target is opened. */
  function checkAddresses(addresses: readonly string[], stdin: boolean | undefined): AddressExpression[] {
    return stdin === true ? [] : addresses.map(parseAddress);
  }
}

/** Commander's message in one line, as ours are: its suggestion stands in a second one. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, "")
    .trimEnd()
    .replace(/\n\(Did you mean (.*)\?\)$/, "; did you mean $1?");
}

/** The options that say where to look, and how far. */
function addPlaceOptions(command: Command): Command {
  return command
    .option("--all-processes", "look in every process's memory, one after the other")
    .option("--from <address>", "virtual addresses from here on, or physical ones with --physical")
    .option("-l, --length <bytes>", "so many bytes from --from on")
    .option("--limit <count>", "stops after so many hits");
}

function example(command: string): string {
  return `\nExample:\n  $ memtool ${command}`;
}

/** The value of an option that may be given once. */
function once(value: string, previous: string | undefined): string {
  if (previous !== undefined) throw new InvalidArgumentError(`It comes after "${previous}": give one.`);
  return value;
}

/** A parser of an option's value whose usage errors commander reports. The value itself stays text. */
function checked(parse: (text: string) => unknown): (text: string) => string {
  return (text) => {
    try {
      parse(text);
    } catch (error) {
      throw new InvalidArgumentError(describeError(error));
    }
    return text;
  };
}
