/** Loaded modules, put together again as files. What they are made of is in the files beside. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions } from "../objects/damage.js";
import { type ModuleFilePiece, type ModuleSection, moduleFile, sectionsOf } from "./module-elf.js";
import { type ModuleHole, readModuleMemory } from "./module-memory.js";
import { partsOf, readModules } from "./module-parts.js";
import { readSections } from "./module-sections.js";
import { readModuleTable } from "./module-table.js";

/** Options of {@link extractModules}. */
export interface ExtractModuleOptions extends DamageOptions {
  /** Only those of these names; all by default. (As the kernel, `-` is taken for `_`.) */
  readonly names?: readonly string[] | undefined;
}

/** A loaded module as an ELF file: `ET_EXEC`, since nothing of it is to be relocated any more. */
export interface ExtractedModule {
  readonly name: string | undefined;
  /** Address of its `struct module`. */
  readonly module: bigint;
  /** Ascending by address; those whose memory was freed keep the address that they had. */
  readonly sections: readonly ModuleSection[];
  /** How many symbols are in the file. */
  readonly symbols: number;
  /** Bytes of its memory, and how many of them are there. */
  readonly memory: number;
  readonly present: number;
  /** What is not there. */
  readonly holes: readonly ModuleHole[];
  /** Bytes of the file. */
  readonly size: number;
  /** Its bytes, ascending; what lies between them is padding. */
  readonly pieces: readonly ModuleFilePiece[];
}

/**
 * Modules as ELF files, the last one loaded first, one at a time: their memory as it is now, patched and relocated, with the sections that
 * /sys/module/NAME/sections shows and the symbols that /proc/kallsyms does. What was freed or is missing has a header and no bytes.
 */
export function extractModules(
  kernel: LinuxKernel,
  options: ExtractModuleOptions = {},
): IoSequence<ExtractedModule> {
  return IoSequence.of(kernel.memory.scheduler, extractRoutine, kernel, options);
}

function* extractRoutine(
  sink: Sink<ExtractedModule>,
  kernel: LinuxKernel,
  options: ExtractModuleOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const wanted = options.names && new Set(options.names.map((name) => name.replaceAll("-", "_")));
  for (const row of yield* readModules(data, log.report)) {
    const { name } = row.partial;
    if (wanted !== undefined && (name === undefined || !wanted.has(name))) continue;
    const parts = partsOf(data, row);
    const { entries, tables } = yield* readModuleTable(data, row, log.report);
    const { runs, holes } = yield* readModuleMemory(data, name ?? "?", parts, log.report);
    const places = yield* readSections(data, row, log.report);
    const sections = sectionsOf(places, parts, tables, holes);
    const { pointerSize, littleEndian } = data.memory;
    const { architecture } = kernel;
    const file = moduleFile({ sections, runs, symbols: entries, pointerSize, littleEndian, architecture });
    yield sink.emit({
      name,
      module: row.address,
      sections,
      symbols: entries.length,
      memory: parts.reduce((sum, { size }) => sum + size, 0),
      present: runs.reduce((sum, { bytes }) => sum + bytes.length, 0),
      holes,
      ...file,
    });
  }
  log.end();
}
