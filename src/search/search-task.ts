/**
 * One search that several threads take part in, in shared memory: the parts that were read and wait to be looked through, who has
 * claimed which, and what was found. Only one thread reads, and hands out the hits; it looks through parts too.
 */

import type { Address } from "../io/packet-io.js";
import type { AddressSpace } from "../memory/address-space.js";
import { type SharedWasmMemory, WASM_PAGE, type Wasm } from "../wasm/platform.js";
import { SLACK } from "./find-code.js";
import type { Matcher, MatcherHost } from "./matchers.js";
import { type CompiledPattern, compilePattern, type SearchPattern } from "./patterns.js";
import { RegexTimeError } from "./regex-matcher.js";
import type { ScanPart } from "./scan.js";
import { tablesSize, wasmMatchers } from "./wasm-matchers.js";

/** What a helper needs of a search: it can be posted to another thread. */
export interface SearchTask {
  readonly memory: SharedWasmMemory;
  readonly patterns: readonly SearchPattern[];
  readonly abi: Pick<AddressSpace<Address>["abi"], "littleEndian" | "pointerSize">;
  /** Memories that pieces are read into, and bytes of each. */
  readonly memories: number;
  readonly partBytes: number;
  /** Parts under way at most. */
  readonly parts: number;
  /** Hits of a pattern in a part that there is room for; further ones are looked for by the thread that hands them out. */
  readonly room: number;
}

/** What a thread found of a pattern in a part. */
export interface ListedHits {
  /** Place and length of each. */
  readonly hits: Int32Array;
  /** Where it was left: -1 if there is no more. */
  readonly rest: number;
  /** Where the expression took too long, behind the hits: -1 if nowhere. */
  readonly stuck: number;
}

// Words at the beginning of what is shared.
const PUT = 0;
const CLAIMED = 1;
const CLOSED = 2;
/** Changes whenever a helper has a reason to look. */
const BELL = 3;
/** Helpers that have begun and not ended; one that threw has set the other word. */
const INSIDE = 4;
const THREW = 5;
const HEADER_WORDS = 6;
/** Words of a part: whether it is done, its address, where its bytes are, and which of them are new. */
const DONE = 0;
const ADDRESS_LOW = 1;
const ADDRESS_HIGH = 2;
const OFFSET = 3;
const LENGTH = 4;
const FROM = 5;
const UNTIL = 6;
const PART_WORDS = 8;
/** Words of a pattern in a part: hits, where to go on, and where it took too long (-1: nowhere); then place and length of each. */
const COUNT = 0;
const REST = 1;
const STUCK = 2;
const LIST_WORDS = 3;

/** Memory for hits that a search begins with. */
const HIT_BYTES = 2 ** 20;
const MOST_ROOM = 1024;

/** Makes a search that threads can take part in. @throws where there is no room, or no such memory. */
export function newTask(
  wasm: Wasm,
  options: Pick<SearchTask, "patterns" | "abi" | "partBytes"> & {
    readonly compiled: readonly CompiledPattern[];
    readonly helpers: number;
  },
): SearchTask {
  const { patterns, compiled, partBytes, helpers } = options;
  const { littleEndian, pointerSize } = options.abi;
  // For each thread one that it is at, and one that it finds when it is done.
  const memories = 2 * (helpers + 1);
  const parts = 2 * memories;
  const fits = Math.floor(HIT_BYTES / (8 * parts * patterns.length));
  const sizes = { memories, partBytes, parts, room: Math.min(MOST_ROOM, Math.max(16, fits)) };
  const pages = Math.ceil(layoutOf(compiled, sizes).size / WASM_PAGE);
  const memory: unknown = new wasm.Memory({ initial: pages, maximum: pages, shared: true });
  return { memory: memory as SharedWasmMemory, patterns, abi: { littleEndian, pointerSize }, ...sizes };
}

/** Where everything is; all in bytes. */
function layoutOf(
  compiled: readonly CompiledPattern[],
  { memories, partBytes, parts, room }: Pick<SearchTask, "memories" | "partBytes" | "parts" | "room">,
) {
  const header = Math.ceil(tablesSize(compiled) / 64) * 64;
  const partWords = PART_WORDS + compiled.length * (LIST_WORDS + 2 * room);
  const words = HEADER_WORDS + parts * partWords;
  const first = Math.ceil((header + 4 * words) / 64) * 64;
  const step = Math.ceil((partBytes + SLACK) / 64) * 64;
  return { header, words, partWords, first, step, size: first + memories * step };
}

/** A thread's view of a task. */
export class TaskView {
  readonly task: SearchTask;
  readonly compiled: readonly CompiledPattern[];
  /** This thread's own. */
  readonly matchers: readonly Matcher[];
  readonly #words: Int32Array;
  readonly #partWords: number;
  readonly #memories: readonly Uint8Array[];

