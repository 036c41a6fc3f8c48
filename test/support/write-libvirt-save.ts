/** libvirt's save files for tests, written from `struct _virQEMUSaveHeader`; shares nothing with the reader. */
import { ByteWriter } from "./bytes.js";

export interface SaveOptions {
  readonly magic?: string;
  readonly version?: number;
  readonly bigEndian?: boolean;
  readonly wasRunning?: boolean;
  /** 0 raw, 1 gzip, 2 bzip2, 3 xz, 4 lzop, 5 zstd, 6 sparse. */
  readonly format?: number;
  readonly xml?: string;
  readonly cookie?: string;
  /** Zeros behind XML and cookie; libvirt leaves 64 KiB. */
  readonly padding?: number;
}

/** Bytes before the stream. */
export function saveHeaderLength({ xml = XML, cookie, padding = 100 }: SaveOptions = {}): number {
  return 92 + xml.length + 1 + (cookie === undefined ? 0 : cookie.length + 1) + padding;
}

const XML =
  "<domain type='kvm'><name>web &amp; mail</name><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os></domain>";

export function writeLibvirtSave(stream: Uint8Array, options: SaveOptions = {}): Uint8Array {
  const { xml = XML, cookie } = options;
  const out = new ByteWriter(options.bigEndian ?? false);
  out.text(options.magic ?? "LibvirtQemudSave", 16).u32(options.version ?? 2);
  out.u32(saveHeaderLength(options) - 92).u32(options.wasRunning === false ? 0 : 1);
  out.u32(options.format ?? 0).u32(cookie === undefined ? 0 : xml.length + 1);
  for (let i = 0; i < 14; i++) out.u32(0);
  out.text(xml, xml.length + 1);
  if (cookie !== undefined) out.text(cookie, cookie.length + 1);
  return out.upTo(saveHeaderLength(options)).bytes(stream).done();
}
