/** Bytes a row. */
const ROW = 16;
const UNKNOWN = "··";

/** How a dump looks. */
export interface HexDumpOptions {
  /** Whether rows that repeat the one before are a single `*` (the last row is always shown); default true. */
  readonly squeeze?: boolean;
  /** Dims addresses and holes. */
  readonly dim?: (text: string) => string;
}

/** Two digits for each byte, and the character of each for the right column. */
const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const LETTERS = Array.from({ length: 256 }, (_, byte) =>
  byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".",
);

/**
 * A hex dump of one range, made piece by piece: rows of 16 bytes from the first address on, `··` for bytes that could
 * not be read. Rows without any readable byte say why instead of showing characters; however long a hole is, it takes
 * three lines at most.
 */
export class HexDump {
  readonly #squeeze: boolean;
  readonly #dim: (text: string) => string;
  /** Address of the row under way. */
  #address: bigint;
  readonly #row = new Int16Array(ROW);
  #filled = 0;
  /** What the row says in the right column if none of its bytes could be read. */
  #label = "";
  /** The body of the last row that was shown, and whether rows like it were left out since. */
  #shown: string | undefined;
  #skipped: { address: bigint; body: string } | undefined;

  constructor(start: bigint, options: HexDumpOptions = {}) {
    this.#address = start;
    this.#squeeze = options.squeeze ?? true;
    this.#dim = options.dim ?? ((text) => text);
  }

  /** Bytes that were read, next in the range. @returns the lines that are complete. */
  data(bytes: Uint8Array): string {
    let text = "";
    for (let i = 0; i < bytes.length; i++) {
      this.#row[this.#filled++] = bytes[i] as number;
      if (this.#filled === ROW) text += this.#flush(this.#squeeze);
    }
    return text;
  }

  /** Bytes that were not, and why. @returns the lines that are complete. */
  hole(length: bigint, label: string): string {
    let text = "";
    let left = length;
    this.#label = label;
    // Rows that are wholly in this hole.
    let whole = -1;
    while (left > 0n) {
      if (this.#filled === 0) {
        whole++;
        if (whole > 1 && left >= 32n) {
          // The rows from here on repeat the last one: skip all but the last of them.
          const bytes = (left / 16n - 1n) * 16n;
          this.#address += bytes;
          left -= bytes;
        }
      }
      this.#row[this.#filled++] = -1;
      left--;
      if (this.#filled === ROW) text += this.#flush(this.#squeeze || whole >= 0);
    }
    return text;
  }

  /** The range has ended. @returns the lines that are left. */
  end(): string {
    let text = this.#filled === 0 ? "" : this.#flush(this.#squeeze);
    if (this.#skipped !== undefined) text += this.#line(this.#skipped.address, this.#skipped.body);
    this.#skipped = undefined;
    return text;
  }

  #flush(squeeze: boolean): string {
    const body = this.#body();
    const address = this.#address;
    this.#address += BigInt(this.#filled);
    this.#filled = 0;
    if (squeeze && body === this.#shown) {
      const first = this.#skipped === undefined;
      this.#skipped = { address, body };
      return first ? "*\n" : "";
    }
    this.#shown = body;
    this.#skipped = undefined;
    return this.#line(address, body);
  }

  #line(address: bigint, body: string): string {
    return `${this.#dim(address.toString(16).padStart(16, "0"))}  ${body}\n`;
  }

  /** A row but for its address. */
  #body(): string {
    let digits = "";
    let letters = "";
    let known = false;
    for (let i = 0; i < ROW; i++) {
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
    return known ? `${digits} |${letters}|` : `${this.#dim(digits)} ${this.#dim(this.#label)}`;
  }
}
