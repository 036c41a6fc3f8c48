/**
 * libvirt's save files (`virsh save`, `virsh managedsave`, memory of `virsh snapshot-create-as --memspec`): a header, the
 * domain's XML, and a QEMU migration stream, which may be compressed.
 *
 * Layout: libvirt's src/qemu/qemu_saveimage.h (`struct _virQEMUSaveHeader`) and qemu_saveimage.c: a magic of 16 bytes,
 * version, length of what is between header and stream, whether the guest ran, format, offset of the cookie, 14 unused
 * words, in the byte order of the host (a version above 2 shows that it is the other one); then the XML, the cookie (each
 * ends with a NUL) and padding. The stream follows at once: nothing is aligned. The magic says "Part" until all is written.
 */
import { hex, type Routine } from "../../io/index.js";
import { FormatError } from "../errors.js";
import { Fields, hasText, latin1, readLeniently, readStructure } from "../fields.js";
import type { DumpFile, DumpImage, Format, FormatContext } from "../types.js";
import { openQemuStream } from "./qemu-stream.js";

const SAVED = "LibvirtQemudSave";
const UNFINISHED = "LibvirtQemudPart";
const HEADER_SIZE = 16 + 5 * 4 + 14 * 4;
const LAST_VERSION = 2;
/** A domain's XML has some ten KiB; more is not looked at. */
const MAX_XML = 2 ** 20;

/** `enum virQEMUSaveFormat`, and the program that unpacks each. */
const FORMATS: readonly { readonly name: string; readonly unpack?: string }[] = [
  { name: "raw" },
  { name: "gzip", unpack: "gzip -dc" },
  { name: "bzip2", unpack: "bzip2 -dc" },
  { name: "xz", unpack: "xz -dc" },
  { name: "lzop", unpack: "lzop -dc --ignore-warn" },
  { name: "zstd", unpack: "zstd -dc" },
  { name: "sparse" },
];

/** Save files: a migration stream in a container. */
export const libvirtSave: Format = {
  name: "libvirt-save",
  takesMap: true,
  detect: (head) => hasText(head, SAVED) || hasText(head, UNFINISHED),
  open: openLibvirtSave,
};

export function* openLibvirtSave(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const bytes = yield* readStructure(file, 0, HEADER_SIZE, "libvirt save header");
  const warnings: string[] = [];
  if (hasText(bytes, UNFINISHED)) {
    warnings.push(
      "libvirt did not finish this file (its magic says so): memory may be missing; save the guest again",
    );
  } else if (!hasText(bytes, SAVED)) {
    new Fields(file.name, 0, bytes).malformed(0, "magic", `neither ${SAVED} nor ${UNFINISHED}`);
  }
  const little = new Fields(file.name, 0, bytes);
  const header = little.u32(16) <= LAST_VERSION ? little : new Fields(file.name, 0, bytes, false);
  const version = header.u32(16);
  if (version > LAST_VERSION) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name, offset: 16, field: "version" },
      `version ${little.u32(16)}, and memtool knows up to ${LAST_VERSION}`,
    );
  }
  const start = HEADER_SIZE + header.u32(20);
  if (start >= file.size) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset: 20, field: "data_len" },
      `the memory begins at ${hex(start)}, and the file ends at ${hex(file.size)}; copy the file again`,
    );
  }
  // Version 1 has no compression, and does not set the field.
  const kind = version < 2 ? 0 : header.u32(28);
  const { name: saved, unpack } =
    FORMATS[kind] ?? header.malformed(28, "format", `${kind} is no format of libvirt's`);
  if (unpack !== undefined) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file: file.name, offset: 28, field: "format" },
      `the memory is compressed with ${saved}, and memtool reads it unpacked: run tail -c +${start + 1} FILE | ${unpack} > ` +
        "FILE.qemu and give that; or set save_image_format to raw in libvirt's qemu.conf",
    );
  }
  const xmlLength = header.u32(32) === 0 ? header.u32(20) : Math.min(header.u32(32), header.u32(20));
  const xml = yield* readLeniently(file, HEADER_SIZE, Math.min(xmlLength, MAX_XML));
  const text = latin1(xml.bytes, 0, xml.bytes.length);
  const image = yield* openQemuStream(part(file, start), context);
  const domain = /<name>([^<]{1,256})<\/name>/.exec(text)?.[1];
  const machine = /<type\s[^>]{0,256}>/.exec(text)?.[0];
  const domainMachine = machine === undefined ? undefined : /machine=['"]([^'"]+)['"]/.exec(machine)?.[1];
  return {
    format: image.format,
    description: `${image.description}, saved by libvirt`,
    io: image.io,
    slab: image.slab,
    get map() {
      return image.map;
    },
    mapWithZeros: image.mapWithZeros,
    notes: image.notes,
    warnings: [...warnings, ...image.warnings],
    details: {
      ...image.details,
      ...(domain === undefined ? {} : { domain: withoutEntities(domain) }),
      ...(domainMachine === undefined ? {} : { domainMachine }),
      libvirtVersion: version,
      libvirtFormat: saved,
      wasRunning: header.u32(24) !== 0,
      streamOffset: start,
    },
  };
}

/** What lies behind a file offset, as a file. */
function part(file: DumpFile, start: number): DumpFile {
  return {
    name: `${file.name} (from ${hex(start)} on)`,
    size: file.size - start,
    scheduler: file.scheduler,
    sendIo: (offset, view) => file.sendIo(offset + start, view),
  };
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

/** Text of XML, its five named entities replaced. */
function withoutEntities(text: string): string {
  return text.replace(/&(lt|gt|amp|quot|apos);/g, (_, name: string) => ENTITIES[name] as string);
}
