/** Every format, for what runs over all of them. */
import type { FormatCase } from "../format-suite.js";
import { avml } from "./avml.js";
import { elfCore } from "./elf-core.js";
import { flattened } from "./flattened.js";
import { kdump } from "./kdump.js";
import { lime, limeBigEndian } from "./lime.js";
import { raw } from "./raw.js";
import { zstdSeekable } from "./zstd-seekable.js";

/** By the name that the fuzzer takes. */
export const FORMAT_CASES: Readonly<Record<string, FormatCase>> = {
  raw,
  "elf-core": elfCore,
  kdump,
  flattened,
  lime,
  "lime-big-endian": limeBigEndian,
  avml,
  "zstd-seekable": zstdSeekable,
};
