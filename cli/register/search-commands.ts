/** Commands that look for something in memory. */
import type { Command } from "commander";
import { UsageError } from "../errors.js";
import { addRowOptions, rowsOf } from "../rows/options.js";
import { type SearchCommandOptions, searchWanted } from "../search/patterns.js";
import { checkTarget, fromSymbol, needsKernel, type PlaceOptions } from "../search/place-options.js";
import { searchCommand } from "../search/search.js";
import { type StringsCommandOptions, stringsCommand, stringsWanted } from "../search/strings.js";
import { checkYara, type YaraCommandOptions, yaraCommand } from "../search/yara.js";
import { loadRules } from "../search/yara-rules.js";
import type { GlobalOptions, Purpose } from "../session.js";
import { example, FIXTURE, type Registry, several } from "./registry.js";

/** `memtool search`. */
export function addSearch({ program, globals, session }: Registry): void {
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
      checkTarget(options, globals());
      const rows = rowsOf(program, "search", options);
      if (options.context !== undefined && (rows !== undefined || globals().json === true)) {
        throw new UsageError(
          "--context shows bytes for people: leave out --json and --output, or read the addresses",
        );
      }
      const isVirtual = usesSymbols || needsKernel(options, globals().pid);
      const purpose = isVirtual ? "virtual" : options.owners === false ? "coverage" : "memory";
      return session((opened) => searchCommand(opened, options), purpose, rows);
    });
}

/** `memtool strings`. */
export function addStrings({ program, session, globals }: Registry): void {
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
      checkTarget(options, globals());
      const purpose = purposeOfPlaces(globals(), options, options.owners === true);
      return session(
        (opened) => stringsCommand(opened, options),
        purpose,
        rowsOf(program, "strings", options),
      );
    });
}

/** `memtool yara`. */
export function addYara({ program, session, globals }: Registry): void {
  addPlaceOptions(addRowOptions(program.command("yara")))
    .description(
      "what YARA rules match in physical memory, a process (--pid), every process, or a range (--from), and whose memory that is",
    )
    .argument("<rules...>", "files of rules (the package @litko/yara-x compiles and scans)")
    .option("--no-owners", "doesn't look for whose memory a hit is in, which takes a kernel and a second")
    .addHelpText("after", example(`yara rules.yar --all-processes -f ${FIXTURE}`))
    .action(async (files: string[], options: YaraCommandOptions) => {
      checkYara(options);
      checkTarget(options, globals());
      const rows = rowsOf(program, "yara", options);
      const rules = await loadRules(files);
      const purpose = purposeOfPlaces(globals(), options, options.owners !== false);
      return session((opened) => yaraCommand(opened, rules, options), purpose, rows);
    });
}

/** What `strings` and `yara` are opened for. */
function purposeOfPlaces({ pid }: GlobalOptions, options: PlaceOptions, withOwners: boolean): Purpose {
  if (fromSymbol(options) || needsKernel(options, pid)) return "virtual";
  return withOwners ? "memory" : "coverage";
}

/** The options that say where to look, and how far. */
function addPlaceOptions(command: Command): Command {
  return command
    .option("--all-processes", "look in every process's memory, one after the other")
    .option("--from <address>", "virtual addresses from here on, or physical ones with --physical")
    .option("-l, --length <bytes>", "so many bytes from --from on")
    .option("--limit <count>", "stops after so many hits");
}
