/** Guided fuzzing: inputs that reach branches which none has reached before are kept, and changed further. */
import fc from "fast-check";
import { random } from "../support/bytes.js";
import type { DumpInput, FormatCase } from "../support/format-suite.js";
import { check } from "./check.js";
import { mutate } from "./mutate.js";

/** Bytes of an input. */
export const MAX_LENGTH = 64 * 1024;
/** Memory outside of the heap that one input may take: it reads 16 KiB through caches of 32 MiB. */
const MAX_BUFFERS = 256 * 2 ** 20;
/** Different failures after which a format is given up. */
const MAX_FOUND = 10;

/** An input that failed. */
export interface Found {
  readonly bytes: Uint8Array;
  readonly why: string;
}

/** Where the input under way is told, for who watches. */
export interface Shared {
  begin(input: Uint8Array): void;
}

/** Counters as the instrumenter makes them, by file: of statements, and of the ways of each branch. */
type Counters = Record<string, { s: ArrayLike<number>; b: ArrayLike<ArrayLike<number>> }>;

/** What has been reached so far: a bit for each power of two of each counter. */
class Coverage {
  readonly #counts: Uint32Array[] = [];
  readonly #seen: Uint32Array[] = [];
  reached = 0;

  constructor() {
    const counters = (globalThis as { __fuzz__?: Counters }).__fuzz__;
    if (counters === undefined) throw new Error("nothing is instrumented: run it through run.mjs");
    for (const file of Object.values(counters)) {
      // Objects by default; looking through ten thousand of them took a hundred times what reading a dump does.
      const statements = new Uint32Array(Object.keys(file.s).length);
      const ways = Object.values(file.b).map(({ length }) => length);
      const branches = new Uint32Array(ways.reduce((sum, length) => sum + length, 0));
      let at = 0;
      file.s = statements;
      file.b = ways.map((length) => {
        at += length;
        return branches.subarray(at - length, at);
      });
      for (const counts of [statements, branches]) {
        this.#counts.push(counts);
        this.#seen.push(new Uint32Array(counts.length));
      }
    }
  }

  /** Takes the counts of one input and clears them. @returns whether it reached something new. */
  take(): boolean {
    let isNew = false;
    for (let n = 0; n < this.#counts.length; n++) {
      const counts = this.#counts[n] as Uint32Array;
      const seen = this.#seen[n] as Uint32Array;
      for (let i = 0; i < counts.length; i++) {
        const count = counts[i] as number;
        if (count === 0) continue;
        const bit = 1 << Math.min(31, 32 - Math.clz32(count));
        const before = seen[i] as number;
        if ((before & bit) !== 0) continue;
        if (before === 0) this.reached++;
        seen[i] = before | bit;
        isNew = true;
      }
      counts.fill(0);
    }
    return isNew;
  }
}

/** The dump that damaged bytes stand for. */
export function inputOf(format: FormatCase, bytes: Uint8Array): DumpInput {
  return format.damaged?.(bytes) ?? { ...format.small, file: bytes };
}

/** Fuzzes a format. @returns what was done, for people. */
export function fuzz(
  format: FormatCase,
  seconds: number,
  seed: number,
  shared: Shared,
  report: (found: Found) => void,
): string {
  const next = random(seed);
  const coverage = new Coverage();
  const seeds = [format.victim ?? format.small.file];
  // Samples stand for themselves only where one file is all there is.
  if (format.victim === undefined && format.small.parts === undefined && format.small.beside === undefined) {
    for (const { file } of fc.sample(format.samples, { numRuns: 20, seed })) seeds.push(file);
  }
  const corpus: Uint8Array[] = seeds.filter(({ length }) => length <= MAX_LENGTH);
  const found = new Set<string>();
  const until = Date.now() + seconds * 1000;
  let runs = 0;
  const run = (bytes: Uint8Array) => {
    shared.begin(bytes);
    runs++;
    const why = failureOf(format, bytes);
    const isNew = coverage.take();
    if (why !== undefined) {
      const kind = why.replace(/\d+/g, "N");
      if (!found.has(kind)) {
        found.add(kind);
        report({ bytes: shrink(format, bytes, kind, shared), why });
      }
    }
    return isNew;
  };
  for (const bytes of [...corpus]) run(bytes);
  while (Date.now() < until && found.size < MAX_FOUND) {
    const pick = () =>
      corpus[next(2) === 0 ? next(corpus.length) : Math.max(0, corpus.length - 1 - next(20))] as Uint8Array;
    const bytes = mutate(pick(), pick(), next, MAX_LENGTH);
    if (run(bytes)) corpus.push(bytes);
  }
  return (
    `${runs} inputs, ${coverage.reached} places reached, ${corpus.length} inputs kept, ` +
    `${found.size} failures (seed ${seed})`
  );
}

/** What is wrong with an input; `undefined` if nothing is. */
function failureOf(format: FormatCase, bytes: Uint8Array): string | undefined {
  const before = process.memoryUsage().arrayBuffers;
  try {
    check(inputOf(format, bytes.slice()), format.size);
  } catch (error) {
    const { message, stack = "" } = error as Error;
    const place = /\((?:file:\/\/)?[^)]*?((?:src|connectors|test)\/[^):]+:\d+)/.exec(stack)?.[1] ?? "";
    return `${(error as Error).name}: ${message} ${place}`;
  }
  const more = process.memoryUsage().arrayBuffers - before;
  return more > MAX_BUFFERS ? `${Math.round(more / 2 ** 20)} MiB of buffers` : undefined;
}

/** A shorter input that fails alike: cut from behind, then with stretches set to zero. */
function shrink(format: FormatCase, bytes: Uint8Array, kind: string, shared: Shared): Uint8Array {
  const fails = (tried: Uint8Array) => {
    shared.begin(tried);
    return failureOf(format, tried)?.replace(/\d+/g, "N") === kind;
  };
  let least = bytes;
  for (let step = least.length >> 1; step > 0; step >>= 1) {
    while (least.length > step && fails(least.subarray(0, least.length - step))) {
      least = least.slice(0, least.length - step);
    }
  }
  for (let step = 256; step >= 4; step >>= 2) {
    for (let at = 0; at < least.length; at += step) {
      const tried = least.slice();
      tried.fill(0, at, at + step);
      if (tried.some((byte, i) => byte !== least[i]) && fails(tried)) least = tried;
    }
  }
  return least;
}
