/** QEMU migration streams for tests, written as QEMU's migration code sends them; shares nothing with the reader. */
import { deflateSync } from "node:zlib";
import { ByteWriter } from "./bytes.js";

export interface StreamBlock {
  readonly name: string;
  /** Bytes. */
  readonly length: number;
  /** Of a block in huge pages, with postcopy. */
  readonly hugePageSize?: number;
  /** With x-ignore-shared. */
  readonly address?: number;
  /** With mapped-ram: the pages that are not zero, by their number. */
  readonly pages?: ReadonlyMap<number, Uint8Array>;
  /** Overrides for damage. */
  readonly mappedVersion?: number;
}

/** A page as it is sent. */
export interface StreamPage {
  readonly block: string;
  readonly page: number;
  readonly kind: "page" | "zero" | "fill" | "xbzrle" | "compress";
  /** The page; of `xbzrle`, what it becomes. */
  readonly bytes?: Uint8Array;
  /** Of `xbzrle`: what it was. */
  readonly from?: Uint8Array;
  readonly fill?: number;
  /** Names the block though it is that of the page before. */
  readonly named?: boolean;
  /** Bytes in the place of what is encoded. */
  readonly encoded?: Uint8Array;
}

/** A section that is not RAM. */
export interface OtherSection {
  readonly type: "start" | "part" | "end" | "full";
  readonly id: number;
  readonly name: string;
  readonly content: Uint8Array;
}

export interface StreamOptions {
  readonly version?: number;
  /** `undefined`: no configuration section. */
  readonly machine?: string | undefined;
  readonly pageBits?: number;
  readonly capabilities?: readonly string[];
  readonly uuid?: Uint8Array;
  readonly subsection?: string;
  readonly blocks: readonly StreamBlock[];
  /** Rounds of pages: sections of RAM; the last is its end. */
  readonly rounds: readonly (readonly StreamPage[])[];
  /** Flags of empty records at the head of each round. */
  readonly marks?: readonly number[];
  readonly footers?: boolean;
  /** Sections in front of RAM, between its rounds, and behind it. */
  readonly before?: readonly OtherSection[];
  readonly between?: readonly OtherSection[];
  readonly devices?: readonly OtherSection[];
  /** A command in front of the sections. */
  readonly command?: boolean;
  /** The last round is a part too, as in background snapshots. */
  readonly noEnd?: boolean;
  /** Nothing behind the last page's section, not even its footer. */
  readonly endAfterRam?: boolean;
  /** What the list says that all blocks have. */
  readonly total?: number;
  /** Multiple at which mapped pages begin; QEMU's is 1 MiB. */
  readonly alignment?: number;
  /** Bytes of the file before the stream, which offsets of mapped-ram count. */
  readonly origin?: number;
}

const RAM_ID = 2;

/** XBZRLE: runs of equal and of changed bytes in turn. */
export function encodeXbzrle(from: Uint8Array, to: Uint8Array): Uint8Array {
  const out = new ByteWriter();
  const length = (value: number) => {
    if (value < 0x80) out.u8(value);
    else out.u8((value & 0x7f) | 0x80).u8(value >> 7);
  };
  for (let at = 0; at < to.length; ) {
    const same = at;
    while (at < to.length && from[at] === to[at]) at++;
    if (at === to.length) break;
    const changed = at;
    while (at < to.length && from[at] !== to[at]) at++;
    length(changed - same);
    length(at - changed);
    out.bytes(to.subarray(changed, at));
  }
  return out.done();
}

