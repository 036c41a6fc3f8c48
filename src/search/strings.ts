/** Texts in memory, as the tool `strings` finds them in files. */
import type { Address } from "../io/packet-io.js";
import { IoSequence, type Sink } from "../io/sequence.js";
import type { Routine } from "../io/wait.js";
import type { AddressSpace } from "../memory/address-space.js";
import { decodeLatin1, decodeUtf8 } from "../memory/text.js";
import { type ScanOptions, type ScanPart, scan } from "./scan.js";
import {
  ASCII_RUNS,
  type RunFinder,
  type TextRun,
  UTF8_RUNS,
  UTF16BE_RUNS,
  UTF16LE_RUNS,
} from "./text-runs.hot.js";

/** How texts may lie in memory. */
export const STRING_ENCODINGS = ["ascii", "utf8", "utf16le", "utf16be"] as const;
/** See {@link STRING_ENCODINGS}. */
export type StringEncoding = (typeof STRING_ENCODINGS)[number];

/** A text in memory. */
export interface FoundString {
  /** Of its first byte. */
  readonly address: bigint;
  /** In bytes. */
  readonly length: number;
  readonly encoding: StringEncoding;
  readonly text: string;
  /** Whether it is longer than `maxLength`: the next one of this encoding goes on where this one ends. */
  readonly continues: boolean;
}

/** Options of {@link strings}. */
export interface StringsOptions extends Pick<ScanOptions, "ranges" | "piece" | "onHole" | "onProgress"> {
  /** Characters that a text has at least; default 4, at most 4096. */
  readonly min?: number | undefined;
  /** Default ASCII and little-endian UTF-16. */
  readonly encodings?: readonly StringEncoding[] | undefined;
  /** Bytes of a text that are given at once; default 64 KiB, 16 to 16 MiB. Longer ones come in several (`continues`). */
  readonly maxLength?: number | undefined;
}

const MIN = 4;
const MAX_MIN = 4096;
const MAX_LENGTH = 1 << 16;
const MAX_MAX_LENGTH = 1 << 24;

const FINDERS: Readonly<Record<StringEncoding, RunFinder>> = {
  ascii: ASCII_RUNS,
  utf8: UTF8_RUNS,
  utf16le: UTF16LE_RUNS,
  utf16be: UTF16BE_RUNS,
};

/**
 * Runs of printable characters, ascending by address, streaming, in bounded memory: each as long as it is, but never across a
 * hole. Printable is what `strings` of GNU binutils takes: a tab, and ASCII from space to tilde. UTF-16 is of these characters
 * too, at even and odd addresses; UTF-8 also of all others but controls.
 *
 * @param space `machine.physical`, `linux.memory`, a process's memory; of others, `ranges` says where to look.
 * @throws {RangeError} for options that can't be.
 * @example
 * for await (const { address, text } of strings(machine.physical, { min: 8 })) console.log(address, text);
 */
export function strings(
  space: AddressSpace<Address> | AddressSpace<number>,
  options: StringsOptions = {},
): IoSequence<FoundString> {
  const { min = MIN, maxLength = MAX_LENGTH, encodings = ["ascii", "utf16le"] } = options;
  if (!(Number.isInteger(min) && min >= 1 && min <= MAX_MIN))
    throw new RangeError(`strings: at least ${min} characters: 1 to ${MAX_MIN}`);
  if (!(Number.isInteger(maxLength) && maxLength >= 16 && maxLength <= MAX_MAX_LENGTH))
    throw new RangeError(`strings: ${maxLength} bytes at once: 16 to ${MAX_MAX_LENGTH}`);
  const wanted = [...new Set(encodings)];
  if (wanted.length === 0) throw new RangeError("strings: no encoding");
  for (const each of wanted) {
    if (!Object.hasOwn(FINDERS, each))
      throw new RangeError(`strings: encoding ${each}: one of ${STRING_ENCODINGS.join(", ")}`);
  }
  const { ranges, piece, onHole, onProgress } = options;
  // (So much that a text of `maxLength` is seen to end or to go on, and one of `min` characters to be one.)
  const overlap = Math.max(maxLength, 4 * min) + 4;
  const parts = scan(space, { ranges, piece, onHole, onProgress, overlap });
  const searches = wanted.map((encoding) => new TextSearch(encoding, min, maxLength));
  return IoSequence.of(space.scheduler, stringsRoutine, parts, searches);
}

function* stringsRoutine(
  sink: Sink<FoundString>,
  parts: IoSequence<ScanPart>,
  searches: readonly TextSearch[],
): Routine<void> {
  const cursor = parts.cursor();
  try {
    for (;;) {
      const next = yield* cursor.next();
      if (next.done === true) return;
      const part = next.value;
      for (const search of searches) search.begin(part);
      for (;;) {
        let first: TextSearch | undefined;
        for (const search of searches) {
          if (search.isFound && (first === undefined || search.run.start < first.run.start)) first = search;
        }
        if (first === undefined) break;
        yield sink.emit(first.take());
      }
    }
  } finally {
    yield* cursor.end();
  }
}

/** Goes through memory for one encoding. */
class TextSearch {
  readonly run: TextRun = { start: 0, end: 0, characters: 0 };
  /** Whether `run` is one. */
  isFound = false;
  readonly #encoding: StringEncoding;
  readonly #finder: RunFinder;
  readonly #min: number;
  readonly #maxLength: number;
  /** Address behind what was taken last. */
  #done = 0n;
  /** Whether what was taken last goes on there. */
  #continues = false;
  #part: ScanPart | undefined;

  constructor(encoding: StringEncoding, min: number, maxLength: number) {
    this.#encoding = encoding;
    this.#finder = FINDERS[encoding];
    this.#min = min;
    this.#maxLength = maxLength;
  }

  begin(part: ScanPart): void {
    this.#part = part;
    const done = this.#done - part.address;
    this.#find(done > BigInt(part.from) ? Number(done) : part.from);
  }

  /** The run that was found; looks for the next one. */
  take(): FoundString {
    const { bytes, address } = this.#part as ScanPart;
    const { start } = this.run;
    let { end } = this.run;
    const continues = end - start > this.#maxLength;
    if (continues) end = this.#finder.cut(bytes, start, start + this.#maxLength);
    const found = {
      address: address + BigInt(start),
      length: end - start,
      encoding: this.#encoding,
      text: decode(bytes, start, end, this.#encoding),
      continues,
    };
    this.#continues = continues;
    this.#done = address + BigInt(end);
    this.#find(end);
    return found;
  }

  #find(from: number): void {
    const { bytes, until } = this.#part as ScanPart;
    if (this.#continues) {
      // (It begins in this part or the next one, as anything else does.)
      this.isFound = from < until;
      if (!this.isFound) return;
      this.#finder.here(bytes, from, this.run);
      return;
    }
    this.isFound = this.#finder.next(bytes, from, until, this.#min, this.run);
    // What is behind a text that is too short was seen already, but costs little to be seen again.
  }
}

function decode(bytes: Uint8Array, start: number, end: number, encoding: StringEncoding): string {
  if (encoding === "ascii") return decodeLatin1(bytes, start, end);
  if (encoding === "utf8") return decodeUtf8(bytes, start, end);
  const units = new Uint8Array((end - start) / 2);
  const letter = encoding === "utf16le" ? 0 : 1;
  for (let i = 0; i < units.length; i++) units[i] = bytes[start + 2 * i + letter] as number;
  return decodeLatin1(units);
}
