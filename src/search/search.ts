/** Searches memory for patterns, in one pass and bounded memory. */
import type { Address } from "../io/packet-io.js";
import { IoSequence, type Sink } from "../io/sequence.js";
import type { Routine } from "../io/wait.js";
import type { AddressSpace } from "../memory/address-space.js";
import { PhysicalMemory } from "../memory/physical-memory.js";
import { WASM_PAGE } from "../wasm/platform.js";
import { SLACK } from "./find-code.js";
import { HelpedSearch } from "./helped-search.js";
import { type Matcher, matcherOf } from "./matchers.js";
import {
  type CompiledPattern,
  compilePattern,
  contextOf,
  PatternError,
  type SearchPattern,
} from "./patterns.js";
import { type ScanOptions, type ScanPart, scan, scanMemorySize } from "./scan.js";
import type { SearchHost } from "./search-host.js";
import { newTask } from "./search-task.js";
import { tablesSize, wasmMatchers } from "./wasm-matchers.js";

type Abi = AddressSpace<Address>["abi"];

/** A match. */
export interface SearchHit {
  /** Of its first byte, in the space that was searched. */
  readonly address: bigint;
  /** The same, where that is physical memory. */
  readonly physical?: number;
  /** In bytes. */
  readonly length: number;
  /** Which pattern: its place in the list. */
  readonly pattern: number;
}

/** Options of {@link searchSpace}. */
export interface SearchOptions extends Pick<ScanOptions, "ranges" | "piece" | "onHole" | "onProgress"> {
  /** What the platform does for it. */
  readonly host?: SearchHost | undefined;
}

/**
 * Every match of the patterns, ascending by address (then by pattern), streaming. A match never spans a hole. On Node, `search` of `memtool`
 * gives it what the platform has.
 *
 * @param space `machine.physical`, `linux.memory`, a process's memory; of others, `ranges` says where to look.
 * @throws {PatternError} for a pattern that can't be; {RangeError} as `scan`.
 * @example
 * for await (const hit of searchSpace(machine.physical, [{ text: "password=" }])) console.log(hit.address);
 */
export function searchSpace(
  space: AddressSpace<Address> | AddressSpace<number>,
  patterns: readonly SearchPattern[],
  options: SearchOptions = {},
): IoSequence<SearchHit> {
  if (patterns.length === 0) throw new PatternError("nothing to search for: give a pattern");
  const compiled = patterns.map((pattern) => compilePattern(pattern, space.abi));
  const contexts = compiled.map(contextOf);
  const { ranges, piece, onHole, onProgress, host = {} } = options;
  const plan: Plan = {
    patterns,
    compiled,
    host,
    scanned: {
      ranges,
      piece,
      onHole,
      onProgress,
      overlap: Math.max(...contexts.map(({ behind }) => behind)),
      before: Math.max(...contexts.map(({ before }) => before)),
    },
  };
  scanMemorySize(plan.scanned);
  return IoSequence.of(space.scheduler, searchRoutine, space as AddressSpace<Address>, plan);
}

/** What is to be done. */
interface Plan {
  readonly patterns: readonly SearchPattern[];
  readonly compiled: readonly CompiledPattern[];
  readonly host: SearchHost;
  readonly scanned: ScanOptions;
}

/** (Memory is taken, and threads are started, only now that somebody drives it.) */
function* searchRoutine(sink: Sink<SearchHit>, space: AddressSpace<Address>, plan: Plan): Routine<void> {
  // (A `PhysicalMemory` is no `AddressSpace<Address>`: its addresses are numbers.)
  const any: unknown = space;
  const hits = new Hits(sink, any instanceof PhysicalMemory);
  const helped = helpedBy(plan, space.abi);
  if (helped !== undefined) {
    const { nextMemory } = helped;
    yield* searchTogether(hits, scan(space, { ...plan.scanned, nextMemory }), helped);
    return;
  }
  const { matchers, memory } = matchersOf(plan);
  yield* searchAlone(hits, scan(space, { ...plan.scanned, memory }), matchers);
}