export function writeQemuStream(options: StreamOptions): Uint8Array {
  const { blocks, rounds, pageBits = 12, capabilities = [], footers = true } = options;
  const out = new ByteWriter(true);
  const string = (value: string) => out.u8(value.length).text(value);
  // qemu_savevm_state_header
  out.u32(0x5145564d).u32(options.version ?? 3);
  if (options.machine !== undefined) {
    out.u8(7).u32(options.machine.length).text(options.machine);
    const subsection = (name: string) => {
      out.u8(5);
      string(name);
      out.u32(1);
    };
    if (options.pageBits !== undefined) {
      subsection("configuration/target-page-bits");
      out.u32(pageBits);
    }
    if (capabilities.length > 0) {
      subsection("configuration/capabilities");
      out.u32(capabilities.length);
      for (const name of capabilities) string(name);
    }
    if (options.uuid !== undefined) {
      subsection("configuration/uuid");
      out.bytes(options.uuid);
    }
    if (options.subsection !== undefined) subsection(options.subsection);
  }
  if (options.command === true) out.u8(8).u16(1).u16(4).u32(0x7e000000);

  const footer = (id: number) => {
    if (footers) out.u8(0x7e).u32(id);
  };
  const types = { start: 1, part: 2, end: 3, full: 4 } as const;
  const other = ({ type, id, name, content }: OtherSection) => {
    out.u8(types[type]).u32(id);
    if (type === "start" || type === "full") {
      string(name);
      out.u32(0).u32(1);
    }
    out.bytes(content);
    footer(id);
  };
  for (const section of options.before ?? []) other(section);

  // ram_save_setup
  out.u8(1).u32(RAM_ID);
  string("ram");
  out.u32(0).u32(4);
  out.u64((options.total ?? blocks.reduce((sum, { length }) => sum + length, 0)) + 0x04);
  for (const block of blocks) {
    string(block.name);
    out.u64(block.length);
    if (block.hugePageSize !== undefined) out.u64(block.hugePageSize);
    if (block.address !== undefined) out.u64(block.address);
    if (block.pages !== undefined) writeMapped(out, block, options);
  }
  out.u64(0x10);
  footer(RAM_ID);

  rounds.forEach((pages, i) => {
    const last = i === rounds.length - 1;
    out.u8(last && options.noEnd !== true ? 3 : 2).u32(RAM_ID);
    for (const mark of options.marks ?? []) out.u64(mark);
    writePages(out, pages, pageBits);
    out.u64(0x10);
    if (last && options.endAfterRam === true) return;
    footer(RAM_ID);
    if (!last) for (const section of options.between ?? []) other(section);
  });
  if (options.endAfterRam === true) return out.done();
  for (const section of options.devices ?? []) other(section);
  out.u8(0);
  const description = '{"page_size": 4096, "devices": []}';
  out.u8(6).u32(description.length).text(description);
  return out.done();
}

function writePages(out: ByteWriter, pages: readonly StreamPage[], pageBits: number): void {
  let block = "";
  for (const page of pages) {
    const flags = { page: 0x08, zero: 0x02, fill: 0x02, xbzrle: 0x40, compress: 0x100 }[page.kind];
    const again = page.block === block && page.named !== true;
    out.u64(page.page * 2 ** pageBits + flags + (again ? 0x20 : 0));
    if (!again) out.u8(page.block.length).text(page.block);
    block = page.block;
    const bytes = page.bytes ?? new Uint8Array(0);
    if (page.kind === "page") {
      out.bytes(bytes);
    } else if (page.kind === "zero" || page.kind === "fill") {
      out.u8(page.fill ?? 0);
    } else if (page.kind === "xbzrle") {
      const delta = page.encoded ?? encodeXbzrle(page.from as Uint8Array, bytes);
      out.u8(1).u16(delta.length).bytes(delta);
    } else {
      const packed = page.encoded ?? deflateSync(bytes);
      out.u32(packed.length).bytes(packed);
    }
  }
}

/** mapped_ram_setup_ramblock: a header, the bitmap, and the pages at a multiple of some size of the file. */
function writeMapped(out: ByteWriter, block: StreamBlock, options: StreamOptions): void {
  const { pageBits = 12, origin = 0, alignment = 1024 } = options;
  const pages = block.pages as ReadonlyMap<number, Uint8Array>;
  const count = block.length / 2 ** pageBits;
  const bitmap = new Uint8Array(Math.ceil(count / 64) * 8);
  for (const page of pages.keys()) bitmap[page >> 3] = (bitmap[page >> 3] as number) | (1 << (page & 7));
  const bitmapAt = origin + out.length + 28;
  const pagesAt = Math.ceil((bitmapAt + bitmap.length) / alignment) * alignment;
  out
    .u32(block.mappedVersion ?? 1)
    .u64(2 ** pageBits)
    .u64(bitmapAt)
    .u64(pagesAt);
  out.bytes(bitmap).upTo(pagesAt - origin);
  for (let page = 0; page < count; page++) out.bytes(pages.get(page) ?? new Uint8Array(2 ** pageBits));
}
