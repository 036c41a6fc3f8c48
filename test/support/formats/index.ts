/** Every format, for what runs over all of them. */
import type { FormatCase } from "../format-suite.js";
import { avml } from "./avml.js";
import { elfCore } from "./elf-core.js";
import { elfCore32Big } from "./elf-core-32-big.js";
import { elfCorePaging } from "./elf-core-paging.js";
import { flattened } from "./flattened.js";
import { kdump } from "./kdump.js";
import { kdump32Bit } from "./kdump-32-bit.js";
import { kdumpBigEndian } from "./kdump-big-endian.js";
import { lime, limeBigEndian } from "./lime.js";
import { mappedRaw, raw } from "./raw.js";
import { splitKdumpCase } from "./split-kdump.js";
import { vmwareMemory, vmwareState, vmwareWhole } from "./vmware.js";
import { windowsBitmap, windowsFull, windowsFull32, windowsRanges } from "./windows-dump.js";
import { xenCore } from "./xen-core.js";
import { zstdSeekable } from "./zstd-seekable.js";

/** By the name that the fuzzer takes. */
export const FORMAT_CASES: Readonly<Record<string, FormatCase>> = {
  raw,
  "raw-map": mappedRaw,
  "elf-core": elfCore,
  "elf-core-32-big": elfCore32Big,
  "elf-core-paging": elfCorePaging,
  kdump,
  "kdump-32-bit": kdump32Bit,
  "kdump-big-endian": kdumpBigEndian,
  "split-kdump": splitKdumpCase,
  flattened,
  "xen-core": xenCore,
  "windows-full": windowsFull,
  "windows-full-32": windowsFull32,
  "windows-bitmap": windowsBitmap,
  "windows-ranges": windowsRanges,
  "vmware-state": vmwareState,
  "vmware-memory": vmwareMemory,
  "vmware-whole": vmwareWhole,
  lime,
  "lime-big-endian": limeBigEndian,
  avml,
  "zstd-seekable": zstdSeekable,
};
