import type { SourceSubject } from "./subject.js";
import type { Trial } from "./trial.js";

/** One thing that every source must do. */
export interface SourceRule {
  /** A sentence that begins with a verb: "reads …". */
  readonly name: string;
  /** What the subject lacks for it to be tried; `undefined` if nothing. */
  readonly lacks?: (subject: SourceSubject) => string | undefined;
  /** @throws if the source breaks it. See `trySourceRule`. @internal */
  readonly check: (trial: Trial) => Promise<void>;
}
