/** What could not be searched. */
import type { ScanHole } from "../../src/search/index.js";
import { bytesText } from "../render/numbers.js";
import type { Session } from "../session.js";

/** What a dump or an address space is without by its nature: told, and no failure. */
const ABSENT: ReadonlySet<string> = new Set(["outside", "excluded", "not-present", "swapped"]);

/** Counts it, by why. */
export class Holes {
  readonly #bytes = new Map<string, bigint>();

  /** To be given as `onHole`. */
  readonly add = ({ start, end, state }: ScanHole): void => {
    this.#bytes.set(state, (this.#bytes.get(state) ?? 0n) + (end - start));
  };

  get isFailure(): boolean {
    return [...this.#bytes.keys()].some((state) => !ABSENT.has(state));
  }

  report(session: Session): void {
    if (this.#bytes.size === 0) return;
    const lines = [...this.#bytes].map(([state, bytes]) => `${bytesText(bytes)}  ${state}`);
    session.warn("not searched, as it is not there:", lines);
  }
}
