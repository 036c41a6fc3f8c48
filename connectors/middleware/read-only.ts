/** A source that refuses writes, whatever it was opened for. */
import type { Source } from "../../src/io/index.js";
import { wrapSource } from "./wrap-source.js";

/** A source that can't be written to: writes and exchanges fail as `read-only` before they reach it. */
export function withReadOnly<S extends Source>(source: S): S {
  const { live } = source.supports;
  return wrapSource(source, { supports: { write: false, live } });
}
