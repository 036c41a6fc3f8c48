/** Writes the memory of a machine as a dump of another format. */
import {
  DumpFacts,
  DumpPlan,
  type Encoders,
  type KdumpCompression,
  type KeptRange,
} from "../../src/formats/index.js";
import { type AbortSignalLike, type ExcludedReason, hex, MemtoolError } from "../../src/io/index.js";
import { KernelNotFoundError } from "../../src/linux/index.js";
import { encodeLatin1, type PhysicalMemory } from "../../src/memory/index.js";
import type { Machine } from "../machine.js";
import { nodeEncoders } from "../node-encoders.js";
import { EncodePool } from "./encode-pool.js";
import { OutputFile } from "./output-file.js";
import { type Verified, verifyDump } from "./verify-dump.js";
import {
  CONVERT_FORMATS,
  type ConvertFormat,
  type CopiedDump,
  type FailedRange,
  writeDump,
} from "./write-dump.js";

/** Options of {@link convert}. */
export interface ConvertOptions {
  /** Default: as the path ends (`.raw`, `.elf`, `.kdump`, `.lime`). */
  readonly to?: ConvertFormat | undefined;
  /** Of kdump's pages; default `zlib`. */
  readonly compress?: KdumpCompression | undefined;
  /** Only kdump: leaves pages of zeros out. They are then excluded, with that reason. */
  readonly exclude?: "zero" | undefined;
  /** Physical ranges to keep (`end` exclusive), in any order; other RAM is excluded. Default: everything. */
  readonly keep?: readonly KeptRange[] | undefined;
  /** Replaces a file of that name. */
  readonly force?: boolean | undefined;
  /** Reads the file back before it gets its name, and compares it with the source. */
  readonly verify?: boolean | undefined;
  /** Where a dump has no VMCOREINFO note: look for it in its memory, or not. Default: `scan`, for ELF and kdump. */
  readonly vmcoreinfo?: "scan" | "note" | undefined;
  /** Once it fires, the conversion stops, and nothing of the file is left. */
  readonly signal?: AbortSignalLike | undefined;
  /** Bytes of memory that are done, and in all; first of writing, then of reading back. */
  readonly onProgress?: ((what: "writing" | "verifying", done: number, total: number) => void) | undefined;
}

/** What {@link convert} did. Sizes are bytes. */
export interface ConvertSummary {
  readonly path: string;
  readonly format: ConvertFormat;
  /** How kdump's pages were compressed. */
  readonly compress?: KdumpCompression;
  /** Length of the file, and what of the disk it takes. */
  readonly size: number;
  readonly allocated: number;
  /** Memory that was written; pages of zeros among it that kdump left out are not. */
  readonly present: number;
  /** Pages of zeros that were left out. */
  readonly zeroExcluded: number;
  /** RAM that the source does not have or that was not kept. */
  readonly excluded: number;
  /** The same by reason. */
  readonly excludedBy: Readonly<Partial<Record<ExcludedReason, number>>>;
  /** Memory that should have been there and could not be read; the file has it as excluded. */
  readonly failed: number;
  /** The first thousand ranges of that. */
  readonly failedRanges: readonly FailedRange[];
  readonly failedRangeCount: number;
  /** What the format can't say, and what is odd, each a sentence. */
  readonly warnings: readonly string[];
  /** What was compared, if `verify` was asked for. */
  readonly verified?: Verified;
}

/**
 * Writes a machine's physical memory to a file: streaming, in bounded memory. The file has a temporary name beside its
 * own until it is complete; when anything fails, nothing is left of it.
 *
 * What is missing stays missing as far as the format can say it, and never becomes zeros without a warning. Memory that
 * can't be read although the source says that it is there is excluded, and reported. The dump's notes (registers,
 * VMCOREINFO) are carried over to ELF and kdump.
 *
 * @example
 * const machine = await open("vmcore", { kernel: "none" });
 * const summary = await convert(machine, "vmcore.kdump", { compress: "zstd", verify: true });
 *
 * @throws {MemtoolError} `NO_PHYSICAL_MEMORY` for a process; `UNKNOWN_FORMAT`, `BAD_OPTION`; `NOTHING_PRESENT`,
 * `NOTHING_READ`; `VERIFY_FAILED`; `ABORTED`. {OutputError} for what can't be written.
 */
