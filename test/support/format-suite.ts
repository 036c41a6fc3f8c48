/**
 * What every dump format must do, whatever its layout: read as the plain array that was written, be a `PacketIo` like
 * any other, and take any damage with a clear error or a hole. A format brings a `FormatCase` (`formats/`), made by a
 * writer that shares nothing with the reader.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import {
  type DumpFile,
  type DumpImage,
  FormatError,
  type OpenDumpOptions,
  openDump,
  type RawRange,
} from "../../src/formats/index.js";
import { all, readPartial, type Scheduler } from "../../src/io/index.js";
import { packetIoSuite } from "../suite/index.js";
import { expectImage, expectLike, type ImageModel, testFile } from "./dump.js";

/** A dump in memory: its file, and what is opened along with it. */
export interface DumpInput {
  readonly file: Uint8Array;
  /** Its path; default `test.dump`. */
  readonly name?: string;
  /** Other files of a dump that was split. */
  readonly parts?: readonly Uint8Array[];
  /** Files that lie beside it, by name. */
  readonly beside?: Readonly<Record<string, Uint8Array>>;
  readonly format?: string;
  readonly memoryMap?: readonly RawRange[];
}

/** A dump, and the physical memory that it must read as. */
export interface DumpSample extends DumpInput {
  readonly model: ImageModel;
}

/** A format, as the suite and the fuzzer take it. */
export interface FormatCase {
  /** For names of tests. */
  readonly name: string;
  /** A small dump (20 KB at most) with as many of the format's features as fit. */
  readonly small: DumpInput;
  /** Bytes of its physical address space that are read, from 0 on. */
  readonly size: number;
  /** Byte ranges of the file in which every field of 4 bytes is set to what no writer writes. */
  readonly fields: readonly { readonly start: number; readonly end: number }[];
  /** Byte order of the fields; default little-endian. */
  readonly bigEndian?: boolean;
  /** A file cut to fewer bytes is no longer recognised: default 16. */
  readonly recognisedFrom?: number;
  /** What a damaged file is opened as; default: in the place of `small.file`. */
  readonly damaged?: (bytes: Uint8Array) => DumpInput;
  /** What is damaged; default `small.file`. */
  readonly victim?: Uint8Array;
  /** What a warning or an error says of a file that was cut; without it, nothing has to be said before bytes are read. */
  readonly cut?: RegExp;
  /** Random memory, as random files of the format. */
  readonly samples: fc.Arbitrary<DumpSample>;
  /** For the suite of packets: memory without a hole, 64 bytes or more, and what lies right behind it. */
  readonly packets: DumpInput & {
    readonly base: number;
    readonly ram: Uint8Array;
    readonly missing: { readonly bytes: number; readonly state: string };
  };
}

/** Runs all of it. */
export function formatSuite(format: FormatCase): void {
  describe(format.name, () => {
    packetsSuite(format);
    roundTripSuite(format);
    damageSuite(format);
  });
}

/** Opens a dump in memory; its files answer at once or later. */
export function openInput(
  input: DumpInput,
  mode: "sync" | "async" = "sync",
  more: OpenDumpOptions = {},
): ReturnType<typeof openDump> {
  const { file, name, parts = [], beside = {}, format, memoryMap } = input;
  const first = testFile(file, mode, name);
  const scheduler = first.scheduler as Scheduler;
  const others: DumpFile[] = parts.map((bytes, i) => testFile(bytes, mode, `part-${i + 2}.dump`, scheduler));
  return openDump(first, {
    decoders: nodeDecoders,
    format,
    memoryMap,
    parts: others,
    beside: (wanted) => {
      const bytes = Object.hasOwn(beside, wanted) ? beside[wanted] : undefined;
      return bytes === undefined ? undefined : testFile(bytes, mode, wanted, scheduler);
    },
    ...more,
  });
}

function packetsSuite({ name, packets }: FormatCase): void {
  for (const mode of ["sync", "async"] as const) {
    packetIoSuite(`${name} over a file that answers ${mode}`, async () => {
      const { io } = await openInput(packets, mode);
      const { base, ram, missing } = packets;
      return { io, base, truth: () => ram, asyncOnly: mode === "async", missing };
    });
  }
}

function roundTripSuite({ samples }: FormatCase): void {
  it("reads as the plain array that was written, bytes and holes, and so does its map", () => {
    fc.assert(
      fc.property(samples, (sample) => {
        expectImage(openInput(sample).sync(), sample.model);
      }),
      { numRuns: 150 },
    );
  });

  it("reads any ranges side by side, asynchronously and synchronously, alike", async () => {
    const ranges = fc.array(fc.tuple(fc.nat(70_000), fc.nat(9000)), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(samples, ranges, fc.nat(40_000), async (sample, wanted, cacheBytes) => {
        const { model } = sample;
        const later = await openInput(sample, "async", { cacheBytes });
        const now = openInput(sample, "sync", { cacheBytes }).sync();
        const bounded = wanted.map(([at, length]) => [at % (model.size + 50), length] as const);
        for (const image of [later, now]) {
          const results = await all(bounded.map(([at, length]) => readPartial(image.io, at, length)));
          for (const [i, [at]] of bounded.entries()) expectLike(model, at, results[i] as (typeof results)[0]);
        }
        for (const [at, length] of bounded) expectLike(model, at, readPartial(now.io, at, length).sync());
      }),
      { numRuns: 60 },
    );
  });
}

