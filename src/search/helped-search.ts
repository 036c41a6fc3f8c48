/** The side of a search with helpers that reads, and hands out the hits. */
import type { Routine } from "../io/wait.js";
import type { Wasm } from "../wasm/platform.js";
import type { Matcher, MatcherHost } from "./matchers.js";
import { RegexTimeError } from "./regex-matcher.js";
import type { ScanPart } from "./scan.js";
import type { SearchHelpers } from "./search-host.js";
import { type ListedHits, type SearchTask, TaskView } from "./search-task.js";

/** Milliseconds that a helper may be at a part: more than a host gives an expression. Then it is taken for dead. */
const PATIENCE = 30_000;
/** Milliseconds between two looks at whether the helpers are still there. */
const SLICE = 10;

/** A part under way. */
interface Put {
  readonly part: ScanPart;
  /** Which memory its bytes are in. */
  readonly memory: number;
}

/** See the module's comment. Parts come out as they were put in. */
export class HelpedSearch {
  /** Of the part that was taken last: what others found in it, else this thread's own. */
  readonly matchers: readonly ListedMatcher[];
  readonly #view: TaskView;
  readonly #helpers: SearchHelpers;
  readonly #puts: Put[] = [];
  /** Parts in each memory. */
  readonly #inMemory: number[];
  #memory = 0;
  /** Parts so far. */
  #put = 0;
  #taken = 0;
  /** A helper was given up: it may still write, so that only this thread's own results count. */
  #isAlone = false;

  /** @throws where there is no room, or no such code. */
  constructor(task: SearchTask, wasm: Wasm, host: MatcherHost, helpers: SearchHelpers) {
    this.#helpers = helpers;
    this.#view = new TaskView(task, wasm, host);
    this.#inMemory = new Array<number>(task.memories).fill(0);
    const { compiled, matchers } = this.#view;
    this.matchers = compiled.map(
      ({ kind }, i) => new ListedMatcher(matchers[i] as Matcher, kind === "regex"),
    );
  }

  /** For `scan`: parts that were put in stay as they are. */
  readonly nextMemory = (): Uint8Array => {
    if (this.#inMemory[this.#memory] !== 0) this.#memory = this.#following;
    return this.#view.memory(this.#memory);
  };

  /** Whether another part may be read. */
  get hasRoom(): boolean {
    return this.#puts.length < this.#view.task.parts && this.#inMemory[this.#following] === 0;
  }

  get #following(): number {
    return (this.#memory + 1) % this.#inMemory.length;
  }

  put(part: ScanPart): void {
    this.#puts.push({ part, memory: this.#memory });
    this.#inMemory[this.#memory] = (this.#inMemory[this.#memory] as number) + 1;
    this.#view.put(this.#put++, part);
  }

  /** The first part, once it was looked through; `undefined` if there is none. */
  *take(): Routine<ScanPart | undefined> {
    const first = this.#puts[0];
    if (first === undefined) return undefined;
    const sequence = this.#taken++;
    if (!this.#isAlone) this.#isAlone = !(yield* this.#isLookedThrough(sequence));
    for (const [i, matcher] of this.matchers.entries())
      matcher.expect(this.#isAlone ? undefined : this.#view.listed(sequence, i));
    return first.part;
  }

  /** The part that was taken is needed no longer. */
  release(): void {
    const first = this.#puts.shift();
    if (first !== undefined) this.#inMemory[first.memory] = (this.#inMemory[first.memory] as number) - 1;
  }

  close(): void {
    this.#view.close();
  }

  /**
   * Waits for a helper's part. One that throws says so in the shared memory, which is seen whoever drives the search; one that is ended (out
   * of memory, terminated) only its host learns of, and only while the event loop runs: a search that is driven synchronously runs out of
   * patience instead.
   */
  *#isLookedThrough(sequence: number): Routine<boolean> {
    const view = this.#view;
    const helpers = this.#helpers;
    let left = PATIENCE / SLICE;
    while (!view.isDone(sequence, 0)) {
      // What nobody has claimed is done here, this part or a later one, rather than to wait.
      if (view.work()) continue;
      if (view.isDone(sequence, SLICE)) return true;
      if (view.hasLost(helpers.running) || left-- <= 0) {
        view.close();
        return false;
      }
      const turn = helpers.turn?.();
      if (turn !== undefined) yield turn;
    }
    return true;
  }
}

const NOTHING = new Int32Array(0);

/** Hits as another thread has listed them; what it has not, this one looks for. */
class ListedMatcher implements Matcher {
  length = 0;
  readonly #own: Matcher;
  /** Whether matches may not overlap, so that the first ones depend on the part before: who listed them did not know it. */
  readonly #isDisjoint: boolean;
  #part: ScanPart | undefined;
  #hits: Int32Array = NOTHING;
  #at = 0;
  #rest = 0;
  #stuck = -1;
  /** Whether it is this thread's own that looks; and, whether it does until it comes to what is listed. */
  #isOwn = false;
  #isCatchingUp = false;
  #free = 0n;

  constructor(own: Matcher, isDisjoint: boolean) {
    this.#own = own;
    this.#isDisjoint = isDisjoint;
  }

  /** What is listed of the next part; `undefined`: nothing is known of it. */
  expect(list: ListedHits | undefined): void {
    this.#hits = list?.hits ?? NOTHING;
    this.#rest = list?.rest ?? 0;
    this.#stuck = list?.stuck ?? -1;
    this.#at = 0;
  }

  reset(free: bigint): void {
    this.#free = free;
  }

  begin(part: ScanPart): void {
    this.#part = part;
    this.#isOwn = false;
    const { address } = part;
    this.#isCatchingUp =
      this.#isDisjoint && this.#hits.length > 0 && address + BigInt(this.#hits[0] as number) < this.#free;
    if (this.#isCatchingUp) this.#useOwn();
  }

  next(from: number): number {
    const place = this.#next(from);
    if (this.#isDisjoint && place >= 0)
      this.#free = (this.#part as ScanPart).address + BigInt(place + this.length);
    return place;
  }

  #next(from: number): number {
    if (!this.#isOwn) {
      const place = this.#listed();
      if (place >= 0 || this.#rest < 0) return place;
      if (this.#stuck >= 0) throw new RegexTimeError((this.#part as ScanPart).address + BigInt(this.#stuck));
      this.#useOwn();
    }
    const place = this.#own.next(from);
    this.length = this.#own.length;
    if (this.#isCatchingUp && place >= 0) this.#catchUp(place);
    return place;
  }

  #listed(): number {
    if (this.#at >= this.#hits.length) return -1;
    const place = this.#hits[this.#at] as number;
    this.length = this.#hits[this.#at + 1] as number;
    this.#at += 2;
    return place;
  }

  #useOwn(): void {
    this.#isOwn = true;
    this.#own.reset(this.#free);
    this.#own.begin(this.#part as ScanPart);
  }

  /** Where both have found one, all that follow are the same. */
  #catchUp(place: number): void {
    while (this.#at < this.#hits.length && (this.#hits[this.#at] as number) < place) this.#at += 2;
    if (this.#hits[this.#at] !== place) return;
    this.#at += 2;
    this.#isOwn = false;
    this.#isCatchingUp = false;
  }
}
