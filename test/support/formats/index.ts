/** Every format, for what runs over all of them. */
import type { FormatCase } from "../format-suite.js";
import { elfCore } from "./elf-core.js";
import { flattened } from "./flattened.js";
import { kdump } from "./kdump.js";
import { kdump32Bit } from "./kdump-32-bit.js";
import { kdumpBigEndian } from "./kdump-big-endian.js";
import { raw } from "./raw.js";
import { splitKdumpCase } from "./split-kdump.js";

/** By the name that the fuzzer takes. */
export const FORMAT_CASES: Readonly<Record<string, FormatCase>> = {
  raw,
  "elf-core": elfCore,
  kdump,
  "kdump-32-bit": kdump32Bit,
  "kdump-big-endian": kdumpBigEndian,
  "split-kdump": splitKdumpCase,
  flattened,
};
