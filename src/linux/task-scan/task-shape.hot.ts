/** Places in memory that look like a task at first sight: by a few words of each, without reading anything else. */

/** Where those words are, in 32-bit words from the beginning of the structure. */
export interface TaskShape {
  /** Of pointers, the word that tells that they are the kernel's (of 64 bits, the higher one). */
  readonly pointers: Int32Array;
  /** From a pointer's word to the one whose lowest bits are zero: -1, or 0 for pointers of 32 bits. */
  readonly low: number;
  /** Least value of that word, of a pointer of the kernel's. */
  readonly least: number;
  /** Words of numbers of tasks. */
  readonly numbers: Int32Array;
  /** Words of priorities. */
  readonly priorities: Int32Array;
  /** The higher word of the time when it was started. */
  readonly start: number;
  /** First of the four words of its name. */
  readonly comm: number;
}

/** PID_MAX_LIMIT, include/linux/threads.h. */
export const MAX_PID = 4 * 1024 * 1024;
/** MAX_PRIO, which idle tasks have; deadline tasks have -1. (include/linux/sched/prio.h) */
const MAX_PRIORITY = 140;
/** 2^58 ns are nine years. */
const MAX_START = 1 << 26;

/**
 * Adds to `found` the byte offsets of places that look like tasks.
 *
 * @param from  First place, in words.
 * @param until Places up to there (exclusive), in words; a whole structure must lie behind each.
 * @param step  Words from one place to the next.
 */
export function findShapes(
  words: Int32Array,
  from: number,
  until: number,
  step: number,
  shape: TaskShape,
  found: number[],
): void {
  const { pointers, low, least, numbers, priorities, start, comm } = shape;
  const count = pointers.length;
  const enough = count - 2;
  for (let at = from; at < until; at += step) {
    let good = 0;
    for (let i = 0; i < count; i++) {
      // Most memory has no such pointer at all.
      if (good + count - i < enough) break;
      const place = at + (pointers[i] as number);
      if ((words[place] as number) >>> 0 >= least && ((words[place + low] as number) & 3) === 0) good++;
    }
    if (good < enough) continue;
    let bad = 0;
    for (let i = 0; i < numbers.length; i++) {
      if ((words[at + (numbers[i] as number)] as number) >>> 0 > MAX_PID) bad++;
    }
    for (let i = 0; i < priorities.length; i++) {
      // (-1 is the first.)
      if (((words[at + (priorities[i] as number)] as number) + 1) >>> 0 > MAX_PRIORITY + 1) bad++;
    }
    if ((words[at + start] as number) >>> 0 > MAX_START) bad++;
    if (!isName(words, at + comm)) bad++;
    if (bad <= 2) found.push(at * 4);
  }
}

/** Whether four words are text with an end. */
function isName(words: Int32Array, at: number): boolean {
  for (let i = 0; i < 16; i++) {
    const byte = ((words[at + (i >> 2)] as number) >>> ((i & 3) * 8)) & 0xff;
    if (byte === 0) return i > 0;
    if (byte < 0x20) return false;
  }
  return false;
}