export async function convert(
  machine: Machine,
  path: string,
  options: ConvertOptions = {},
): Promise<ConvertSummary> {
  const physical = memoryOf(machine);
  const format = options.to ?? formatOfPath(path);
  const compress = checkOptions(format, options);
  if (options.verify === true && physical.live) {
    throw new MemtoolError(
      "BAD_OPTION",
      `${machine.name} changes while it is read, so there is nothing to compare with: verify can't be asked for`,
    );
  }
  const warnings: string[] = [];
  const file = OutputFile.create(path, { force: options.force, sources: machine.paths });
  const pool = new EncodePool(nodeEncoders);
  try {
    const facts = await factsOf(machine, format, options, warnings);
    const pageSize = pageSizeOf(facts);
    const plan = new DumpPlan(physical.map, {
      keep: options.keep,
      pageSize: format === "kdump" ? pageSize : 1,
    });
    if (plan.bytesPresent === 0) {
      throw new MemtoolError(
        "NOTHING_PRESENT",
        `${machine.name} has no memory ${options.keep === undefined ? "at all" : "in the ranges to keep"}: nothing to write`,
      );
    }
    const copied = await writeDump(physical, file, {
      plan,
      facts,
      format,
      pageSize,
      compression: compress,
      pool,
      excludeZero: options.exclude === "zero",
      dumpLevel: dumpLevelOf(machine, options),
      signal: options.signal,
      onProgress: (done) => options.onProgress?.("writing", done, plan.bytesPresent),
    });
    const { written } = copied;
    if (copied.present === 0) {
      const state = copied.failedRanges[0]?.state ?? "io";
      throw new MemtoolError("NOTHING_READ", `${machine.name}: none of its memory could be read (${state})`);
    }
    await file.complete(written.size);
    warnings.push(...lossesOf(format, plan, copied, options));
    let verified: Verified | undefined;
    if (options.verify === true) {
      verified = await verifyDump(physical, plan, file.temporary, format, {
        pageSize,
        excludeZero: options.exclude === "zero",
        notes: facts.notes,
        signal: options.signal,
        onProgress: (done, total) => options.onProgress?.("verifying", done, total),
      });
    }
    const { allocated } = file;
    await file.commit();
    return {
      path,
      format,
      ...(format === "kdump" ? { compress } : {}),
      size: written.size,
      allocated,
      present: copied.present - written.zeroExcluded - written.dropped,
      zeroExcluded: written.zeroExcluded,
      excluded: plan.bytesExcluded,
      excludedBy: Object.fromEntries(plan.excluded),
      failed: copied.failed,
      failedRanges: copied.failedRanges,
      failedRangeCount: copied.failedRangeCount,
      warnings,
      ...(verified === undefined ? {} : { verified }),
    };
  } finally {
    await file.discard();
    await pool.close();
  }
}

function memoryOf(machine: Machine): PhysicalMemory {
  const { physical } = machine;
  if (physical !== undefined) return physical;
  throw new MemtoolError(
    "NO_PHYSICAL_MEMORY",
    `${machine.name} is one process's memory: it has no physical addresses to write a dump of`,
  );
}

/** The format that a path names. @throws {MemtoolError} `UNKNOWN_FORMAT` */
export function formatOfPath(path: string): ConvertFormat {
  const extension = /\.([a-z]+)$/i.exec(path)?.[1]?.toLowerCase();
  const found = CONVERT_FORMATS.find((format) => format === extension);
  if (found !== undefined) return found;
  throw new MemtoolError(
    "UNKNOWN_FORMAT",
    `${path}: its name does not end in .${CONVERT_FORMATS.join(", .")}: say which format to write, --to ${CONVERT_FORMATS.join("|")}`,
  );
}

