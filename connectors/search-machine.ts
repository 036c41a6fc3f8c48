/** Search with what Node has: WebAssembly's vector instructions, and all processors. */
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import {
  type Address,
  type AddressSpace,
  type IoSequence,
  MemtoolError,
  type SearchHelpers,
  type SearchHit,
  type SearchOptions,
  type SearchPattern,
  type SearchTask,
  searchSpace,
  type Wait,
} from "../src/index.js";
import type { Machine } from "./machine.js";
import { nodeSearchHost, withNode } from "./search-host.js";
import { startWorker } from "./start-worker.js";

/**
 * One literal is looked for in less time than memory is read in, by one thread: of 1 GiB, a second thread took twice the CPU time and
 * gained nothing. So many literals, or an expression, take longer than that.
 */
const MANY_LITERALS = 4;
/** A thread takes some 30 ms of CPU time to start, and has to compile its code. */
const WORTHWHILE = 2 ** 30;
const WORTHWHILE_REGEX = 256 * 2 ** 20;
/** What reads is one thread: more than these would wait for it. */
const MOST_HELPERS = 7;

/** Options of {@link searchMachine}. */
export interface SearchMachineOptions extends Omit<SearchOptions, "host"> {
  /** Threads in all, with the one that asks; default one a processor (at most 8) where that is worth it: for expressions, many patterns, and much memory. */
  readonly threads?: number | undefined;
}

/**
 * As `searchSpace`, with Node's `WebAssembly`, in one thread.
 *
 * @param space `machine.physical`, `linux.memory`, a process's memory; of others, `ranges` says where to look.
 * @throws {PatternError} for a pattern that can't be; {RangeError} as `scan`; {MemtoolError} `REGEX_TIME` for an expression that
 * takes too long.
 */
export function search(
  space: AddressSpace<Address> | AddressSpace<number>,
  patterns: readonly SearchPattern[],
  options: SearchOptions = {},
): IoSequence<SearchHit> {
  return searchSpace(space, patterns, withNode(options));
}

/**
 * Every match of the patterns in the physical memory of a machine, by several threads: the hits of `search(machine.physical, …)`, in
 * the same order. Ending the loop ends the threads.
 *
 * @throws as `search`; {MemtoolError} `NO_PHYSICAL_MEMORY` where the target is a process.
 * @example
 * for await (const hit of searchMachine(machine, [{ text: "password=" }])) console.log(hit.physical);
 */
export function searchMachine(
  machine: Machine,
  patterns: readonly SearchPattern[],
  options: SearchMachineOptions = {},
): AsyncGenerator<SearchHit, void, void> {
  const { physical } = machine;
  if (physical === undefined)
    throw new MemtoolError(
      "NO_PHYSICAL_MEMORY",
      `${machine.name} is no physical memory: use search(machine.ranges, …)`,
    );
  const { threads, ...rest } = options;
  const count = threads === undefined ? defaultHelpers(physical.map.bytesPresent, patterns) : threads - 1;
  if (!(Number.isInteger(count) && count >= 0 && count <= 63))
    throw new RangeError(`searchMachine: ${threads} threads: 1 to 64`);
  const helpers = new WorkerHelpers(count);
  const hits = searchSpace(physical, patterns, { ...rest, host: { ...nodeSearchHost, helpers } });
  return handOut(hits, helpers);
}

function defaultHelpers(bytes: number, patterns: readonly SearchPattern[]): number {
  const isRegex = patterns.some((pattern) => "regex" in pattern);
  if (!isRegex && patterns.length < MANY_LITERALS) return 0;
  const least = isRegex ? WORTHWHILE_REGEX : WORTHWHILE;
  return bytes < least ? 0 : Math.min(MOST_HELPERS, availableParallelism() - 1);
}

async function* handOut(
  hits: IoSequence<SearchHit>,
  helpers: WorkerHelpers,
): AsyncGenerator<SearchHit, void, void> {
  try {
    yield* hits;
  } finally {
    await helpers.close();
  }
}

class WorkerHelpers implements SearchHelpers {
  readonly count: number;
  readonly #workers: Worker[] = [];
  /** How many have not ended. */
  running = 0;

  constructor(count: number) {
    this.count = count;
  }

  start(task: SearchTask): void {
    for (let i = 0; i < this.count; i++) {
      let worker: Worker;
      try {
        worker = startWorker("search-worker", {
          workerData: task,
          resourceLimits: { maxYoungGenerationSizeMb: 16, maxOldGenerationSizeMb: 128 },
        });
      } catch {
        // Not allowed, or no room for it: the work is done without.
        return;
      }
      worker.unref();
      worker.on("error", () => {});
      worker.once("exit", () => {
        this.running--;
      });
      this.#workers.push(worker);
      this.running++;
    }
  }

  /** (`handOut` alone drives the search, and not synchronously.) */
  turn(): Wait {
    return {
      park: (waker) => {
        setImmediate(() => waker.wake());
        return true;
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
