/**
 * Lines of addresses, as bytes: plain numbers go into a column without a string a line; what else people write
 * (symbols, offsets, digits in groups, mistakes) is handed out as text, for the parser of everything.
 */

/** No address is longer; the rest of such a line is dropped, and memory stays bounded. */
const MAX_LINE = 65_536;
/** A line of that many characters has at most three bytes for each. */
const MAX_LINE_BYTES = 3 * MAX_LINE;
/** Addresses a column: what is translated at a time. */
const ROWS = 16_384;

/** What `next` stopped at: the column is full, a line is to be parsed by the caller, or more input is needed. */
export const FULL = 0;
export const OTHER = 1;
export const MORE = 2;

const NEWLINE = 10;
const OUTSIDE = 255;
/** Values of digits by character. */
const DIGITS = new Uint8Array(256).fill(OUTSIDE);
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16);
  DIGITS[digit.charCodeAt(0)] = value;
  DIGITS[digit.toUpperCase().charCodeAt(0)] = value;
}

/** What `String.trim` takes away, as far as it is a byte (and no newline). */
function isSpace(byte: number): boolean {
  return byte === 32 || (byte >= 9 && byte <= 13 && byte !== NEWLINE);
}

/** See the module's comment. */
export class AddressLines {
  /** Lines that have been taken. */
  number = 0;
  /** At `OTHER`: the line, trimmed (not empty, no comment); `undefined` for one that is too long. */
  text: string | undefined;
  readonly #column = new BigUint64Array(ROWS);
  readonly #words = new Uint32Array(this.#column.buffer);
  #rows = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #tooLong = false;
  #ended = false;

  /** Addresses in the column. */
  get length(): number {
    return this.#rows;
  }

  /** The column, which is then empty; its memory is used again with the next line. */
  take(): BigUint64Array<ArrayBuffer> {
    const rows = this.#column.subarray(0, this.#rows);
    this.#rows = 0;
    return rows;
  }

  /** Adds the address of a line that the caller parsed. There is room after `OTHER`. */
  push(address: bigint): void {
    this.#column[this.#rows++] = address;
  }

  /** More input. All that was there must have been taken (`MORE`). */
  feed(chunk: Uint8Array | string): void {
    const more = typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
    const rest = this.#bytes.subarray(this.#at);
    this.#at = 0;
    if (rest.length === 0) {
      this.#bytes = more;
    } else if (rest.length > MAX_LINE_BYTES) {
      this.#tooLong = true;
      this.#bytes = more;
    } else {
      this.#bytes = new Uint8Array(rest.length + more.length);
      this.#bytes.set(rest);
      this.#bytes.set(more, rest.length);
    }
  }

  /** The input has ended: what is left is a line. */
  end(): void {
    if (this.#at === this.#bytes.length && !this.#tooLong) return;
    this.feed(Uint8Array.of(NEWLINE));
    this.#ended = true;
  }

  /** Takes lines up to one that needs the caller. */
  next(): typeof FULL | typeof OTHER | typeof MORE {
    const bytes = this.#bytes;
    if (this.#tooLong) {
      const end = bytes.indexOf(NEWLINE);
      this.#at = end + 1;
      if (end < 0) {
        this.#bytes = new Uint8Array(0);
        return MORE;
      }
      this.#tooLong = false;
      this.number++;
      this.text = undefined;
      return OTHER;
    }
    for (;;) {
      if (this.#rows === ROWS) return FULL;
      const after = this.#takePlain();
      if (after > 0) {
        this.#at = after;
        this.number++;
        continue;
      }
      const end = bytes.indexOf(NEWLINE, this.#at);
      if (end < 0) return MORE;
      const line = bytes.subarray(this.#at, end);
      this.#at = end + 1;
      this.number++;
      this.text = this.#decode(line);
      if (this.text === undefined || !(this.text === "" || this.text.startsWith("#"))) return OTHER;
    }
  }

  /** A line as text; `undefined` for one that is too long. */
  #decode(line: Uint8Array): string | undefined {
    if (line.length > MAX_LINE_BYTES) return undefined;
    // The input's last character may be cut off.
    const text = new TextDecoder().decode(line, { stream: this.#ended });
    return text.length > MAX_LINE ? undefined : text.trim();
  }

  /**
   * Takes a line that is a plain number, or empty: adds its address, if it has one.
   *
   * @returns where the next line begins; 0 for any other line, and for one whose end has not come yet.
   */
  #takePlain(): number {
    const bytes = this.#bytes;
    const { length } = bytes;
    const start = this.#at;
    let at = start;
    while (at < length && isSpace(bytes[at] as number)) at++;
    let lo = 0;
    let hi = 0;
    const first = at;
    if (bytes[at] === 0x30 && ((bytes[at + 1] as number) | 0x20) === 0x78) {
      at += 2;
      const digits = at;
      for (; at < length; at++) {
        const digit = DIGITS[bytes[at] as number] as number;
        if (digit === OUTSIDE) break;
        hi = (hi << 4) | (lo >>> 28);
        lo = (lo << 4) | digit;
      }
      if (at === digits || at - digits > 16) return 0;
    } else {
      let value = 0;
      for (; at < length; at++) {
        const digit = DIGITS[bytes[at] as number] as number;
        if (digit > 9) break;
        value = value * 10 + digit;
      }
      // Exact in a double.
      if (at - first > 15) return 0;
      lo = value >>> 0;
      hi = (value - lo) / 4294967296;
    }
    const isEmpty = at === first;
    while (at < length && isSpace(bytes[at] as number)) at++;
    if (at >= length || bytes[at] !== NEWLINE || at - start > MAX_LINE) return 0;
    if (!isEmpty) {
      const row = this.#rows++;
      this.#words[2 * row] = lo;
      this.#words[2 * row + 1] = hi;
    }
    return at + 1;
  }
}
