/** Regular expressions over bytes, whose matches do not depend on where memory was cut into pieces. */
import { hex, MemtoolError } from "../io/errors.js";
import { decodeLatin1 } from "../memory/text.js";
import type { Matcher, MatcherHost } from "./matchers.js";
import type { RegexPattern } from "./patterns.js";
import type { ScanPart } from "./scan.js";

/**
 * Bytes that an expression sees at a time. More only cost where an expression looks far ahead from each place in vain
 * (`a[^]*b`, in memory full of `a`): then this many for each.
 */
const BLOCK = 4096;
/** Matches, and bytes that are looked through, at a time: what a host gives so much time for. */
const TURN_MATCHES = 256;
const TURN_BYTES = 1 << 20;

/** An expression that tries endless ways to match: code `REGEX_TIME`. @internal */
export class RegexTimeError extends MemtoolError {
  /** Of the memory that it does not get through. */
  readonly address: bigint;

  constructor(address: bigint, options?: { cause?: unknown }) {
    super(
      "REGEX_TIME",
      `the regular expression takes too long for the memory from ${hex(address)} on: it tries endless ways to match. ` +
        "Do not repeat what is repeated, as in (a+)+, and bound what is long, as in .{0,64}",
      options,
    );
    this.address = address;
  }
}

/** Bytes of a block, for matches of up to `length` bytes: a power of 2. */
function blockOf(length: number): number {
  return Math.max(BLOCK, 2 ** Math.ceil(Math.log2(length)));
}

/** Bytes before and behind a place that a match there may depend on, within the readable bytes side by side. @internal */
export function regexContext(length: number): number {
  return blockOf(length) + length;
}

/** Whether what matches may depend on what follows a match: in text that was cut there, it could match wrongly. */
function looksAhead(source: string): boolean {
  // (What is escaped, and classes, mean themselves.)
  const rest = source.replace(/\\[^bB]|\[(?:\\.|[^\]\\])*\]/gs, "");
  return /\$|\\[bB]|\(\?[=!]/.test(rest);
}

/**
 * Memory is cut where addresses are multiples of a block, whatever the pieces that it comes in. Matches that begin in a block are
 * those that the expression has in the block's text: its bytes, and as many before and behind as the longest match has.
 */
export class RegexMatcher implements Matcher {
  length = 0;
  readonly #limit: number;
  readonly #block: number;
  readonly #host: MatcherHost;
  readonly #search: RegExp;
  /** Finds the shorter match where one is too long; none is looked for where its end would be taken for that of memory. */
  readonly #here: RegExp | undefined;
  /** Address behind the last match: matches do not overlap. */
  #free = 0n;
  #address = 0n;
  #until = 0;
  #memory = "";
  /** What of the part begins the block that is looked through, and its text. */
  #start = 0;
  #end = 0;
  #textStart = 0;
  #text = "";
  /** Places and lengths of matches that were found ahead, which of them is next, and up to where they were looked for. */
  readonly #found = new Uint32Array(2 * TURN_MATCHES);
  #count = 0;
  #next = 0;
  #searched = 0;
  /** The place in the part that it is at. */
  #at = 0;
  /** Why nothing is found behind what was found ahead. */
  #failure: RegexTimeError | undefined;
  readonly #turn = () => this.#findSome();

  constructor({ regex, length }: RegexPattern, host: MatcherHost) {
    const flags = regex.flags.replace("g", "");
    this.#search = new RegExp(regex.source, `${flags}g`);
    this.#here = looksAhead(regex.source) ? undefined : new RegExp(regex.source, `${flags}y`);
    this.#limit = length;
    this.#block = blockOf(length);
    this.#host = host;
  }

  reset(free: bigint): void {
    this.#free = free;
  }

  begin({ address, bytes, from, until }: ScanPart): void {
    this.#address = address;
    this.#until = until;
    this.#memory = (this.#host.decodeLatin1 ?? decodeLatin1)(bytes);
    this.#end = 0;
    this.#count = 0;
    this.#next = 0;
    this.#searched = from;
    this.#failure = undefined;
  }

  /** (Places that were passed over are not gone back to.) */
  next(at: number): number {
    for (;;) {
      while (this.#next < this.#count) {
        const place = this.#found[2 * this.#next] as number;
        this.length = this.#found[2 * this.#next + 1] as number;
        this.#next++;
        if (place >= at) return place;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#searched >= this.#until) return -1;
      this.#takeTurn();
    }
  }

  #takeTurn(): void {
    const { bound } = this.#host;
    if (bound === undefined) {
      this.#turn();
      return;
    }
    try {
      bound(this.#turn);
    } catch (cause) {
      if (!(cause instanceof MemtoolError && cause.code === "REGEX_TIME")) throw cause;
      // (What was found before is told first.)
      this.#failure = new RegexTimeError(this.#address + BigInt(this.#at), { cause });
    }
  }

  #findSome(): void {
    this.#count = 0;
    this.#next = 0;
    const taken = Number(this.#free - this.#address);
    let at = Math.max(taken, this.#searched);
    const until = Math.min(this.#until, at + TURN_BYTES);
    while (at < until && this.#count < TURN_MATCHES) {
      this.#at = at;
      if (at >= this.#end || at < this.#start) this.#enter(at);
      const end = Math.min(this.#end, until);
      const length = this.#find(at, end);
      if (length === 0) {
        at = end;
        continue;
      }
      const place = this.#textStart + this.#search.lastIndex;
      this.#found[2 * this.#count] = place;
      this.#found[2 * this.#count + 1] = length;
      this.#count++;
      at = place + length;
      this.#free = this.#address + BigInt(at);
    }
    this.#searched = at;
  }

  /** Goes to the block of a place. */
  #enter(at: number): void {
    const size = this.#block;
    this.#start = at - Number((this.#address + BigInt(at)) % BigInt(size));
    this.#end = this.#start + size;
    this.#textStart = Math.max(0, this.#start - this.#limit);
    this.#text = this.#memory.slice(this.#textStart, this.#end + this.#limit);
  }

  /** Length of the first match in the block that begins from `at` to `end`, and its place in `lastIndex`; 0 if there is none. */
  #find(at: number, end: number): number {
    const text = this.#text;
    const base = this.#textStart;
    this.#search.lastIndex = at - base;
    while (this.#search.lastIndex < end - base) {
      const match = this.#search.exec(text);
      if (match === null || match.index >= end - base) return 0;
      const place = match.index;
      let length = match[0].length;
      if (length > this.#limit) length = this.#lengthWithin(place);
      if (length > 0) {
        this.#search.lastIndex = place;
        return length;
      }
      this.#search.lastIndex = place + 1;
    }
    return 0;
  }

  /** Of a match at the place that is too long: of what matches within the limit, or 0. */
  #lengthWithin(place: number): number {
    if (this.#here === undefined) return 0;
    this.#here.lastIndex = place;
    return this.#here.exec(this.#text.slice(0, place + this.#limit))?.[0].length ?? 0;
  }
}
