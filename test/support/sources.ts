/** Sources that tests of layers and of lines are over. */

import { withMap } from "../../connectors/middleware/remap.js";
import { Scheduler, type Source, SourceIo } from "../../src/io/index.js";
import { memorySource } from "../suite/index.js";

/** A source with a scheduler of its own. */
export const ioOf = (source: Source) => new SourceIo(source, new Scheduler());

/** Bytes of a source that ends amid a page. */
export const BYTES = 3 * 4096 + 123;

/** Where `brokenMemory` can't be read. */
export const BROKEN = { start: 5000, end: 5100 };

/** Memory with a place that can't be read. A live one refuses by itself what is outside. */
export function brokenMemory(
  bytes: Uint8Array,
  { mode = "sync", live = true }: { readonly mode?: "sync" | "async" | "both"; readonly live?: boolean } = {},
): Source {
  const memory = memorySource(bytes, { mode, live, broken: [BROKEN] });
  return live ? withMap(memory, [{ start: 0, end: bytes.length, offset: 0 }]) : memory;
}
