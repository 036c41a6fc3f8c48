/** Matching of names: glob patterns, and how far one name is from another. */

/**
 * Whether a glob pattern matches a whole name: `*` any characters, `?` one, `[a-z]` and `[!a-z]` one of a set, `\` the
 * next character itself. An unclosed `[` is that character. Time is at most the product of the lengths.
 */
export function matchesGlob(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  // Where to go on when a match fails: after the last star, one character further.
  let starP = -1;
  let starN = 0;
  while (n < name.length) {
    if (pattern[p] === "*") {
      starP = ++p;
      starN = n;
      continue;
    }
    const next = p < pattern.length ? matchOne(pattern, p, name[n] as string) : -1;
    if (next >= 0) {
      p = next;
      n++;
    } else if (starP >= 0) {
      p = starP;
      n = ++starN;
    } else {
      return false;
    }
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

/** Matches the pattern's element at `p` against one character. @returns where the next element is, or -1. */
function matchOne(pattern: string, p: number, character: string): number {
  const element = pattern[p];
  if (element === "?") return p + 1;
  if (element === "\\" && p + 1 < pattern.length) return pattern[p + 1] === character ? p + 2 : -1;
  if (element === "[") {
    const negated = pattern[p + 1] === "!" || pattern[p + 1] === "^";
    const first = p + (negated ? 2 : 1);
    const close = pattern.indexOf("]", first + 1);
    if (close >= 0) return inSet(pattern, first, close, character) !== negated ? close + 1 : -1;
  }
  return element === character ? p + 1 : -1;
}

function inSet(pattern: string, first: number, close: number, character: string): boolean {
  for (let i = first; i < close; i++) {
    const low = pattern[i] as string;
    if (pattern[i + 1] === "-" && i + 2 < close) {
      if (low <= character && character <= (pattern[i + 2] as string)) return true;
      i += 2;
    } else if (low === character) {
      return true;
    }
  }
  return false;
}

/** Whether a name is a pattern for {@link matchesGlob}. */
export function isGlob(name: string): boolean {
  return /[*?[\\]/.test(name);
}

const FIRST_ROW = 256;
let before = new Uint16Array(FIRST_ROW);
let row = new Uint16Array(FIRST_ROW);

/**
 * Levenshtein distance (insert, delete, replace one character), or `limit + 1` if it is more than `limit`. Letters'
 * case costs nothing.
 */
export function editDistance(a: string, b: string, limit: number): number {
  const over = limit + 1;
  if (Math.abs(a.length - b.length) > limit) return over;
  if (b.length >= row.length) {
    before = new Uint16Array(b.length + 1);
    row = new Uint16Array(b.length + 1);
  }
  for (let j = 0; j <= b.length; j++) before[j] = Math.min(j, over);
  for (let i = 1; i <= a.length; i++) {
    const from = Math.max(1, i - limit);
    const to = Math.min(b.length, i + limit);
    let least = from === 1 ? Math.min(i, over) : over;
    row[from - 1] = least;
    const letter = a.charCodeAt(i - 1) | 32;
    for (let j = from; j <= to; j++) {
      const same = letter === (b.charCodeAt(j - 1) | 32) ? 0 : 1;
      const cost = Math.min(
        (before[j - 1] as number) + same,
        (row[j - 1] as number) + 1,
        (j < i + limit ? (before[j] as number) : over) + 1,
        over,
      );
      row[j] = cost;
      if (cost < least) least = cost;
    }
    if (least > limit) return over;
    const swap = before;
    before = row;
    row = swap;
  }
  return Math.min(before[b.length] as number, over);
}
