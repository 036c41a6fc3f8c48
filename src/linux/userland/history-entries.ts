/**
 * Entries of a shell's history in bytes of its heap.
 *
 * Facts: lib/readline/history.h of bash (`HIST_ENTRY`: pointers to the line, to its timestamp, to data of the application),
 * lib/readline/history.c (`hist_inittime`: the timestamp is a text, the comment character and the seconds since 1970;
 * `the_history` is an array of pointers to the entries).
 */
import { textAt } from "../objects/record.js";

/** Bytes side by side of a process's memory. */
export interface HeapBlock {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** An entry in memory. */
export interface HistoryEntry {
  /** Of its `HIST_ENTRY`. */
  readonly address: bigint;
  /** Seconds since 1970. */
  readonly time: number;
  readonly line: string;
  /** Whether the end of the line could not be read. */
  readonly partial: boolean;
  /** Its place in the shell's list, 0 for the oldest; `undefined` for what is on none: deleted, or the list is not in memory. */
  readonly index: number | undefined;
}

/** From 1973 on, and up to what ten digits hold. */
const MIN_DIGITS = 9;
const MAX_DIGITS = 10;
/** Bytes of a line that are shown: longer commands are cut (and said to be partial). */
const MAX_LINE = 1 << 17;
/** Text of all lines together: entries of hostile memory may all lead to one line. */
const MAX_TEXT = 1 << 24;
/** Texts of times, and entries, of one process: shells keep some hundreds, and those that are told to, some hundred thousands. */
const MAX_STAMPS = 1 << 19;
const MAX_ENTRIES = 1 << 19;

/** Is told from where on something is left out, and what. */
export type OnCut = (address: bigint, what: string) => void;

/**
 * All entries, by time and place in the list.
 *
 * @param blocks Ascending.
 * @param onCut  Is told where there are more than any shell has.
 */
export function findHistory(
  blocks: readonly HeapBlock[],
  pointerSize: 4 | 8,
  onCut: OnCut = () => {},
): HistoryEntry[] {
  const stamps = new Map<number, number>();
  for (const block of blocks) if (!findStamps(block, stamps, onCut)) break;
  if (stamps.size === 0) return [];
  const places = findEntries(blocks, pointerSize, stamps, onCut);
  const order = listOrder(blocks, pointerSize, new Set(places.map(({ address }) => address)));
  const entries: HistoryEntry[] = [];
  let left = MAX_TEXT;
  for (const { address, time, line } of places) {
    if (left <= 0) {
      onCut(
        BigInt(address),
        `commands of more than ${MAX_TEXT >> 20} million characters: the rest is left out`,
      );
      break;
    }
    const text = textOf(blocks, line);
    if (text === undefined) continue;
    left -= text.line.length;
    entries.push({ address: BigInt(address), time, ...text, index: order.get(address) });
  }
  const none = Number.POSITIVE_INFINITY;
  return entries.sort(
    (a, b) =>
      a.time - b.time || (a.index ?? none) - (b.index ?? none) || (a.address < b.address ? -1 : 1) || 0,
  );
}

/** Texts such as "#1700000000", by their addresses. @returns whether there may be more. */
function findStamps({ address, bytes }: HeapBlock, stamps: Map<number, number>, onCut: OnCut): boolean {
  const base = Number(address);
  for (let at = bytes.indexOf(0x23); at >= 0; at = bytes.indexOf(0x23, at + 1)) {
    let end = at + 1;
    let time = 0;
    while (end < bytes.length && end - at <= MAX_DIGITS + 1) {
      const digit = (bytes[end] as number) - 0x30;
      if (digit < 0 || digit > 9) break;
      time = time * 10 + digit;
      end++;
    }
    const digits = end - at - 1;
    if (bytes[end] !== 0 || digits < MIN_DIGITS || digits > MAX_DIGITS) continue;
    if (stamps.size === MAX_STAMPS) {
      onCut(
        address + BigInt(at),
        `more than ${MAX_STAMPS} times: commands of those from here on are left out`,
      );
      return false;
    }
    stamps.set(base + at, time);
  }
  return true;
}

interface EntryPlace {
  readonly address: number;
  readonly line: number;
  readonly time: number;
}

/** Pointers to timestamps, behind pointers to something. */
function findEntries(
  blocks: readonly HeapBlock[],
  pointerSize: 4 | 8,
  stamps: ReadonlyMap<number, number>,
  onCut: OnCut,
): EntryPlace[] {
  const found: EntryPlace[] = [];
  let isCut = false;
  for (const block of blocks) {
    const base = Number(block.address);
    let before = 0;
    eachWord(block, pointerSize, (at, value) => {
      const time = stamps.get(value);
      if (time !== undefined && before !== 0 && at >= pointerSize) {
        if (found.length < MAX_ENTRIES) found.push({ address: base + at - pointerSize, line: before, time });
        else if (!isCut) {
          isCut = true;
          onCut(BigInt(base + at - pointerSize), `more than ${MAX_ENTRIES} commands: the rest is left out`);
        }
      }
      before = value;
    });
  }
  return found;
}

/** The longest array of pointers to entries is the list: places in it by the entries' addresses. */
function listOrder(
  blocks: readonly HeapBlock[],
  pointerSize: 4 | 8,
  entries: ReadonlySet<number>,
): Map<number, number> {
  let longest: number[] = [];
  for (const block of blocks) {
    let run: number[] = [];
    let seen = new Set<number>();
    const end = () => {
      if (run.length === 0) return;
      if (run.length > longest.length) longest = run;
      run = [];
      seen = new Set();
    };
    eachWord(block, pointerSize, (_, value) => {
      // (A list has no entry twice.)
      if (!entries.has(value) || seen.has(value)) end();
      if (!entries.has(value)) return;
      run.push(value);
      seen.add(value);
    });
    end();
  }
  return new Map(longest.map((address, i) => [address, i]));
}

/** Each aligned word; those beyond 2^53 are no addresses of programs, and come as 0. */
function eachWord(
  { address, bytes }: HeapBlock,
  pointerSize: 4 | 8,
  use: (at: number, value: number) => void,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const first = Number(-address & BigInt(pointerSize - 1));
  for (let at = first; at + pointerSize <= bytes.length; at += pointerSize) {
    const high = pointerSize === 8 ? view.getUint32(at + 4, true) : 0;
    use(at, high < 2 ** 21 ? high * 2 ** 32 + view.getUint32(at, true) : 0);
  }
}

/** The text at an address; `undefined` if there is none. */
function textOf(
  blocks: readonly HeapBlock[],
  address: number,
): { readonly line: string; readonly partial: boolean } | undefined {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Number((blocks[middle] as HeapBlock).address) <= address) low = middle + 1;
    else high = middle;
  }
  const block = blocks[low - 1];
  if (block === undefined) return undefined;
  const at = address - Number(block.address);
  if (at >= block.bytes.length || block.bytes[at] === 0) return undefined;
  const limit = Math.min(at + MAX_LINE, block.bytes.length);
  const partial = !block.bytes.subarray(at, limit).includes(0);
  return { line: textAt(block.bytes, at, limit), partial };
}
