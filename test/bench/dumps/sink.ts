/** A file that is written from front to back, in large pieces. */
import { closeSync, openSync, writeSync } from "node:fs";

const ROOM = 2 ** 20;

/** See the module's comment. */
export class FileSink {
  readonly #file: number;
  readonly #held = Buffer.alloc(ROOM);
  #count = 0;
  #written = 0;

  constructor(path: string) {
    this.#file = openSync(path, "w");
  }

  /** Bytes so far. */
  get length(): number {
    return this.#written + this.#count;
  }

  write(bytes: Uint8Array): this {
    if (this.#count + bytes.length > ROOM) this.#flush();
    if (bytes.length > ROOM) {
      this.#put(bytes);
    } else {
      this.#held.set(bytes, this.#count);
      this.#count += bytes.length;
    }
    return this;
  }

  /** Leaves a hole up to an offset. */
  skipTo(offset: number): this {
    this.#flush();
    this.#written = offset;
    return this;
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
  }

  #flush(): void {
    this.#put(this.#held.subarray(0, this.#count));
    this.#count = 0;
  }

  #put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const count = writeSync(this.#file, bytes, at, bytes.length - at, this.#written);
      at += count;
      this.#written += count;
    }
  }
}
