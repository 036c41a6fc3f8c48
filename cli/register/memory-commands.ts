import { checkMapsOptions, type MapsCommandOptions, maps } from "../commands/maps.js";
import { type ReadCommandOptions, read, readOptions } from "../commands/read.js";
import { reverse, reverseTargets } from "../commands/reverse.js";
import { type RootsCommandOptions, roots } from "../commands/roots.js";
import { type SymbolsCommandOptions, symbols } from "../commands/symbols.js";
import { type TranslateCommandOptions, translate } from "../commands/translate.js";
import { bytesToWrite, type WriteCommandOptions, write } from "../commands/write.js";
import { UsageError } from "../errors.js";
import { addRowOptions, rowsOf } from "../rows/options.js";
import { purposeOf } from "../session.js";
import { checkAddresses, example, FIXTURE, type Registry } from "./registry.js";

/** `memtool read`. */
export function addRead({ program, globals, session }: Registry): void {
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
      readOptions(options, globals().json ?? false);
      const purpose = purposeOf(checkAddresses(addresses, options.stdin), options.stdin);
      return session((opened) => read(opened, addresses, options), purpose);
    });
}

/** `memtool write`. */
export function addWrite({ program, globals, session }: Registry): void {
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
      if (globals().write !== true) {
        throw new UsageError("write changes the target: say so with --write");
      }
      const bytes = bytesToWrite(words, options);
      const purpose = purposeOf(checkAddresses([address], false));
      return session((opened) => write(opened, address, bytes), purpose);
    });
}

/** `memtool translate`. */
export function addTranslate({ program, session }: Registry): void {
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
}

/** `memtool maps`. */
export function addMaps({ program, session }: Registry): void {
  addRowOptions(program.command("maps"))
    .description("every mapped run: contiguous in both address spaces, with one page size and rights")
    .argument("[address]", "where to begin (default: the whole address space)")
    .option("-l, --length <bytes>", "how far to go from there")
    .option("--rights", "neighbouring runs with the same rights as one, whatever their frames and page sizes")
    .option("--wx", "what is both writable and executable first, then the rest; also with --rights")
    .option(
      "--pages",
      "of a process (-c proc:1234): how many pages of each mapping are in memory, swapped out, its alone, written to",
    )
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
}

/** `memtool roots`. */
export function addRoots({ program, session }: Registry): void {
  addRowOptions(program.command("roots"))
    .description(
      "page-table roots: those that registers and the kernel tell of, and all that a search of RAM finds",
    )
    .option("--all", "tries every format of the architecture, also where the dump says which it is")
    .addHelpText("after", example(`roots -f ${FIXTURE}`))
    .action((options: RootsCommandOptions) =>
      session((opened) => roots(opened, options), "roots", rowsOf(program, "roots", options)),
    );
}

/** `memtool symbols`. */
export function addSymbols({ program, session }: Registry): void {
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
}
