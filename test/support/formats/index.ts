/** Every format, for what runs over all of them. */
import type { FormatCase } from "../format-suite.js";
import { elfCore } from "./elf-core.js";
import { flattened } from "./flattened.js";
import { kdump } from "./kdump.js";
import { libvirtSave } from "./libvirt-save.js";
import { qemuMapped } from "./qemu-mapped.js";
import { qemuStream } from "./qemu-stream.js";
import { raw } from "./raw.js";

/** By the name that the fuzzer takes. */
export const FORMAT_CASES: Readonly<Record<string, FormatCase>> = {
  raw,
  "elf-core": elfCore,
  kdump,
  flattened,
  "qemu-stream": qemuStream,
  "qemu-mapped": qemuMapped,
  "libvirt-save": libvirtSave,
};