/** Whether the options go with the format. @returns how pages are compressed. @throws {MemtoolError} `BAD_OPTION` */
export function checkOptions(
  format: ConvertFormat,
  options: ConvertOptions,
  encoders: Encoders = nodeEncoders,
): KdumpCompression {
  const bad = (problem: string) => new MemtoolError("BAD_OPTION", problem);
  if (!CONVERT_FORMATS.includes(format)) {
    throw new MemtoolError(
      "UNKNOWN_FORMAT",
      `no format "${String(format)}": one of ${CONVERT_FORMATS.join(", ")}`,
    );
  }
  const { compress, exclude, keep } = options;
  if (format !== "kdump") {
    if (compress !== undefined && compress !== "none")
      throw bad(`only kdump is compressed, not ${format}: --to kdump`);
    if (exclude !== undefined)
      throw bad(`only kdump can leave out pages of zeros, not ${format}: --to kdump`);
  }
  if (exclude !== undefined && exclude !== "zero") {
    throw bad(
      `"${String(exclude)}" can't be excluded: only zero (makedumpfile filters by what pages are used for)`,
    );
  }
  for (const { start, end } of keep ?? []) {
    if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start < end)) {
      throw bad(`a range to keep: ${hexOf(start)} to ${hexOf(end)} is none`);
    }
  }
  const wanted = compress ?? "zlib";
  if (!["none", "zlib", "zstd"].includes(wanted))
    throw bad(`no compression "${String(wanted)}": one of none, zlib, zstd`);
  const missing =
    (wanted === "zlib" && encoders.deflate === undefined) ||
    (wanted === "zstd" && encoders.zstd === undefined);
  if (format === "kdump" && missing) throw bad(`${wanted} is not there on this platform; take zlib or none`);
  return wanted;
}

function hexOf(value: number): string {
  return Number.isSafeInteger(value) && value >= 0 ? hex(value) : String(value);
}

/** What the machine's dump says besides its memory; VMCOREINFO is looked for where it does not say it. */
async function factsOf(
  machine: Machine,
  format: ConvertFormat,
  options: ConvertOptions,
  warnings: string[],
): Promise<DumpFacts> {
  const notes = machine.notes ?? { cpus: [] };
  if (format === "raw" || format === "lime") return new DumpFacts(notes);
  if (notes.vmcoreinfo !== undefined) return new DumpFacts(notes);
  let why = "it has no VMCOREINFO note";
  if (options.vmcoreinfo !== "note") {
    try {
      const kernel = await unlessAborted(machine.linux({ searchRoots: false }), options.signal);
      if (kernel.origin.verified && kernel.origin.vmcoreinfo !== "none") {
        // The only kernels that are found by a scan are those of x86-64.
        return new DumpFacts({ architecture: "x86_64", ...notes }, encodeLatin1(kernel.vmcoreinfo.text));
      }
      if (kernel.origin.vmcoreinfo !== "none")
        why = "it has no VMCOREINFO note, and what was found in its memory is doubtful";
    } catch (error) {
      if (!(error instanceof KernelNotFoundError)) throw error;
      why = error.message;
    }
  }
  warnings.push(`${why}: makedumpfile and crash may not open the new dump`);
  return new DumpFacts(notes);
}

/** Waits no longer once the signal fires: looking through gigabytes takes its time. @throws {MemtoolError} `ABORTED` */
async function unlessAborted<T>(promise: PromiseLike<T>, signal: AbortSignalLike | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new MemtoolError("ABORTED", "interrupted"));
    signal.addEventListener("abort", stop);
  });
  if (signal.aborted) stop();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** What the filters of a kdump left out; 0 if more than that is to be missing. */
