/** Reads a dump that was written back, and compares it with what it was written of. */

import { type DumpPlan, FORMATS, type RawNote } from "../../src/formats/index.js";
import { type AbortSignalLike, type FaultState, type Hole, hex, MemtoolError } from "../../src/io/index.js";
import type { PhysicalMemory, PhysicalRange, RangeState } from "../../src/memory/index.js";
import type { Machine } from "../machine.js";
import { open } from "../open.js";
import { copyMemory, WINDOW } from "./copy-memory.js";
import type { ConvertFormat } from "./write-dump.js";

/** Options of {@link verifyDump}. */
export interface VerifyOptions {
  /** Bytes of kdump's pages. */
  readonly pageSize: number;
  /** Pages of zeros were left out. */
  readonly excludeZero: boolean;
  /** Notes that an ELF core or a kdump must hold, just so. Default: they are not compared. */
  readonly notes?: readonly RawNote[] | undefined;
  readonly signal?: AbortSignalLike | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What was compared and found equal. */
export interface Verified {
  /** Bytes of memory. */
  readonly bytes: number;
  /** Ranges of the source's map, those between them that are no RAM included. */
  readonly ranges: number;
}

const READERS: Readonly<Record<ConvertFormat, string>> = {
  raw: "raw",
  elf: "elf-core",
  kdump: "kdump",
  lime: "lime",
};

/**
 * Compares every byte that the source has with the dump's, the state of every range with what the format can say of
 * it, and the notes. What the source can't read must not be there in the dump.
 *
 * @param path Of the dump. @param source Must not change meanwhile.
 * @throws {MemtoolError} `VERIFY_FAILED`, with the first address that differs; `BAD_OPTION` for a format that can't be
 * read back.
 */
export async function verifyDump(
  source: PhysicalMemory,
  plan: DumpPlan,
  path: string,
  format: ConvertFormat,
  options: VerifyOptions,
): Promise<Verified> {
  const reader = READERS[format];
  if (!FORMATS.some(({ name }) => name === reader)) {
    throw new MemtoolError("BAD_OPTION", `memtool does not read ${format} yet, so it can't be verified`);
  }
  const dump = await open(path, { format: reader, kernel: "none", cacheBytes: 0 });
  try {
    const physical = dump.physical as PhysicalMemory;
    compareNotes(dump, format, options.notes);
    const ranges = compareStates(plan, physical, format, options);
    const bytes = await compareBytes(source, plan, physical, format, options);
    return { bytes, ranges };
  } finally {
    await dump.close();
  }
}

async function compareBytes(
  source: PhysicalMemory,
  plan: DumpPlan,
  dump: PhysicalMemory,
  format: ConvertFormat,
  options: VerifyOptions,
): Promise<number> {
  const { signal, onProgress } = options;
  let compared = 0;
  let done = 0;
  const parts: Part[] = [];
  const memory = new Uint8Array(WINDOW);
  const receiver = {
    present: (start: number, bytes: Uint8Array) => {
      parts.push({ start, end: start + bytes.length, bytes });
    },
    excluded: () => {},
    failed: (start: number, end: number, state: FaultState) => {
      parts.push({ start, end, state });
    },
    windowEnd: async (bytes: number) => {
      const start = parts[0]?.start ?? 0;
      const back = memory.subarray(0, (parts[parts.length - 1]?.end ?? start) - start);
      if (back.length > 0) {
        const { holes } = await dump.readPartial(start, back, signal === undefined ? undefined : { signal });
        if (signal?.aborted === true) throw new MemtoolError("ABORTED", "interrupted");
        compared += new WindowComparison(dump.name, format, options, parts, start, back, holes).run();
      }
      parts.length = 0;
      done += bytes;
      onProgress?.(done, plan.bytesPresent);
    },
  };
  await copyMemory(source, plan, receiver, signal);
  return compared;
}

/** Memory that the source says is there: what it read as, or why it could not be read. */
interface Part {
  readonly start: number;
  readonly end: number;
  readonly bytes?: Uint8Array;
  readonly state?: FaultState;
}

/** One window of the source beside the same of the dump. */
class WindowComparison {
  constructor(
    readonly name: string,
    readonly format: ConvertFormat,
    readonly options: VerifyOptions,
    readonly parts: readonly Part[],
    /** Address of the first byte. */
    readonly base: number,
    /** What the dump has, and what of it could not be read. */
    readonly back: Uint8Array,
    readonly holes: readonly Hole[],
  ) {}

  /** @returns bytes compared. @throws {MemtoolError} `VERIFY_FAILED` */
  run(): number {
    let compared = 0;
    let next = 0;
    let behind = this.base;
    for (const part of this.parts) {
      // What is missing between two parts is zeros in a raw image, and nothing else.
      if (this.format === "raw") this.#expectZeros(behind, part.start, "missing");
      behind = part.end;
      for (let at = part.start; at < part.end; ) {
        while (next < this.holes.length && this.base + (this.holes[next] as Hole).end <= at) next++;
        const hole = this.holes[next];
        const from = hole === undefined ? part.end : Math.min(part.end, this.base + hole.start);
        if (from > at) {
          this.#compare(part, at, from);
          at = from;
        } else {
          const to = Math.min(part.end, this.base + (hole as Hole).end);
          this.#expectHole(part, at, to, (hole as Hole).state);
          at = to;
        }
      }
      compared += part.bytes?.length ?? 0;
    }
    return compared;
  }

