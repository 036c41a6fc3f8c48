/** The dump formats, by their first bytes. A new format is a module and a line here. */
import { hex } from "../io/index.js";
import { compressionOf, refuseCompressed } from "./containers/compressed-files.js";
import { flattened } from "./containers/flattened.js";
import { zstdSeekable } from "./containers/zstd-seekable.js";
import { elfCore } from "./elf/elf-core.js";
import { FormatError } from "./errors.js";
import { hasText } from "./fields.js";
import { kdump } from "./kdump/kdump.js";
import { avml } from "./lime/avml.js";
import { lime } from "./lime/lime.js";
import { libvirtSave } from "./qemu/libvirt-save.js";
import { qemuStream } from "./qemu/qemu-stream.js";
import { raw } from "./raw/raw.js";
import type { DumpFile, Format } from "./types.js";
import { vmware } from "./vmware/vmware.js";
import { windowsDump } from "./windows/windows-dump.js";
import { xenCore } from "./xen/xen-core.js";

/** Bytes of a file that detection sees. */
export const HEAD_SIZE = 4096;

/** Formats that memtool reads, in the order in which they are tried; `raw` takes what is left. */
export const FORMATS: readonly Format[] = [
  elfCore,
  kdump,
  flattened,
  xenCore,
  windowsDump,
  lime,
  avml,
  zstdSeekable,
  qemuStream,
  libvirtSave,
  // By its name alone, if it is a .vmem: whatever else begins as another format does is that.
  vmware,
  raw,
];

/** A format that is recognised in order to be refused. */
interface Refused {
  readonly name: string;
  readonly magic: string;
  /** What to do instead. */
  readonly advice: string;
}

const RAW = "; to read the file as raw memory all the same, force the format raw";

const REFUSED: readonly Refused[] = [
  { name: "qcow2 disk image", magic: "QFI\xfb", advice: "a disk, not memory; give a memory dump" },
];

/**
 * The format of a file by its first bytes.
 *
 * @throws {FormatError} `UNSUPPORTED_FORMAT` for one that is known and not read: names it, and what to do.
 */
export function formatOf(file: DumpFile, head: Uint8Array): Format {
  for (const { name, magic, advice } of REFUSED) {
    if (hasText(head, magic)) refuse(file, name, advice);
  }
  const found = FORMATS.find((format) => format.detect(head, file)) ?? raw;
  const compression = found === raw || found === vmware ? compressionOf(head) : undefined;
  if (compression !== undefined) refuseCompressed(file, compression);
  return found;
}

function refuse(file: DumpFile, name: string, advice: string): never {
  throw new FormatError("UNSUPPORTED_FORMAT", { file: file.name }, `this is a ${name} file: ${advice}${RAW}`);
}

/** The format of that name. @throws {FormatError} `UNKNOWN_FORMAT`, listing the names. */
export function formatNamed(file: DumpFile, name: string): Format {
  const found = FORMATS.find((format) => format.name === name);
  if (found !== undefined) return found;
  throw new FormatError(
    "UNKNOWN_FORMAT",
    { file: file.name },
    `no format is called "${name}"; there are ${FORMATS.map((format) => format.name).join(", ")}`,
  );
}

/** Refuses a file without bytes. @throws {FormatError} `EMPTY_DUMP` */
export function checkSize(file: DumpFile): void {
  if (file.size === 0)
    throw new FormatError("EMPTY_DUMP", { file: file.name }, "the file is empty; copy the dump again");
  if (!(file.size > 0 && file.size <= Number.MAX_SAFE_INTEGER)) {
    throw new FormatError("MALFORMED_DUMP", { file: file.name }, `its size is ${hex(file.size)}`);
  }
}
