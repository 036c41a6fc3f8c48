/** What a search takes of the platform that it runs on. */
import type { Wait } from "../io/wait.js";
import type { Wasm } from "../wasm/platform.js";
import type { MatcherHost } from "./matchers.js";
import type { SearchTask } from "./search-task.js";

/**
 * What the platform does for a search, each if it can: hits are the same without. Node's is what `search` of `memtool` uses; in a
 * browser, give its `WebAssembly` at least.
 */
export interface SearchHost extends MatcherHost {
  /** Several times as fast. */
  readonly wasm?: Wasm | undefined;
  /** Threads that take part. */
  readonly helpers?: SearchHelpers | undefined;
}

/** Threads that take part in one search. */
export interface SearchHelpers {
  /** How many there will be. */
  readonly count: number;
  /** Starts them: each calls `helpSearch` with the task. What starts late, or never, costs nothing but its help. */
  start(task: SearchTask): void;
  /**
   * How many of those that were started have not ended, as far as is known. One that ended amid its work is then not waited for; without
   * this, it is for half a minute.
   */
  readonly running?: number | undefined;
  /**
   * Lets the platform's event loop run, by which it learns that one has ended. Only of a host of searches that nobody drives synchronously:
   * `.sync()` can't wait for it.
   */
  turn?(): Wait;
}