/** Matchers, and memory for the parts: WebAssembly's where the host has it, and lets code be compiled. */
function matchersOf({ compiled: patterns, host, scanned }: Plan) {
  const { wasm } = host;
  const size = scanMemorySize(scanned);
  if (wasm !== undefined && patterns.some(({ kind }) => kind !== "regex")) {
    try {
      const tables = tablesSize(patterns);
      const pages = Math.ceil((tables + size + SLACK) / WASM_PAGE);
      const memory = new wasm.Memory({ initial: pages, maximum: pages });
      const matchers = wasmMatchers(patterns, wasm, { memory, isShared: false }, host);
      return { matchers, memory: new Uint8Array(memory.buffer, tables, size) };
    } catch {
      // No vector instructions, no room, or a page's policy: the plain loops find the same.
    }
  }
  return { matchers: patterns.map((each) => matcherOf(each, host)), memory: new Uint8Array(size) };
}

/** The search with helpers; `undefined` where there are none, or can be none. */
function helpedBy({ patterns, compiled, host, scanned }: Plan, abi: Abi): HelpedSearch | undefined {
  const { wasm, helpers } = host;
  if (wasm === undefined || helpers === undefined || helpers.count === 0) return undefined;
  try {
    const partBytes = scanMemorySize(scanned);
    const task = newTask(wasm, { patterns, compiled, abi, partBytes, helpers: helpers.count });
    const helped = new HelpedSearch(task, wasm, host, helpers);
    helpers.start(task);
    return helped;
  } catch {
    // As above; and one thread finds the same.
    return undefined;
  }
}

function* searchAlone(hits: Hits, parts: IoSequence<ScanPart>, matchers: readonly Matcher[]): Routine<void> {
  const cursor = parts.cursor();
  try {
    for (;;) {
      const next = yield* cursor.next();
      if (next.done === true) return;
      yield* hits.of(next.value, matchers);
    }
  } finally {
    yield* cursor.end();
  }
}

function* searchTogether(hits: Hits, parts: IoSequence<ScanPart>, helped: HelpedSearch): Routine<void> {
  const cursor = parts.cursor();
  let isOver = false;
  try {
    for (;;) {
      while (!isOver && helped.hasRoom) {
        const next = yield* cursor.next();
        if (next.done === true) isOver = true;
        else helped.put(next.value);
      }
      const part = yield* helped.take();
      if (part === undefined) return;
      yield* hits.of(part, helped.matchers);
      helped.release();
    }
  } finally {
    helped.close();
    yield* cursor.end();
  }
}

/** Emits hits in order. */
class Hits {
  readonly #sink: Sink<SearchHit>;
  readonly #isPhysical: boolean;

  constructor(sink: Sink<SearchHit>, isPhysical: boolean) {
    this.#sink = sink;
    this.#isPhysical = isPhysical;
  }

  *of(part: ScanPart, matchers: readonly Matcher[]): Routine<void> {
    if (part.from >= part.until) return;
    const places = matchers.map((matcher) => {
      matcher.begin(part);
      return matcher.next(part.from);
    });
    for (;;) {
      const pattern = firstOf(places);
      if (pattern < 0) return;
      const { length } = matchers[pattern] as Matcher;
      const at = places[pattern] as number;
      const address = part.address + BigInt(at);
      yield this.#sink.emit(
        this.#isPhysical
          ? { address, physical: Number(address), length, pattern }
          : { address, length, pattern },
      );
      places[pattern] = (matchers[pattern] as Matcher).next(at + 1);
    }
  }
}

/** Which of the places is the lowest; -1 if all are. */
function firstOf(places: readonly number[]): number {
  let first = -1;
  for (let i = 0; i < places.length; i++) {
    const at = places[i] as number;
    if (at >= 0 && (first < 0 || at < (places[first] as number))) first = i;
  }
  return first;
}
