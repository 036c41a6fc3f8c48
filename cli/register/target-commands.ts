/** Commands about a target as a whole. */
import { type ConvertCommandOptions, convert, convertOptions } from "../commands/convert.js";
import { type CoverageCommandOptions, coverage, parseBlock } from "../commands/coverage.js";
import { type InfoCommandOptions, info } from "../commands/info.js";
import { example, FIXTURE, type Registry, several } from "./registry.js";

/** `memtool info`. */
export function addInfo({ program, session }: Registry): void {
  program
    .command("info")
    .description("what the target is: format, ranges, CPUs, kernel, and how it was found")
    .option("--svg <file>", "write a picture of it and of its memory as well")
    .addHelpText("after", example(`info -f ${FIXTURE}`))
    .action((options: InfoCommandOptions) => session((opened) => info(opened, options), "info"));
}

/** `memtool coverage`. */
export function addCoverage({ program, session }: Registry): void {
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
}

/** `memtool convert`. */
export function addConvert({ program, session }: Registry): void {
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
      several,
    )
    .option("--force", "replace the file if it is there")
    .option("--verify", "read the file back and compare it with the target")
    .addHelpText("after", example(`convert guest.elf --verify -f ${FIXTURE}`))
    .action((path: string | undefined, options: ConvertCommandOptions) => {
      const parsed = convertOptions(path, options);
      return session((opened) => convert(opened, parsed.path, parsed.options), "convert");
    });
}