  /** The dump has bytes. */
  #compare({ start, bytes, state }: Part, from: number, to: number): void {
    if (bytes === undefined) {
      if (this.format !== "raw")
        throw differs(this.name, from, `not readable (${state}) in the source, there in the dump`);
      this.#expectZeros(from, to, `not readable (${state})`);
      return;
    }
    const wanted = bytes.subarray(from - start, to - start);
    const back = this.back.subarray(from - this.base, to - this.base);
    const i = firstDifference(wanted, back);
    if (i < 0) return;
    throw differs(
      this.name,
      from + i,
      `0x${byteText(wanted[i])} in the source, 0x${byteText(back[i])} in the dump`,
    );
  }

  #expectZeros(from: number, to: number, what: string): void {
    const i = this.back.subarray(from - this.base, to - this.base).findIndex((byte) => byte !== 0);
    if (i < 0) return;
    const byte = byteText(this.back[from - this.base + i]);
    throw differs(this.name, from + i, `${what} in the source, 0x${byte} in the dump`);
  }

  /** The dump has none. */
  #expectHole({ start, bytes }: Part, from: number, to: number, state: FaultState): void {
    if (bytes === undefined) {
      if (state === "excluded" || state === "outside") return;
    } else if (state === "excluded") {
      const wanted = bytes.subarray(from - start, to - start);
      if (this.options.excludeZero && wanted.every((byte) => byte === 0)) return;
      if (this.#besideUnreadable(from, to)) return;
    }
    const there = bytes === undefined ? "not readable" : "there";
    throw differs(this.name, from, `${there} in the source, ${state} in the dump`);
  }

  /** Whether a page that these bytes are in could not be read as a whole: kdump has none of it then. */
  #besideUnreadable(from: number, to: number): boolean {
    if (this.format !== "kdump") return false;
    const { pageSize } = this.options;
    const first = Math.floor(from / pageSize) * pageSize;
    const end = Math.ceil(to / pageSize) * pageSize;
    return this.parts.some((part) => part.bytes === undefined && part.end > first && part.start < end);
  }
}

function byteText(byte: number | undefined): string {
  return (byte ?? 0).toString(16).padStart(2, "0");
}

function differs(name: string, address: number, how: string): MemtoolError {
  return new MemtoolError(
    "VERIFY_FAILED",
    `${name}: what was written differs from the source, first at physical address ${hex(address)}: ${how}`,
  );
}

/** Index of the first byte that differs in memory of one length, or -1. */
function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return -1;
  let i = 0;
  while (a[i] === b[i]) i++;
  return i;
}

function compareNotes(
  { name, image }: Machine,
  format: ConvertFormat,
  notes: readonly RawNote[] | undefined,
) {
  if (notes === undefined || format === "raw" || format === "lime") return;
  const back = image?.notes.raw ?? [];
  const same = notes.every((note, i) => {
    const other = back[i];
    return (
      other?.name === note.name &&
      other.type === note.type &&
      Buffer.compare(other.description, note.description) === 0
    );
  });
  if (same && back.length === notes.length) return;
  throw new MemtoolError("VERIFY_FAILED", `${name}: the notes that were written differ from the source's`);
}

/** Walks both maps side by side. @returns the number of the plan's ranges. */
function compareStates(
  plan: DumpPlan,
  dump: PhysicalMemory,
  format: ConvertFormat,
  options: VerifyOptions,
): number {
  const actual = withGaps(dump.map.ranges());
  let range = actual.next();
  let count = 0;
  for (const wanted of withGaps(plan.ranges())) {
    count++;
    for (let at = wanted.start; at < wanted.end; ) {
      while (range.done !== true && range.value.end <= at) range = actual.next();
      if (range.done === true) return count;
      const end = Math.min(wanted.end, range.value.end);
      const { state } = range.value;
      if (!isRight(wanted, state, at, end, format, plan, options)) {
        throw differs(dump.name, at, `${wanted.state} in the source, ${state} in the dump`);
      }
      at = end;
    }
  }
  return count;
}

/** The ranges with the gaps between them, and the one behind the last. */
function* withGaps(ranges: Iterable<PhysicalRange>): Generator<PhysicalRange, void, void> {
  let at = 0;
  for (const range of ranges) {
    if (range.start > at) yield { start: at, end: range.start, state: "outside" };
    yield range;
    at = range.end;
  }
  yield { start: at, end: Number.MAX_SAFE_INTEGER, state: "outside" };
}

/** Whether a dump of the format may say this of what the source says that. */
function isRight(
  wanted: PhysicalRange,
  state: RangeState,
  start: number,
  end: number,
  format: ConvertFormat,
  plan: DumpPlan,
  { pageSize }: VerifyOptions,
): boolean {
  // A raw image can say nothing but "here". The comparison of bytes looks at what is present: what could not be read,
  // and zeros that were left out, are not.
  if (format === "raw" || wanted.state === "present") return true;
  const unsure = wanted.reason === "or outside";
  if (format === "kdump") {
    // A page of which a part is there is there; one of which a part is RAM is RAM.
    if (Math.ceil(start / pageSize) >= Math.floor(end / pageSize)) return true;
    if (wanted.state === "outside") return state === "outside" || (state === "excluded" && isUnsure(plan));
    return unsure ? state !== "present" : state === "excluded";
  }
  if (format === "elf") return state === (wanted.state === "outside" || unsure ? "outside" : "excluded");
  return state === "outside";
}

/** Whether the dump says of all that it lacks that it may be no RAM. */
function isUnsure(plan: DumpPlan): boolean {
  return plan.excluded.size === 1 && plan.excluded.has("or outside");
}
