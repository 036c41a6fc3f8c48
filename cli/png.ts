/**
 * Writes pictures as PNG, a line at a time.
 *
 * Facts: W3C, Portable Network Graphics (Third Edition), sections 5 (chunks), 9.2 (filter 0), 10.1 (zlib), 11.2.1 (IHDR).
 */
import { once } from "node:events";
import { crc32, createDeflate, type Deflate } from "node:zlib";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
/** Truecolour with alpha, 8 bits each. */
const RGBA = 6;

/** A picture that is being written. */
export class PngWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #deflate: Deflate = createDeflate();
  readonly #done: Promise<void>;
  #failed: unknown;

  /** @param write Takes the file's bytes, in order; what it throws, `line` or `end` throws. */
  constructor(width: number, height: number, write: (bytes: Uint8Array) => void) {
    this.#write = write;
    write(SIGNATURE);
    const header = new Uint8Array(13);
    const view = new DataView(header.buffer);
    view.setUint32(0, width);
    view.setUint32(4, height);
    header.set([8, RGBA, 0, 0, 0], 8);
    this.#chunk("IHDR", header);
    this.#done = this.#drain();
  }

  /** Takes the next line, of four bytes a pixel. */
  async line(pixels: Uint8Array): Promise<void> {
    this.#check();
    const filtered = new Uint8Array(pixels.length + 1);
    filtered.set(pixels, 1);
    if (!this.#deflate.write(filtered)) await Promise.race([once(this.#deflate, "drain"), this.#done]);
  }

  /** Ends the picture, which must have had all of its lines. */
  async end(): Promise<void> {
    this.#deflate.end();
    await this.#done;
    this.#check();
    this.#chunk("IEND", new Uint8Array(0));
  }

  /** Gives up what is not written yet. */
  close(): void {
    this.#deflate.destroy();
  }

  #check(): void {
    if (this.#failed !== undefined) throw this.#failed;
  }

  async #drain(): Promise<void> {
    try {
      for await (const bytes of this.#deflate) this.#chunk("IDAT", bytes);
    } catch (error) {
      this.#failed = error;
    }
  }

  #chunk(type: string, data: Uint8Array): void {
    const chunk = new Uint8Array(data.length + 12);
    const view = new DataView(chunk.buffer);
    view.setUint32(0, data.length);
    for (let i = 0; i < 4; i++) chunk[4 + i] = type.charCodeAt(i);
    chunk.set(data, 8);
    view.setUint32(8 + data.length, crc32(chunk.subarray(4, 8 + data.length)));
    this.#write(chunk);
  }
}