  /** @throws where there is no room, or no such code. */
  constructor(task: SearchTask, wasm: Wasm, host: MatcherHost) {
    this.task = task;
    this.compiled = task.patterns.map((pattern) => compilePattern(pattern, task.abi));
    const { header, words, partWords, first, step } = layoutOf(this.compiled, task);
    const { buffer } = task.memory;
    this.matchers = wasmMatchers(this.compiled, wasm, { memory: task.memory, isShared: true }, host);
    this.#words = new Int32Array(buffer, header, words);
    this.#partWords = partWords;
    this.#memories = Array.from(
      { length: task.memories },
      (_, i) => new Uint8Array(buffer, first + i * step, task.partBytes),
    );
  }

  /** Where a piece may be read to. */
  memory(index: number): Uint8Array {
    return this.#memories[index] as Uint8Array;
  }

  get isClosed(): boolean {
    return Atomics.load(this.#words, CLOSED) !== 0;
  }

  /** Nobody claims anything from now on. */
  close(): void {
    Atomics.store(this.#words, CLOSED, 1);
    this.#ring();
  }

  /** Lets a part be claimed: the next one. */
  put(sequence: number, { address, bytes, from, until }: ScanPart): void {
    const base = this.#part(sequence);
    const words = this.#words;
    words[base + DONE] = 0;
    words[base + ADDRESS_LOW] = Number(BigInt.asIntN(32, address));
    words[base + ADDRESS_HIGH] = Number(BigInt.asIntN(32, address >> 32n));
    words[base + OFFSET] = bytes.byteOffset;
    words[base + LENGTH] = bytes.length;
    words[base + FROM] = from;
    words[base + UNTIL] = until;
    Atomics.store(words, PUT, sequence + 1);
    this.#ring();
  }

  /** Looks through the next part that nobody has claimed. @returns false if there is none. */
  work(): boolean {
    const words = this.#words;
    for (;;) {
      const next = Atomics.load(words, CLAIMED);
      if (next >= Atomics.load(words, PUT) || this.isClosed) return false;
      if (Atomics.compareExchange(words, CLAIMED, next, next + 1) !== next) continue;
      const part = this.#read(next);
      for (let i = 0; i < this.matchers.length; i++) this.#list(next, i, part);
      const done = this.#part(next) + DONE;
      Atomics.store(words, done, 1);
      Atomics.notify(words, done);
      return true;
    }
  }

  /** Takes part until the search is over. */
  help(): void {
    const words = this.#words;
    Atomics.add(words, INSIDE, 1);
    try {
      for (;;) {
        const bell = Atomics.load(words, BELL);
        if (this.isClosed) return;
        if (!this.work()) Atomics.wait(words, BELL, bell);
      }
    } catch (error) {
      Atomics.store(words, THREW, 1);
      throw error;
    } finally {
      Atomics.sub(words, INSIDE, 1);
    }
  }

  /** Whether a helper has ended amid its work. @param running How many have not ended, if that is known. */
  hasLost(running: number | undefined): boolean {
    if (Atomics.load(this.#words, THREW) !== 0) return true;
    return running !== undefined && Atomics.load(this.#words, INSIDE) > running;
  }

  /** Whether a part was looked through; waits so many milliseconds for it. */
  isDone(sequence: number, patience: number): boolean {
    const done = this.#part(sequence) + DONE;
    return (
      Atomics.load(this.#words, done) === 1 || Atomics.wait(this.#words, done, 0, patience) !== "timed-out"
    );
  }

  /** What was found of a pattern in a part that is done. */
  listed(sequence: number, pattern: number): ListedHits {
    const list = this.#listAt(sequence, pattern);
    const count = this.#words[list + COUNT] as number;
    const start = list + LIST_WORDS;
    return {
      hits: this.#words.subarray(start, start + 2 * count),
      rest: this.#words[list + REST] as number,
      stuck: this.#words[list + STUCK] as number,
    };
  }

  #ring(): void {
    Atomics.add(this.#words, BELL, 1);
    Atomics.notify(this.#words, BELL);
  }

  #part(sequence: number): number {
    return HEADER_WORDS + (sequence % this.task.parts) * this.#partWords;
  }

  #listAt(sequence: number, pattern: number): number {
    return this.#part(sequence) + PART_WORDS + pattern * (LIST_WORDS + 2 * this.task.room);
  }

  #read(sequence: number): ScanPart {
    const base = this.#part(sequence);
    const word = (index: number) => this.#words[base + index] as number;
    const low = BigInt(word(ADDRESS_LOW) >>> 0);
    const high = BigInt(word(ADDRESS_HIGH) >>> 0);
    return {
      address: (high << 32n) | low,
      bytes: new Uint8Array(this.task.memory.buffer, word(OFFSET), word(LENGTH)),
      from: word(FROM),
      until: word(UNTIL),
      isFirst: false,
      isLast: false,
    };
  }

  #list(sequence: number, pattern: number, part: ScanPart): void {
    const words = this.#words;
    const list = this.#listAt(sequence, pattern);
    const matcher = this.matchers[pattern] as Matcher;
    const { room } = this.task;
    let count = 0;
    let rest = part.from;
    let stuck = -1;
    try {
      matcher.reset(0n);
      matcher.begin(part);
      while (count < room) {
        const at = matcher.next(rest);
        if (at < 0) {
          rest = -1;
          break;
        }
        words[list + LIST_WORDS + 2 * count] = at;
        words[list + LIST_WORDS + 2 * count + 1] = matcher.length;
        count++;
        rest = at + 1;
      }
    } catch (error) {
      // Whoever hands out the hits comes to it, and gets the error; but need not wait for it again where it takes long.
      if (error instanceof RegexTimeError) stuck = Number(error.address - part.address);
    }
    words[list + COUNT] = count;
    words[list + REST] = rest;
    words[list + STUCK] = stuck;
  }
}

/** A helper's part in a search: returns when it is over. @throws where its host can't. */
export function helpSearch(task: SearchTask, wasm: Wasm, host: MatcherHost): void {
  new TaskView(task, wasm, host).help();
}
