/** The command line as a whole: its help, and the options that all commands have. */
import { Command, InvalidArgumentError } from "commander";
import { FORMATS } from "../src/formats/index.js";
import { MMU_FORMATS, NESTED_FORMATS } from "../src/paging/index.js";
import { describeError } from "./errors.js";
import { parseEpt, parseKaslr, parseMmu, parsePid, parseRoot } from "./parse.js";
import { FIXTURE, several } from "./register/registry.js";
import { escapeText } from "./render/escape.js";
import type { Environment } from "./session.js";

const EPILOGUE = `
Addresses are 0x…, decimal or a kernel symbol, each with +offset or -offset: init_task+0x10.
With --pid they may be symbols of the process: malloc, libc.so.6:malloc, vdso:__vdso_time.
The target is -f FILE or -c CONNECTOR, else the environment's MEMTOOL_TARGET (either of both).

Exit status: 0 everything was read (or written, found), 1 nothing was, 2 the command line is wrong, 3 some was.

Example:
  $ memtool read linux_banner --length 160 -f ${FIXTURE}`;

/** The program, without commands. */
export function makeProgram(version: string, environment: Environment): Command {
  const program = new Command("memtool");
  // Options before and after the command alike: commander's default, as long as no positional options are enabled.
  program
    .description("Reads the memory of dumps, processes and machines.")
    .version(version)
    .option(
      "-f, --file <file>",
      "a memory dump; its format is detected (given several times: the files of a dump that was split)",
      several,
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
      several,
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
    .option("--freeze", "pause the target's machine meanwhile, so that all is of one moment (qemu:, gdb:)")
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
  return program;
}

/** Commander's message in one line, as ours are: its suggestion stands in a second one. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, "")
    .trimEnd()
    .replace(/\n\(Did you mean (.*)\?\)$/, "; did you mean $1?");
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
