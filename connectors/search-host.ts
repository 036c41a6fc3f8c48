/** What Node does for a search. */
import { MemtoolError } from "../src/io/errors.js";
import type { MatcherHost, SearchHost, SearchOptions } from "../src/search/index.js";
import { hostWasm } from "./host-wasm.js";

/** Milliseconds that an expression has for 1 MiB of memory. One that does not go wild takes some 10 to 100. */
const PATIENCE = 10_000;

/** Made when the first expression is looked for. */
let run: ((work: () => void, timeout: number) => void) | undefined;

/**
 * Does work that ends within some time. JavaScript backtracks: an expression such as `(a+)+b` may take longer than the universe is
 * old. Only Node's `vm` ends it, without a thread of its own.
 *
 * @throws {MemtoolError} `REGEX_TIME`
 */
export function bound(work: () => void, patience = PATIENCE): void {
  if (run === undefined) {
    const vm = process.getBuiltinModule("node:vm");
    const context: { work: (() => void) | undefined } = vm.createContext({ work: undefined }) as never;
    const script = new vm.Script("work()");
    run = (job, timeout) => {
      context.work = job;
      script.runInContext(context, { timeout });
    };
  }
  try {
    run(work, patience);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
    throw new MemtoolError("REGEX_TIME", `it took more than ${patience / 1000} s for 1 MiB`);
  }
}

const forMatchers: MatcherHost = {
  bound,
  decodeLatin1: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"),
};

/** What Node does for a search in one thread. */
export const nodeSearchHost: SearchHost = { ...forMatchers, wasm: hostWasm };

/** Options of a search, with {@link nodeSearchHost} unless another is given. */
export function withNode(options: SearchOptions = {}): SearchOptions {
  return { ...options, host: options.host ?? nodeSearchHost };
}
