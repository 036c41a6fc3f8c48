/**
 * Writes LiME's own format: a header before the bytes of each range.
 *
 * Layout: `lime_mem_range_header` of LiME's lime.h (magic 0x4C694D45, version 1, s_addr, e_addr inclusive, 8 reserved
 * bytes), little-endian. A range that is not there is not RAM: the format has no word for "left out".
 */
import { type DumpSink, StructWriter, writeSparse } from "./sink.js";
import type { DumpWriter, WrittenDump } from "./writer.js";

const MAGIC = 0x4c694d45;
const HEADER_SIZE = 32;

/** See the module's comment. */
export class LimeWriter implements DumpWriter {
  readonly #sink: DumpSink;
  /** File offset of what comes next. */
  #at = 0;
  /** The range under way: its first address, the one behind its last, and where its header belongs. */
  #start = -1;
  #end = -1;
  #headerAt = 0;

  constructor(sink: DumpSink) {
    this.#sink = sink;
  }

  present(start: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (start !== this.#end) {
      this.#close();
      this.#start = start;
      this.#headerAt = this.#at;
      this.#at += HEADER_SIZE;
    }
    writeSparse(this.#sink, this.#at, bytes);
    this.#at += bytes.length;
    this.#end = start + bytes.length;
  }

  #close(): void {
    if (this.#start < 0) return;
    const header = new StructWriter(HEADER_SIZE);
    header
      .u32(MAGIC)
      .u32(1)
      .u64(this.#start)
      .u64(this.#end - 1);
    this.#sink.write(this.#headerAt, header.bytes);
    this.#start = -1;
  }

  excluded(): void {}

  flush(): void {}

  finish(): WrittenDump {
    this.#close();
    return { size: this.#at, zeroExcluded: 0, padded: 0, dropped: 0 };
  }
}