/** Every byte that can be read of a damaged dump; the rest is undefined. Fails on anything but a clear error. */
export function readDamaged(input: DumpInput, size: number): (number | undefined)[] | FormatError {
  const bytes = damagedBytes(input, size);
  if (bytes instanceof FormatError) return bytes;
  return Array.from(bytes, (byte) => (byte === UNREAD ? undefined : byte));
}

/** In the place of a byte that can't be read. */
const UNREAD = -1;

/** As `readDamaged`, in a form that thousands of dumps can be read in. */
function damagedBytes(input: DumpInput, size: number): Int16Array | FormatError {
  let image: DumpImage;
  try {
    image = openInput(input).sync();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    expect(error.message).toMatch(/\.(dump|vm\w+)/);
    return error;
  }
  const out = new Int16Array(size).fill(UNREAD);
  const { bytes, good, holes } = readPartial(image.io, 0, size).sync();
  let covered = 0;
  for (const { start, end } of good) {
    covered += end - start;
    out.set(bytes.subarray(start, end), start);
  }
  for (const { start, end, state } of holes) {
    covered += end - start;
    // (`expect` takes longer than all that it is asked about here.)
    if (state === "unanswered") expect(state).not.toBe("unanswered");
  }
  expect(covered).toBe(size);
  expectSound(image.map.ranges());
  const zeros = image.mapWithZeros?.().sync();
  if (zeros !== undefined) {
    expectSound(zeros.ranges());
    expect([zeros.bytesPresent, zeros.bytesExcluded]).toEqual([
      image.map.bytesPresent,
      image.map.bytesExcluded,
    ]);
    for (const range of zeros.ranges()) {
      if (range.zero !== true) continue;
      for (let i = range.start; i < Math.min(range.end, size); i++) {
        const byte = out[i] as number;
        if (byte > 0) expect({ at: i, byte }).toEqual({ at: i, byte: 0 });
      }
    }
  }
  return out;
}

function expectSound(ranges: Iterable<{ readonly start: number; readonly end: number }>): void {
  let at = 0;
  for (const { start, end } of ranges) {
    if (!(start >= at && end > start)) expect.fail(`a range from ${start} to ${end}, after one to ${at}`);
    at = end;
  }
}

/** Values that make fields lie: 0, 1, all ones, the least and the greatest signed number, 2^52. */
const LIES = (width: number) => {
  const bits = BigInt(8 * width);
  return [0n, 1n, -1n, 1n << (bits - 1n), (1n << (bits - 1n)) - 1n, 1n << 52n];
};

function damageSuite(format: FormatCase): void {
  const { small, size, fields, cut, bigEndian = false, recognisedFrom = 16 } = format;
  const victim = format.victim ?? small.file;
  const damaged = format.damaged ?? ((file: Uint8Array) => ({ ...small, file }));
  const isField = (at: number) => fields.some(({ start, end }) => at >= start && at < end);
  /** Every byte of what has structure, and some of the rest. */
  const step = (at: number) => (isField(at) || at < recognisedFrom ? 1 : 31);

  it("cut anywhere gives an error that names the file, or bytes that are the dump's", () => {
    const whole = damagedBytes(damaged(victim), size);
    if (whole instanceof FormatError) throw whole;
    for (let length = 1; length < victim.length; length += step(length)) {
      const left = damagedBytes(damaged(victim.subarray(0, length)), size);
      if (left instanceof FormatError || length < recognisedFrom) continue;
      for (let i = 0; i < size; i++) {
        const byte = left[i];
        if (byte !== UNREAD && byte !== whole[i]) {
          expect({ length, i, byte }).toEqual({ length, i, byte: whole[i] });
        }
      }
    }
  }, 60_000);

  it.runIf(cut !== undefined)("cut anywhere says so in a warning or an error", () => {
    for (let length = recognisedFrom; length < victim.length; length += 13) {
      let said: string;
      try {
        said = openInput(damaged(victim.subarray(0, length)))
          .sync()
          .warnings.join("\n");
      } catch (error) {
        expect((error as FormatError).code).toMatch(/TRUNCATED_DUMP|MALFORMED_DUMP/);
        continue;
      }
      expect(said, `cut to ${length} bytes`).toMatch(cut as RegExp);
    }
  });

  it("with any header field set to 0, 1, its maximum or minimum neither hangs nor crashes", () => {
    for (let at = 0; at < victim.length; at += 4) {
      if (!isField(at)) continue;
      for (const width of [4, 8]) {
        if (at + width > victim.length) continue;
        for (const value of LIES(width)) {
          const file = victim.slice();
          const view = new DataView(file.buffer);
          if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), !bigEndian);
          else view.setBigUint64(at, BigInt.asUintN(64, value), !bigEndian);
          damagedBytes(damaged(file), size);
        }
      }
    }
  }, 120_000);

  const change = fc.tuple(fc.nat(victim.length - 1), fc.nat(255));
  const changes = fc.array(change, { minLength: 1, maxLength: 6 });
  const changed = (edits: readonly (readonly [number, number])[]) => {
    const file = victim.slice();
    for (const [at, byte] of edits) file[at] = byte;
    return damaged(file);
  };

  it("with any bytes changed neither hangs nor crashes", () => {
    fc.assert(
      fc.property(changes, (edits) => {
        damagedBytes(changed(edits), size);
      }),
      { numRuns: 1000 },
    );
  }, 60_000);

  it("with any bytes changed answers asynchronously too", async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (edits) => {
        try {
          const image = await openInput(changed(edits), "async");
          const { good, holes } = await readPartial(image.io, 0, size);
          const covered = [...good, ...holes].reduce((sum, range) => sum + range.end - range.start, 0);
          expect(covered).toBe(size);
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
        }
      }),
      { numRuns: 150 },
    );
  });
}
