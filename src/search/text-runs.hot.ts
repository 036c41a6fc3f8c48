/** Finds runs of printable characters in bytes. */

/** Where a run is, in bytes, and how many characters it has. */
export interface TextRun {
  start: number;
  end: number;
  characters: number;
}

/** Finds runs of one encoding, the whole of each: they end at the first character that is not printable, or with the bytes. */
export interface RunFinder {
  /** Bytes of the longest character. */
  readonly width: number;
  /**
   * The first run of at least `least` characters that begins at `from` or behind, and before `until`. No run that begins there and has
   * as many goes on beyond the bytes unnoticed: `run.end` is as far as they go.
   */
  next(bytes: Uint8Array, from: number, until: number, least: number, run: TextRun): boolean;
  /** The run that begins right here, of no characters where there is none. */
  here(bytes: Uint8Array, at: number, run: TextRun): void;
  /** The last end of a character at or before `end`, of a run that begins at `start`. */
  cut(bytes: Uint8Array, start: number, end: number): number;
}

/** What binutils' `strings` takes for text: a tab, and what ASCII has between space and tilde. */
const PRINTABLE = new Uint8Array(256);
PRINTABLE[9] = 1;
for (let byte = 0x20; byte < 0x7f; byte++) PRINTABLE[byte] = 1;

/** ASCII, a byte a character. */
export const ASCII_RUNS: RunFinder = {
  width: 1,
  next(bytes, from, until, least, run) {
    // A run that begins here or behind has the last byte of the next `least` ones, or begins behind it.
    const step = least - 1;
    const size = bytes.length;
    let at = from;
    while (at < until) {
      const probe = at + step;
      if (probe >= size) return false;
      if (PRINTABLE[bytes[probe] as number] === 0) {
        at = probe + 1;
        continue;
      }
      let start = probe;
      while (start > at && PRINTABLE[bytes[start - 1] as number] === 1) start--;
      if (start >= until) return false;
      let end = probe + 1;
      while (end < size && PRINTABLE[bytes[end] as number] === 1) end++;
      if (end - start >= least) {
        run.start = start;
        run.end = end;
        run.characters = end - start;
        return true;
      }
      at = end + 1;
    }
    return false;
  },
  here(bytes, at, run) {
    let end = at;
    while (end < bytes.length && PRINTABLE[bytes[end] as number] === 1) end++;
    run.start = at;
    run.end = end;
    run.characters = end - at;
  },
  cut: (_, __, end) => end,
};

/**
 * UTF-16 of ASCII's characters, at even and odd places. (No byte can belong to two runs: of each character, one byte is zero and
 * the other is not.)
 *
 * @param letter Which byte of a character has its letter: 0 for little-endian.
 */
function utf16Runs(letter: 0 | 1): RunFinder {
  const zero = 1 - letter;
  const isAt = (bytes: Uint8Array, at: number) =>
    bytes[at + zero] === 0 && PRINTABLE[bytes[at + letter] as number] === 1;
  return {
    width: 2,
    next(bytes, from, until, least, run) {
      const step = 2 * least - 2;
      const last = bytes.length - 2;
      let at = from;
      while (at < until) {
        // A run that begins here or behind has this byte in its first or second half of a character, or begins behind it.
        const probe = at + step;
        if (probe > last) return false;
        let start: number;
        if (isAt(bytes, probe)) start = probe;
        else if (probe > at && isAt(bytes, probe - 1)) start = probe - 1;
        else {
          at = probe + 1;
          continue;
        }
        let end = start + 2;
        while (end <= last && isAt(bytes, end)) end += 2;
        while (start - 2 >= at && isAt(bytes, start - 2)) start -= 2;
        if (start >= until) return false;
        if (end - start >= 2 * least) {
          run.start = start;
          run.end = end;
          run.characters = (end - start) / 2;
          return true;
        }
        at = end + 1;
      }
      return false;
    },
    here(bytes, at, run) {
      let end = at;
      while (end <= bytes.length - 2 && isAt(bytes, end)) end += 2;
      run.start = at;
      run.end = end;
      run.characters = (end - at) / 2;
    },
    cut: (_, start, end) => end - ((end - start) & 1),
  };
}

export const UTF16LE_RUNS: RunFinder = utf16Runs(0);
export const UTF16BE_RUNS: RunFinder = utf16Runs(1);

/**
 * Bytes of the printable character at a place; 0 if there is none, or not all of it.
 *
 * @see The Unicode Standard, 3.9, table 3-7: what is well-formed. C1 controls (U+0080 to U+009F) are not printable.
 */
function utf8Length(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] as number;
  if (lead < 0x80) return PRINTABLE[lead] as number;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  const next = bytes[at + 1] as number;
  const low = lead === 0xc2 || lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (next < low || next > high) return 0;
  for (let i = 2; i < length; i++) if (((bytes[at + i] as number) & 0xc0) !== 0x80) return 0;
  return length;
}

/** UTF-8: ASCII's printable characters, and all others but controls. */
export const UTF8_RUNS: RunFinder = {
  width: 4,
  next(bytes, from, until, least, run) {
    let at = from;
    while (at < until) {
      if (utf8Length(bytes, at) === 0) {
        at++;
        continue;
      }
      this.here(bytes, at, run);
      if (run.characters >= least) return true;
      at = run.end + 1;
    }
    return false;
  },
  here(bytes, at, run) {
    let end = at;
    let characters = 0;
    while (end < bytes.length) {
      const length = utf8Length(bytes, end);
      if (length === 0) break;
      end += length;
      characters++;
    }
    run.start = at;
    run.end = end;
    run.characters = characters;
  },
  cut(bytes, _, end) {
    let at = end;
    // (Bytes that go on with a character are 10xxxxxx.)
    while (((bytes[at] as number) & 0xc0) === 0x80) at--;
    return at;
  },
};
