/** Parts of an answer that may be missing without taking the rest along. */
import { MemtoolError, type Routine } from "../../io/index.js";
import { damage, type OnDamage } from "../objects/damage.js";

/** What a routine gives; what is missing or not as it should be is told, and `undefined` given instead. @internal */
export function* attempt<T>(what: string, report: OnDamage, routine: Routine<T>): Routine<T | undefined> {
  try {
    return yield* routine;
  } catch (error) {
    if (!(error instanceof MemtoolError)) throw error;
    report(damage(what, 0n, "invalid", 0, error.message));
    return undefined;
  }
}
