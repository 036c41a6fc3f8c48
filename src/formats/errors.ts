import { hex, MemtoolError } from "../io/index.js";

/** Why a dump could not be opened. */
export type FormatErrorCode =
  /** The file has no bytes. */
  | "EMPTY_DUMP"
  /** A format, class, byte order or version that memtool knows and does not read. */
  | "UNSUPPORTED_FORMAT"
  /** `format` names none of the formats. */
  | "UNKNOWN_FORMAT"
  /** A header field holds a value that cannot be. */
  | "MALFORMED_DUMP"
  /** The file ends before what is needed to read anything of it. */
  | "TRUNCATED_DUMP"
  /** The memory map that was given is none, or the format says itself where its memory lies. */
  | "BAD_MEMORY_MAP"
  /** The file's headers could not be read; `cause` says why. */
  | "UNREADABLE_DUMP";

/** Where in a dump something is wrong. */
export interface FormatErrorPlace {
  /** Name of the dump file, as its connector gives it. */
  readonly file: string;
  /** File offset in bytes of the field or structure. */
  readonly offset?: number | undefined;
  /** Name of the field, as the format's documentation spells it. */
  readonly field?: string | undefined;
}

/** A dump that cannot be opened: names the file, the place in it, and what to do. */
export class FormatError extends MemtoolError {
  declare readonly code: FormatErrorCode;
  readonly file: string;
  readonly offset: number | undefined;
  readonly field: string | undefined;

  constructor(
    code: FormatErrorCode,
    place: FormatErrorPlace,
    problem: string,
    options?: { cause?: unknown },
  ) {
    const field = place.field === undefined ? "" : ` ${place.field}`;
    const at = place.offset === undefined ? "" : ` at file offset ${hex(place.offset)}`;
    super(code, `${place.file}:${field}${at}${field + at === "" ? "" : ":"} ${problem}`, options);
    this.file = place.file;
    this.offset = place.offset;
    this.field = place.field;
  }
}

/** Warnings of one dump, of which there can be as many as it has segments: the first few in full, then a count. */
export class Warnings {
  readonly #limit: number;
  readonly #texts: string[] = [];
  #more = 0;

  constructor(limit = 20) {
    this.#limit = limit;
  }

  add(text: string): void {
    if (this.#texts.length < this.#limit) this.#texts.push(text);
    else this.#more++;
  }

  /** What an error says of them behind its own sentence: `; …` each; empty if there are none. */
  get suffix(): string {
    return this.list()
      .map((text) => `; ${text}`)
      .join("");
  }

  list(): string[] {
    return this.#more === 0 ? [...this.#texts] : [...this.#texts, `and ${this.#more} more warnings`];
  }
}
