/** The dump formats, by their first bytes. A new format is a module and a line here. */
import { hex } from "../io/index.js";
import { elfCore } from "./elf-core.js";
import { FormatError } from "./errors.js";
import { hasText } from "./fields.js";
import { flattened } from "./flattened.js";
import { kdump } from "./kdump.js";
import { libvirtSave } from "./libvirt-save.js";
import { qemuStream } from "./qemu-stream.js";
import { raw } from "./raw.js";
import type { DumpFile, Format } from "./types.js";

/** Bytes of a file that detection sees. */
export const HEAD_SIZE = 4096;

/** Formats that memtool reads, in the order in which they are tried; `raw` takes what is left. */
export const FORMATS: readonly Format[] = [elfCore, kdump, flattened, qemuStream, libvirtSave, raw];

/** A format that is recognised in order to be refused. */
interface Refused {
  readonly name: string;
  readonly magic: string;
  /** What to do instead. */
  readonly advice: string;
}

const UNPACK = "memtool reads dumps unpacked: run";
const CONVERT = "memtool does not read it yet; save the memory as a raw image, an ELF core or kdump instead";
const RAW = "; to read the file as raw memory all the same, force the format raw";

const REFUSED: readonly Refused[] = [
  {
    name: "LiME",
    magic: "EMiL",
    advice: `${CONVERT} (insmod lime.ko "path=… format=padded" writes a raw image)`,
  },
  { name: "AVML", magic: "AVML", advice: `${CONVERT} (avml-convert writes a raw or LiME image)` },
  { name: "Windows crash dump (64-bit)", magic: "PAGEDU64", advice: CONVERT },
  { name: "Windows crash dump (32-bit)", magic: "PAGEDUMP", advice: CONVERT },
  { name: "VMware snapshot state", magic: "\xd0\xbe\xd2\xbe", advice: `${CONVERT}, or give the .vmem file` },
  { name: "VMware snapshot state", magic: "\xd1\xba\xd1\xba", advice: `${CONVERT}, or give the .vmem file` },
  { name: "VMware snapshot state", magic: "\xd2\xbe\xd2\xbe", advice: `${CONVERT}, or give the .vmem file` },
  { name: "VMware snapshot state", magic: "\xd3\xbe\xd3\xbe", advice: `${CONVERT}, or give the .vmem file` },
  { name: "qcow2 disk image", magic: "QFI\xfb", advice: "a disk, not memory; give a memory dump" },
  { name: "gzip", magic: "\x1f\x8b\x08", advice: `${UNPACK} gunzip` },
  { name: "xz", magic: "\xfd7zXZ\0", advice: `${UNPACK} unxz` },
  { name: "zstd", magic: "\x28\xb5\x2f\xfd", advice: `${UNPACK} unzstd` },
  { name: "lz4", magic: "\x04\x22\x4d\x18", advice: `${UNPACK} unlz4` },
  { name: "zip", magic: "PK\x03\x04", advice: `${UNPACK} unzip` },
  { name: "7z", magic: "7z\xbc\xaf\x27\x1c", advice: `${UNPACK} 7z x` },
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
  // "BZh", the block size, and the digits of pi that begin a block.
  if (hasText(head, "BZh") && hasText(head, "1AY&SY", 4)) refuse(file, "bzip2", `${UNPACK} bunzip2`);
  return FORMATS.find((format) => format.detect(head, file)) ?? raw;
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
