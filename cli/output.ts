import { once } from "node:events";
import type { Writable } from "node:stream";

/** Standard output, in pieces large enough for a pipe and with its back-pressure. */
export class Output {
  readonly #stream: Writable;
  #text = "";

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  /** Adds text. Await `settle` now and then. */
  text(text: string): void {
    this.#text += text;
  }

  /** Adds bytes, after what was added before; the memory must not change afterwards. */
  async bytes(bytes: Uint8Array): Promise<void> {
    await this.flush();
    if (!this.#stream.write(bytes)) await once(this.#stream, "drain");
  }

  /** Writes if enough has come together. */
  async settle(): Promise<void> {
    if (this.#text.length >= 65_536) await this.flush();
  }

  /** Writes everything, and waits while the reader is slow. */
  async flush(): Promise<void> {
    if (this.#text === "") return;
    const text = this.#text;
    this.#text = "";
    if (!this.#stream.write(text)) await once(this.#stream, "drain");
  }
}
