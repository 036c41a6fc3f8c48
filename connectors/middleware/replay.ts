/** Recordings as sources: they answer as the target did, and need it no more. */
import {
  type AddressRanges,
  type Batch,
  EXCLUDED_REASONS,
  type Fault,
  fault,
  type Source,
} from "../../src/io/index.js";
import { ByteReader, MalformedError } from "../byte-code.js";
import type { KindedSource } from "../connector.js";
import { ConnectorError } from "../errors.js";
import type { ProcessMap } from "../proc/maps.js";
import {
  mapsFromJson,
  notesFromJson,
  parseObject,
  rangesFromJson,
  readFacts,
  type SourceFacts,
} from "../source-facts.js";
import { RecordedReads } from "./recorded-reads.js";
import { FRAME, type FramePlace, FrameReader } from "./recording-frames.js";
import { wrapSource } from "./wrap-source.js";

/** A recording as a source. */
export interface RecordedSource extends KindedSource {
  /** Whether the recording was ended as it should be, and all of it could be read. */
  readonly complete: boolean;
  /** What is wrong with it, each a sentence. */
  readonly warnings: readonly string[];
}

/** Nobody read it while the recording was made. */
const NOT_RECORDED: Fault = fault(
  "excluded",
  "memory",
  "connector",
  EXCLUDED_REASONS.indexOf("not recorded"),
);
/** The recording has it, and is damaged there. */
const DAMAGED: Fault = fault("malformed", "file", "connector");

/** Decompressed bytes that are kept. */
const KEPT_BYTES = 32 * 2 ** 20;

/** What was known from a moment on: after so many reads. */
interface Since<T> {
  readonly after: number;
  readonly what: T;
}

/**
 * Opens a recording that {@link withRecording} made. It answers what was asked then, the same way: bytes that were read several
 * times come in their order, and the last ones again after that. What was never read fails as `excluded`, not recorded. It has the name
 * and the kind of the source that it is of.
 *
 * A recording that is cut off or damaged is opened as far as it goes; see `warnings`.
 *
 * @throws {ConnectorError} `BAD_RECORDING` for what is none; for a file that can't be read.
 */
export function openRecording(path: string): RecordedSource {
  const reader = new FrameReader(path);
  try {
    const index = new Index(reader);
    const source = new Recording(reader, index);
    const { notes, maps } = index;
    return wrapSource(source, {
      notes: notes === undefined ? undefined : () => notes,
      maps: maps.length === 0 ? undefined : () => source.maps(),
    });
  } catch (error) {
    reader.close();
    throw error;
  }
}

/** What the frames say, but for the bytes. */
class Index {
  readonly facts: SourceFacts;
  readonly reads = new RecordedReads();
  readonly frames: FramePlace[] = [];
  readonly ranges: Since<AddressRanges>[] = [];
  readonly maps: Since<ProcessMap[]>[] = [];
  notes: ReturnType<typeof notesFromJson> | undefined;
  readonly warnings: string[] = [];
  #ended = false;

  constructor(reader: FrameReader) {
    const frames = reader.frames();
    let facts: SourceFacts | undefined;
    /** The frame of reads whose bytes come next, and how many they are. */
    let reads: Uint8Array | undefined;
    let damaged = 0;
    let firstDamaged = 0;
    for (;;) {
      const { done, value } = frames.next();
      if (done === true) {
        if (value !== undefined)
          this.warnings.push(
            `it is cut off or damaged at byte ${value}: nothing behind that can be told, and counts as not recorded`,
          );
        break;
      }
      try {
        if (facts === undefined) {
          if (value.type !== FRAME.facts)
            throw new MalformedError("its first frame says nothing of its source");
          facts = readFacts(parseObject(reader.body(value)));
        } else if (value.type === FRAME.reads) {
          if (value.packed) throw new MalformedError("reads are compressed");
          reads = reader.body(value);
        } else if (value.type === FRAME.bytes) {
          const before = reads;
          reads = undefined;
          if (before === undefined) throw new MalformedError("bytes of no reads");
          this.#addReads(before, value);
        } else this.#addText(value, reader);
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
        if (facts === undefined)
          throw new ConnectorError("BAD_RECORDING", reader.name, `it is damaged: ${error.message}`);
        reads = undefined;
        if (damaged++ === 0) firstDamaged = value.position;
      }
    }
    if (facts === undefined)
      throw new ConnectorError(
        "BAD_RECORDING",
        reader.name,
        "it is cut off before anything is told of its source",
      );
    this.facts = facts;
    if (damaged > 0) {
      this.warnings.push(
        `${damaged} of its frames are damaged, the first at byte ${firstDamaged}: what they held counts as not recorded`,
      );
    }
    if (!this.#ended && this.warnings.length === 0)
      this.warnings.push("it was not ended as it should be: the last reads may be missing");
  }

  #addText(place: FramePlace, reader: FrameReader): void {
    const value = parseObject(reader.body(place));
    const after = this.reads.length;
    if (place.type === FRAME.ranges) this.ranges.push({ after, what: rangesFromJson(value) });
    else if (place.type === FRAME.maps) this.maps.push({ after, what: mapsFromJson(value) });
    else if (place.type === FRAME.notes) this.notes ??= notesFromJson(value);
    else if (place.type === FRAME.end) this.#ended = true;
    else throw new MalformedError("facts come twice");
  }

