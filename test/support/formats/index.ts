/** Every format, for what runs over all of them. */
import type { FormatCase } from "../format-suite.js";
import { elfCore } from "./elf-core.js";
import { flattened } from "./flattened.js";
import { kdump } from "./kdump.js";
import { mappedRaw, raw } from "./raw.js";

/** By the name that the fuzzer takes. */
export const FORMAT_CASES: Readonly<Record<string, FormatCase>> = {
  raw,
  "raw-map": mappedRaw,
  "elf-core": elfCore,
  kdump,
  flattened,
};
