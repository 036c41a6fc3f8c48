/** Bytes a row, where there is room for them. */
const ROW = 16;
/** Columns that a row of sixteen bytes takes. */
const WIDE = 86;
const UNKNOWN = "··";

/** How a dump looks. */
export interface HexDumpOptions {
  /** Whether rows that repeat the one before are a single `*` (the last row is always shown); default true. */
  readonly squeeze?: boolean;
  /** Dims addresses and holes. */
  readonly dim?: (text: string) => string;
  /** Width of the terminal: rows have eight bytes where sixteen would not fit. Undefined where nothing wraps. */
  readonly columns?: number | undefined;
}

/** Two digits for each byte, and the character of each for the right column. */
const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const LETTERS = Array.from({ length: 256 }, (_, byte) =>
  byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".",
);

/**
 * A hex dump of one range, made piece by piece: rows of 16 bytes (8 on a narrow terminal) from the first address on, `··` for bytes that could
 * not be read. Rows without any readable byte say why instead of showing characters; however long a hole is, its rows
 * are squeezed to a few lines.
 */
export class HexDump {
  readonly #squeeze: boolean;
  readonly #dim: (text: string) => string;
  /** Address of the row under way. */
  #address: bigint;
  readonly #bytes: number;
  readonly #row = new Int16Array(ROW);
  #filled = 0;
  /** What the row says in the right column if none of its bytes could be read. */
  #label = "";
  /** The body of the last row that was shown. */
  #shown: string | undefined;
  /** Rows like it that came since, and the address of the last of them. */
  #repeats = 0;
  #lastRepeat = 0n;

  constructor(start: bigint, options: HexDumpOptions = {}) {
    this.#address = start;
    this.#squeeze = options.squeeze ?? true;
    this.#dim = options.dim ?? ((text) => text);
    this.#bytes = (options.columns ?? WIDE) < WIDE ? ROW / 2 : ROW;
  }

  /** Bytes that were read, next in the range. @returns the lines that are complete. */
  data(bytes: Uint8Array): string {
    let text = "";
    for (let i = 0; i < bytes.length; i++) {
      this.#row[this.#filled++] = bytes[i] as number;
      if (this.#filled === this.#bytes) text += this.#flush();
    }
    return text;
  }

  /** Bytes that were not, and why. @returns the lines that are complete. */
  hole(length: bigint, label: string): string {
    let text = "";
    let left = length;
    const row = BigInt(this.#bytes);
    this.#label = label;
    // Rows that begin in this hole: all but the first and the last repeat the one before.
    let rows = 0;
    while (left > 0n) {
      if (this.#filled === 0 && ++rows > 2 && left >= 2n * row) {
        const skipped = (left / row - 1n) * row;
        this.#address += skipped;
        left -= skipped;
      }
      this.#row[this.#filled++] = -1;
      left--;
      if (this.#filled === this.#bytes) text += this.#flush();
    }
    return text;
  }

  /** The range has ended. @returns the lines that are left. */
  end(): string {
    const text = this.#filled === 0 ? "" : this.#flush();
    if (this.#repeats === 0 || this.#shown === undefined) return text;
    const last = this.#line(this.#lastRepeat, this.#shown);
    const star = this.#repeats > 1 ? "*\n" : "";
    this.#repeats = 0;
    return text + star + last;
  }

  #flush(): string {
    const { body, known } = this.#body();
    const address = this.#address;
    this.#address += BigInt(this.#filled);
    this.#filled = 0;
    if (body === this.#shown && (this.#squeeze || !known)) {
      this.#repeats++;
      this.#lastRepeat = address;
      return "";
    }
    // One row that repeats takes no more room than a star.
    let text = "";
    if (this.#repeats > 1) text = "*\n";
    else if (this.#repeats === 1) text = this.#line(this.#lastRepeat, this.#shown ?? "");
    this.#repeats = 0;
    this.#shown = body;
    return text + this.#line(address, body);
  }

  #line(address: bigint, body: string): string {
    return `${this.#dim(address.toString(16).padStart(16, "0"))}  ${body}\n`;
  }

  /** A row but for its address. */
  #body(): { body: string; known: boolean } {
    let digits = "";
    let letters = "";
    let known = false;
    for (let i = 0; i < this.#bytes; i++) {
      if (i === ROW / 2) digits += " ";
      if (i >= this.#filled) {
        digits += "   ";
        continue;
      }
      const byte = this.#row[i] as number;
      known ||= byte >= 0;
      digits += byte < 0 ? `${UNKNOWN} ` : `${DIGITS[byte] as string} `;
      letters += byte < 0 ? " " : (LETTERS[byte] as string);
    }
    const body = known ? `${digits} |${letters}|` : `${this.#dim(digits)} ${this.#dim(this.#label)}`;
    return { body, known };
  }
}
