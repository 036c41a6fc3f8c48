/** A file that is read from front to back, a window at a time: for streams whose records have no index. */
import { hex, type Routine, readPartial } from "../../io/index.js";
import { TRUNCATED } from "../pieces.js";
import type { DumpFile } from "../types.js";

/** Bytes read at once: large enough that a disk reads them in sequence, small enough to stay in the processor's cache. */
const WINDOW = 2 ** 20;

/** See the module's comment. Numbers in it are big-endian, as QEMU writes them. */
export class StreamWindow {
  readonly file: DumpFile;
  /** The bytes of the file from `start` on; the next `load` overwrites them. */
  bytes: Uint8Array;
  view: DataView;
  /** File offset of the first byte of `bytes`. */
  start = 0;
  /** Where and why the last `load` met bytes that the file has and that can't be read: a bad sector, a file that shrank. */
  unreadable: { readonly at: number; readonly state: string } | undefined;
  readonly #memory: Uint8Array;

  /** @param size Bytes of the window. */
  constructor(file: DumpFile, size = WINDOW) {
    this.file = file;
    this.#memory = new Uint8Array(Math.min(size, file.size));
    this.bytes = this.#memory.subarray(0, 0);
    this.view = new DataView(this.#memory.buffer, 0, 0);
  }

  /**
   * Makes `length` bytes from a file offset on readable, or what there is of them.
   *
   * @param length At most the window's size.
   * @returns how many bytes from there on are in the window: fewer than `length` only where the file ends or can't be read.
   */
  *load(offset: number, length: number): Routine<number> {
    const loaded = this.start + this.bytes.length - offset;
    const isLast = this.start + this.bytes.length === this.file.size;
    if (offset >= this.start && (loaded >= length || isLast)) return Math.max(0, loaded);
    const wanted = Math.max(0, Math.min(this.#memory.length, this.file.size - offset));
    this.start = offset;
    let readable = 0;
    if (wanted > 0) {
      const { holes } = yield* readPartial(this.file, offset, this.#memory.subarray(0, wanted));
      readable = holes[0]?.start ?? wanted;
      const [hole] = holes;
      this.unreadable =
        hole === undefined || hole.fault === TRUNCATED
          ? undefined
          : { at: offset + hole.start, state: String(hole.state) };
    }
    this.bytes = this.#memory.subarray(0, readable);
    this.view = new DataView(this.#memory.buffer, this.#memory.byteOffset, readable);
    return readable;
  }

  /** Why the file can't be read on, in words; `undefined` if it ends. */
  get problem(): string | undefined {
    if (this.unreadable === undefined) return undefined;
    const { at, state } = this.unreadable;
    return `the file can't be read at offset ${hex(at)} (${state})`;
  }

  /** A byte at a file offset that is loaded. */
  u8(offset: number): number {
    return this.bytes[offset - this.start] as number;
  }

  u16(offset: number): number {
    return this.view.getUint16(offset - this.start);
  }

  u32(offset: number): number {
    return this.view.getUint32(offset - this.start);
  }

  /** A number of eight bytes; beyond 2^53 it is rounded. */
  u64(offset: number): number {
    return this.u32(offset) * 2 ** 32 + this.u32(offset + 4);
  }

  /** Characters, a byte each. */
  text(offset: number, length: number): string {
    let text = "";
    for (let i = 0; i < length; i++) text += String.fromCharCode(this.u8(offset + i));
    return text;
  }
}
