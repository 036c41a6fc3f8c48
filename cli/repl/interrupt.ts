/** Ctrl-C for what runs on this stack, where no event could tell of it. */
import { setImmediate as turn } from "node:timers/promises";
import { Script } from "node:vm";
import { allowCuts } from "../../connectors/deflate-streams.js";
import { forgetZstd } from "../../connectors/zstd.js";
import { Io, IoSequence } from "../../src/io/index.js";

/** What stacks call it, whose frames are not the user's. */
export const OWN_FILE = "memtool:run";

const RUN = Symbol.for("memtool.run");
const script = new Script(`globalThis[Symbol.for("memtool.run")]()`, { filename: OWN_FILE });

/** Runs it so that SIGINT ends it, which throws {@link isInterrupt}'s error; no `finally` within runs then. */
export function interruptible<T>(run: () => T): T {
  allowCuts();
  const place = globalThis as unknown as Record<symbol, unknown>;
  place[RUN] = run;
  try {
    return script.runInThisContext({ breakOnSigint: true, displayErrors: false }) as T;
  } catch (error) {
    if (isInterrupt(error)) forgetZstd();
    throw error;
  } finally {
    delete place[RUN];
  }
}

const INTERRUPTED = "ERR_SCRIPT_EXECUTION_INTERRUPTED";

/** Whether Ctrl-C is what it says. */
export function isInterrupt(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === INTERRUPTED;
}

/** Milliseconds without a look at what came in. */
const SLICE = 20;

/**
 * Runs a command of memtool so that SIGINT ends it, which throws {@link isInterrupt}'s error. Commands await operations, whose work is
 * then done without a turn of the event loop, so that no event would tell of the signal. Until the command is over, operations that are
 * awaited are driven on the stack instead, as {@link interruptible} does it.
 *
 * @param onStack Whether they can be: whether the target is one that answers at once.
 */
export async function untilInterrupt<T>(command: () => Promise<T>, onStack: boolean): Promise<T> {
  const { promise } = Io.prototype;
  const { [Symbol.asyncIterator]: iterate } = IoSequence.prototype;
  const signal = new Signal();
  Io.prototype.promise = async function (this: Io<unknown>) {
    await signal.look();
    return onStack ? signal.cutting(() => this.sync()) : await Reflect.apply(promise, this, []);
  } as typeof promise;
  if (onStack) {
    IoSequence.prototype[Symbol.asyncIterator] = function (this: IoSequence<unknown>) {
      return inSlices(this, signal);
    } as typeof iterate;
  }
  try {
    return await command();
  } catch (error) {
    // (What was cut off amid its work may fail in other ways as it is left.)
    throw signal.cut ?? error;
  } finally {
    Io.prototype.promise = promise;
    IoSequence.prototype[Symbol.asyncIterator] = iterate;
    signal.end();
  }
}

/** SIGINT, where nothing is driven on the stack. */
class Signal {
  #came = false;
  #looked = Date.now();
  /** The error of what it cut off. */
  cut: unknown;
  readonly #take = () => {
    this.#came = true;
  };

  constructor() {
    process.on("SIGINT", this.#take);
  }

  /** Lets events come in now and then. @throws if it came. */
  async look(): Promise<void> {
    if (Date.now() - this.#looked > SLICE) {
      await turn();
      this.#looked = Date.now();
    }
    if (this.#came) throw Object.assign(new Error("stopped"), { code: INTERRUPTED });
  }

  /** Runs it so that the signal cuts it off. */
  cutting<T>(run: () => T): T {
    try {
      return interruptible(run);
    } catch (error) {
      if (isInterrupt(error)) this.cut ??= error;
      throw error;
    }
  }

  end(): void {
    process.off("SIGINT", this.#take);
  }
}

/** The items of a sequence, driven on the stack, as many at a time as come in a slice. */
async function* inSlices<T>(sequence: IoSequence<T>, signal: Signal): AsyncGenerator<T, undefined, void> {
  const items = sequence.sync();
  let failure: { readonly error: unknown } | undefined;
  let isOver = false;
  const pull = () => {
    const found: T[] = [];
    const until = Date.now() + SLICE;
    try {
      do {
        const { done, value } = items.next();
        isOver = done === true;
        if (done !== true) found.push(value);
      } while (!isOver && Date.now() < until);
    } catch (error) {
      // (Damage is thrown behind the last item.)
      failure = { error };
    }
    return found;
  };
  try {
    while (!isOver && failure === undefined) {
      await signal.look();
      yield* signal.cutting(pull);
    }
  } finally {
    if (!isOver && failure === undefined && signal.cut === undefined) items.return?.();
  }
  if (failure !== undefined) throw failure.error;
  return undefined;
}
