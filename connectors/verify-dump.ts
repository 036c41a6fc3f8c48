/** Reads a dump that was written back, and compares it with what it was written of. */

import { type DumpPlan, FORMATS } from "../src/formats/index.js";
import { type AbortSignalLike, hex, MemtoolError } from "../src/io/index.js";
import type { PhysicalMemory, PhysicalRange, RangeState } from "../src/memory/index.js";
import { copyMemory, WINDOW } from "./copy-memory.js";
import { open } from "./open.js";
import type { ConvertFormat } from "./write-dump.js";

/** Options of {@link verifyDump}. */
export interface VerifyOptions {
  /** Bytes of kdump's pages. */
  readonly pageSize: number;
  /** Pages of zeros were left out. */
  readonly excludeZero: boolean;
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
 * Compares every byte that the source has with the dump's, and the state of every range with what the format can say
 * of it.
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
  { excludeZero, pageSize, signal, onProgress }: VerifyOptions,
): Promise<number> {
  let compared = 0;
  let done = 0;
  const parts: { readonly start: number; readonly bytes: Uint8Array }[] = [];
  const unreadable: { readonly start: number; readonly end: number }[] = [];
  const memory = new Uint8Array(WINDOW);
  const receiver = {
    present: (start: number, bytes: Uint8Array) => {
      parts.push({ start, bytes });
    },
    excluded: () => {},
    failed: (start: number, end: number) => {
      unreadable.push({ start, end });
    },
    windowEnd: async (bytes: number) => {
      const first = parts[0];
      const last = parts[parts.length - 1];
      if (first !== undefined && last !== undefined) {
        const base = first.start;
        const back = memory.subarray(0, last.start + last.bytes.length - base);
        const { holes } = await dump.readPartial(base, back, signal === undefined ? undefined : { signal });
        let next = 0;
        for (const { start, bytes: wanted } of parts) {
          const end = start + wanted.length;
          for (let at = start; at < end; ) {
            while (next < holes.length && base + (holes[next]?.end ?? 0) <= at) next++;
            const hole = holes[next];
            const from = hole === undefined ? end : Math.min(end, base + hole.start);
            if (from > at) {
              const i = firstDifference(
                wanted.subarray(at - start, from - start),
                back.subarray(at - base, from - base),
              );
              if (i >= 0)
                throw differs(
                  dump.name,
                  at + i,
                  `0x${byteText(wanted[at - start + i])} in the source, 0x${byteText(back[at - base + i])} in the dump`,
                );
              at = from;
              continue;
            }
            const to = Math.min(end, base + (hole?.end ?? 0));
            const zero = excludeZero && wanted.subarray(at - start, to - start).every((byte) => byte === 0);
            const besideFailed =
              format === "kdump" &&
              unreadable.some(
                (range) =>
                  range.end > Math.floor(at / pageSize) * pageSize &&
                  range.start < Math.ceil(to / pageSize) * pageSize,
              );
            if (!(hole?.state === "excluded" && (zero || besideFailed))) {
              throw differs(dump.name, at, `there in the source, ${hole?.state} in the dump`);
            }
            at = to;
          }
          compared += wanted.length;
        }
      }
      parts.length = 0;
      unreadable.length = 0;
      done += bytes;
      onProgress?.(done, plan.bytesPresent);
    },
  };
  await copyMemory(source, plan, receiver, signal);
  return compared;
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
