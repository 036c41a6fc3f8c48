/**
 * Lines of `translate` by the thousand, as bytes. Each kind of result is rendered once by `translation.ts`, as text or
 * JSON; for the others of its kind only the numbers in it are put in their places. So both give the same bytes.
 */
import type { Translation, TranslationColumns } from "../../src/paging/index.js";
import { toJson } from "./escape.js";
import { hex, hex16 } from "./numbers.js";
import { translationJson, translationText } from "./translation.js";

/** Bytes handed out at a time: larger than what a pipe takes. */
const SIZE = 262_144;
/** Kinds of failures that are remembered: level, state and cause make some hundreds. */
const MAX_KINDS = 4096;

const HEX = new TextEncoder().encode("0123456789abcdef");

/** What stands between and behind the numbers of a line. */
interface Template {
  /** Between the virtual address and the next number; all the rest, if there is none. */
  readonly middle: Uint8Array;
  readonly number: "physical" | "entry" | "none";
  readonly tail: Uint8Array;
}

/** See the module's comment. */
export class TranslationLines {
  readonly #json: boolean;
  readonly #head: Uint8Array;
  readonly #bytes = new Uint8Array(SIZE);
  /** By level · 64 + rights. */
  readonly #mapped: (Template | undefined)[] = [];
  /** By fault. */
  readonly #failed = new Map<number, Template>();
  readonly #entry = new BigUint64Array(1);
  readonly #entryWords = new Uint32Array(this.#entry.buffer);
  #at = 0;

  constructor(json: boolean) {
    this.#json = json;
    this.#head = new TextEncoder().encode(json ? '{"virtual":"0x' : "0x");
  }

  /** What the last `format` wrote; valid up to the next one. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  /** Writes lines from `row` on. @returns the row that it ended before: the columns' length, unless memory is full. */
  format(columns: TranslationColumns, row: number): number {
    const { length, addresses, physical, faults, levels, rights } = columns;
    const words = new Uint32Array(addresses.buffer, addresses.byteOffset, 2 * length);
    const padded = !this.#json;
    this.#at = 0;
    for (; row < length; row++) {
      const fault = faults[row] as number;
      const kind = ((levels[row] as number) << 6) | (rights[row] as number);
      const template =
        (fault === 0 ? this.#mapped[kind] : this.#failed.get(fault)) ??
        this.#learn(columns, row, fault, kind);
      // Two numbers of 16 digits, and the newline.
      if (this.#at + this.#head.length + template.middle.length + template.tail.length + 33 > SIZE) {
        if (this.#at === 0) throw new RangeError("a line of a translation longer than 256 KiB");
        return row;
      }
      this.#put(this.#head);
      this.#digits(words[2 * row] as number, words[2 * row + 1] as number, padded);
      this.#put(template.middle);
      if (template.number === "physical") {
        const address = physical[row] as number;
        this.#digits(address >>> 0, Math.floor(address / 4294967296), padded);
      } else if (template.number === "entry") {
        this.#entry[0] = columns.entry(row);
        this.#digits(this.#entryWords[0] as number, this.#entryWords[1] as number, false);
      }
      this.#put(template.tail);
      this.#bytes[this.#at++] = 10;
    }
    return row;
  }

  #learn(columns: TranslationColumns, row: number, fault: number, kind: number): Template {
    const template = this.#templateOf(columns.row(row));
    if (fault === 0) {
      this.#mapped[kind] = template;
    } else {
      if (this.#failed.size >= MAX_KINDS) this.#failed.clear();
      this.#failed.set(fault, template);
    }
    return template;
  }

  #templateOf(result: Translation): Template {
    const { virtual } = result;
    const number = result.state === undefined ? "physical" : "entry";
    const value = result.state === undefined ? BigInt(result.physical) : result.entry;
    const line = this.#json ? toJson(translationJson(result)) : translationText(result);
    const from = this.#head.length + (this.#json ? hex(virtual) : hex16(virtual)).length - 2;
    const shown = this.#json || number === "entry" ? hex(value) : hex16(value);
    // The number stands alone: behind a key in JSON, last or between two spaces in text.
    const mark = this.#json ? `"${number}":"${shown}"` : shown;
    const at = line.indexOf(mark, from);
    const encoder = new TextEncoder();
    if (at < 0) return { middle: encoder.encode(line.slice(from)), number: "none", tail: new Uint8Array(0) };
    const digits = at + mark.indexOf(shown) + 2;
    return {
      middle: encoder.encode(line.slice(from, digits)),
      number,
      tail: encoder.encode(line.slice(digits + shown.length - 2)),
    };
  }

  #put(bytes: Uint8Array): void {
    const into = this.#bytes;
    let at = this.#at;
    for (let i = 0; i < bytes.length; i++) into[at++] = bytes[i] as number;
    this.#at = at;
  }

  /** The digits of a number: all 16, or those that count. */
  #digits(lo: number, hi: number, padded: boolean): void {
    const into = this.#bytes;
    const count = padded
      ? 16
      : hi !== 0
        ? 16 - (Math.clz32(hi) >>> 2)
        : Math.max(1, 8 - (Math.clz32(lo) >>> 2));
    const end = this.#at + count;
    let word = lo;
    for (let i = 1; i <= count; i++) {
      if (i === 9) word = hi;
      into[end - i] = HEX[word & 15] as number;
      word >>>= 4;
    }
    this.#at = end;
  }
}
