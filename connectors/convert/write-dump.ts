/** The heart of a conversion: memory through a writer into a sink. */
import {
  type DumpFacts,
  type DumpPlan,
  type DumpSink,
  type DumpWriter,
  ElfWriter,
  type EncodePages,
  type KdumpCompression,
  KdumpWriter,
  LimeWriter,
  RawWriter,
  type WrittenDump,
} from "../../src/formats/index.js";
import type { AbortSignalLike, FaultState } from "../../src/io/index.js";
import type { PhysicalMemory, PhysicalRange } from "../../src/memory/index.js";
import { copyMemory, type MemoryReceiver } from "./copy-memory.js";
import type { EncodePool } from "./encode-pool.js";

/** Formats that are written. */
export const CONVERT_FORMATS = ["raw", "elf", "kdump", "lime"] as const;
/** One of {@link CONVERT_FORMATS}. */
export type ConvertFormat = (typeof CONVERT_FORMATS)[number];

/** A range of physical addresses (`end` exclusive) that could not be read. */
export interface FailedRange {
  readonly start: number;
  readonly end: number;
  readonly state: FaultState;
}

/** Ranges that are listed. */
const LISTED = 1000;

/** Options of {@link writeDump}. */
export interface WriteDumpOptions {
  readonly plan: DumpPlan;
  readonly facts: DumpFacts;
  readonly format: ConvertFormat;
  /** Bytes of kdump's pages, a power of two. */
  readonly pageSize: number;
  /** Of kdump's pages. */
  readonly compression: KdumpCompression;
  /** Compresses them. */
  readonly pool: EncodePool;
  /** Only kdump: leaves out pages of zeros. */
  readonly excludeZero: boolean;
  /** Only kdump: the `dump_level` of what the memory comes from. */
  readonly dumpLevel?: number | undefined;
  readonly signal?: AbortSignalLike | undefined;
  /** Bytes that are read at once; a multiple of the page size. Default: 4 MiB. */
  readonly window?: number | undefined;
  /** Bytes that are done. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** What {@link writeDump} did. Sizes are bytes. */
export interface CopiedDump {
  readonly written: WrittenDump;
  /** Memory that was read. */
  readonly present: number;
  /** Memory that should have been there and could not be read. */
  readonly failed: number;
  /** The first thousand ranges of that. */
  readonly failedRanges: readonly FailedRange[];
  readonly failedRangeCount: number;
}

/** A sink that tells when the memory that it was given is free again. */
export interface SettlingSink extends DumpSink {
  settle?(): Promise<void>;
}

/** Writes what the plan says of a memory to a sink, in bounded memory. @throws what the sink throws. */
export async function writeDump(
  physical: PhysicalMemory,
  sink: SettlingSink,
  options: WriteDumpOptions,
): Promise<CopiedDump> {
  const { format, compression, pool, plan, facts } = options;
  const encode: EncodePages | undefined =
    compression === "none"
      ? undefined
      : (pages, use) => pool.encode(compression === "zlib" ? "deflate" : "zstd", pages, use);
  const writer = writerOf(format, sink, { ...options, plan, facts, encode });
  const copy = new Copy(writer, sink, options.onProgress);
  await copyMemory(physical, plan, copy, options.signal, options.window);
  const written = writer.finish();
  await sink.settle?.();
  return {
    written,
    present: copy.bytesPresent,
    failed: copy.bytesFailed,
    failedRanges: copy.ranges,
    failedRangeCount: copy.rangeCount,
  };
}

function writerOf(
  format: ConvertFormat,
  sink: DumpSink,
  options: ConstructorParameters<typeof KdumpWriter>[1],
): DumpWriter {
  switch (format) {
    case "raw":
      return new RawWriter(sink);
    case "elf":
      return new ElfWriter(sink, options.facts, options.plan.length);
    case "kdump":
      return new KdumpWriter(sink, options);
    case "lime":
      return new LimeWriter(sink);
  }
}

/** Hands memory to the writer, and counts what could not be read. */
class Copy implements MemoryReceiver {
  bytesPresent = 0;
  bytesFailed = 0;
  rangeCount = 0;
  readonly ranges: FailedRange[] = [];
  readonly #writer: DumpWriter;
  readonly #sink: SettlingSink;
  readonly #onProgress: WriteDumpOptions["onProgress"];
  #done = 0;
  /** The last range that failed: one that goes on from it is a part of it. */
  #last: { readonly start: number; end: number; readonly state: FaultState } | undefined;

  constructor(writer: DumpWriter, sink: SettlingSink, onProgress: WriteDumpOptions["onProgress"]) {
    this.#writer = writer;
    this.#sink = sink;
    this.#onProgress = onProgress;
  }

  present(start: number, bytes: Uint8Array): void {
    this.bytesPresent += bytes.length;
    this.#writer.present(start, bytes);
  }

  excluded({ start, end, reason = "unknown" }: PhysicalRange): void {
    this.#writer.excluded(start, end, reason);
  }

  failed(start: number, end: number, state: FaultState): void {
    this.bytesFailed += end - start;
    this.#writer.excluded(start, end, "unknown", true);
    const last = this.#last;
    if (last !== undefined && last.end === start && last.state === state) {
      last.end = end;
      return;
    }
    this.#last = { start, end, state };
    this.rangeCount++;
    if (this.ranges.length < LISTED) this.ranges.push(this.#last);
  }

  async settled(): Promise<void> {
    await this.#sink.settle?.();
  }

  windowEnd(bytes: number): void {
    this.#writer.flush();
    this.#done += bytes;
    this.#onProgress?.(this.#done);
  }
}