  #addReads(reads: Uint8Array, bytes: FramePlace): void {
    const frame = this.frames.length;
    // First all of it is checked: a frame counts as a whole, or not at all.
    for (const add of [false, true]) {
      const from = new ByteReader(reads);
      let lo = 0;
      let hi = 0;
      let at = 0;
      while (from.left > 0) {
        from.words();
        const sum = lo + from.lo;
        lo = sum >>> 0;
        hi = (hi + from.hi + (sum - lo) / 2 ** 32) >>> 0;
        const length = from.number();
        const why = from.fault();
        // In pages, which a double holds exactly.
        const page = hi * 2 ** 20 + (lo >>> 12);
        const offset = lo & 4095;
        if (length === 0 || page + (offset + length) / 4096 > 2 ** 52) throw new MalformedError("a length");
        if (add) this.reads.add(page, offset, length, why, frame, at);
        if (why === 0) at += length;
        const next = lo + length;
        lo = next >>> 0;
        hi = (hi + (next - lo) / 2 ** 32) >>> 0;
      }
      if (at !== bytes.length) throw new MalformedError("bytes and reads are not as long");
    }
    this.frames.push(bytes);
  }
}

class Recording implements RecordedSource {
  readonly name: string;
  readonly kind: SourceFacts["kind"];
  readonly supports: Source["supports"];
  readonly complete: boolean;
  readonly warnings: readonly string[];
  readonly #reader: FrameReader;
  readonly #index: Index;
  /** Frames' bytes by their number, those used last at the end; damaged ones have none. */
  readonly #kept = new Map<number, Uint8Array | undefined>();
  #keptBytes = 0;

  constructor(reader: FrameReader, index: Index) {
    const { name, kind, live } = index.facts;
    this.name = name;
    this.kind = kind;
    this.supports = { write: false, live };
    this.warnings = index.warnings.map((warning) => `the recording of ${name}: ${warning}`);
    this.complete = index.warnings.length === 0;
    this.#reader = reader;
    this.#index = index;
  }

  get still(): string | undefined {
    const { clock, length } = this.#index.reads;
    return clock < length ? undefined : "is a recording, and this is its end";
  }

  ranges(): AddressRanges {
    const found = this.#now(this.#index.ranges);
    if (found === undefined)
      throw new ConnectorError("BAD_RECORDING", this.#reader.name, "it does not tell what ranges there are");
    return found;
  }

  maps(): ProcessMap[] {
    return this.#now(this.#index.maps) ?? [];
  }

  /** What was the case when the last read was recorded that was given out. */
  #now<T>(list: readonly Since<T>[]): T | undefined {
    const { clock } = this.#index.reads;
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((list[middle] as Since<T>).after <= clock) low = middle + 1;
      else high = middle;
    }
    return list[Math.max(0, low - 1)]?.what;
  }

  transferSync(batch: Batch): void {
    for (let row = 0; row < batch.length; row++) {
      const bytes = batch.bytes(row);
      const lo = batch.words[2 * row] as number;
      const page = (batch.words[2 * row + 1] as number) * 2 ** 20 + (lo >>> 12);
      batch.done(row);
      this.#index.reads.read(page, lo & 4095, bytes.length, (start, end, version, skip) => {
        if (version === undefined) return batch.failRange(row, start, end, NOT_RECORDED);
        if (version.fault !== 0) return batch.failRange(row, start, end, version.fault);
        const frame = this.#frame(version.frame);
        if (frame === undefined) return batch.failRange(row, start, end, DAMAGED);
        const from = version.at + skip;
        bytes.set(frame.subarray(from, from + (end - start)), start);
      });
    }
  }

  #frame(number: number): Uint8Array | undefined {
    let bytes = this.#kept.get(number);
    if (this.#kept.delete(number)) {
      this.#kept.set(number, bytes);
      return bytes;
    }
    try {
      bytes = this.#reader.body(this.#index.frames[number] as FramePlace);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
    }
    this.#kept.set(number, bytes);
    this.#keptBytes += bytes?.length ?? 0;
    for (const [oldest, { length } = { length: 0 }] of this.#kept) {
      if (this.#keptBytes <= KEPT_BYTES || oldest === number) break;
      this.#kept.delete(oldest);
      this.#keptBytes -= length;
    }
    return bytes;
  }

  close(): void {
    this.#reader.close();
  }
}