function dumpLevelOf({ image }: Machine, { keep }: ConvertOptions): number {
  const level = keep === undefined ? image?.details.dumpLevel : 0;
  return typeof level === "number" ? level : 0;
}

/** Of the guest; 4 KiB where nothing says so. */
function pageSizeOf(facts: DumpFacts): number {
  const size = Number(facts.value("PAGESIZE") ?? 0);
  return [4096, 8192, 16_384, 65_536].includes(size) ? size : 4096;
}

/** Addresses of one block of a page bitmap, of pages of 4 KiB. */
const BITMAP_BLOCK = 4096 * 8 * 4096;

/**
 * Whether the last memory is a PC's firmware, with none of the RAM near it. makedumpfile leaves such a ROM out of its own
 * dumps: it lowers `max_mapnr` to the end of Linux's mem_map, and before it filters a dump again, that dump's too. What it
 * then computes as the size of a bitmap is too small (get_mem_map, prepare_bitmap2_buffer, copy_bitmap_file in makedumpfile.c).
 */
function endsInRom(plan: DumpPlan): boolean {
  if (plan.presentEnd !== 2 ** 32 || plan.end !== plan.presentEnd) return false;
  let below = 0;
  for (const { start, end, state, reason } of plan.ranges()) {
    if (end < plan.end && (state === "present" || reason !== "or outside")) below = end;
    else if (end === plan.end && plan.end - start > 2 ** 24) return false;
  }
  return below > 0 && Math.ceil(below / BITMAP_BLOCK) < Math.ceil(plan.end / BITMAP_BLOCK);
}

/** What the new file can't say, each a sentence. */
function lossesOf(
  format: ConvertFormat,
  plan: DumpPlan,
  { written, failed }: CopiedDump,
  options: ConvertOptions,
): string[] {
  const losses: string[] = [];
  const { bytesExcluded: excluded } = plan;
  const unsure = plan.excluded.get("or outside") ?? 0;
  if (format === "raw") {
    const zeros = plan.presentEnd - plan.bytesPresent;
    if (zeros > 0) {
      losses.push(
        `a raw image can't say what is missing: ${zeros} bytes of it that are excluded or no RAM read as zeros`,
      );
    }
    if (plan.end > plan.presentEnd) {
      losses.push(
        `a raw image ends with the last byte that is there: ${plan.end - plan.presentEnd} bytes behind it are missing`,
      );
    }
    if (failed > 0) {
      losses.push(
        `a raw image can't say what could not be read: those ${failed} bytes read as zeros, or are missing at its end`,
      );
    }
    return losses;
  }
  if (format === "lime" && excluded > unsure) {
    losses.push(
      `LiME can't say that memory is excluded: ${excluded - unsure} bytes of RAM that are not in it read as no RAM`,
    );
  }
  const kept = format === "kdump" && plan.excluded.size === 1 && options.exclude === undefined;
  if (unsure > 0 && !kept) {
    losses.push(
      `of ${unsure} bytes the source can't tell whether they were left out or are no RAM: the new file says no RAM`,
    );
  }
  if (format === "kdump" && endsInRom(plan)) {
    losses.push(
      "makedumpfile can't filter the new dump further, since memory ends in a ROM below 4 GiB, far behind the RAM " +
        "(it looks for the second bitmap in the wrong place, as in QEMU's kdump); for that write an ELF core, --to elf",
    );
  }
  if (written.zeroExcluded > 0) {
    losses.push(
      "crash opens a dump that lacks pages of zeros only with its option --zero_excluded, and makedumpfile does not; " +
        "without --exclude zero those pages share the room of one",
    );
  }
  if (written.padded > 0) {
    losses.push(
      `kdump stores whole pages: ${written.padded} bytes that are missing in pages of which a part is there read as zeros`,
    );
  }
  if (written.dropped > 0) {
    losses.push(
      `kdump stores whole pages: ${written.dropped} bytes are left out since the rest of their page could not be read`,
    );
  }
  return losses;
}
