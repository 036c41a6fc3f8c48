import { once } from "node:events";
import type { Writable } from "node:stream";

/** What `process.stdout` is: a stream, and perhaps a terminal. */
export type OutputStream = Writable & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
};

/** Standard output, in pieces large enough for a pipe and with its back-pressure. */
export class Output {
  readonly #stream: OutputStream;
  #text = "";
  #isWritten = false;

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  /** Width of the terminal, if it is one. */
  get columns(): number | undefined {
    const { isTTY, columns } = this.#stream;
    // A terminal that does not know its size says 0.
    return isTTY === true && columns !== 0 ? columns : undefined;
  }

  /** Whether anything has been written. */
  get isWritten(): boolean {
    return this.#isWritten;
  }

  /** Adds text. Await `settle` now and then. */
  text(text: string): void {
    if (text !== "") this.#isWritten = true;
    this.#text += text;
  }

  /** Adds bytes, after what was added before; the memory must not change afterwards. */
  async bytes(bytes: Uint8Array): Promise<void> {
    await this.flush();
    this.#isWritten = true;
    if (!this.#stream.write(bytes)) await once(this.#stream, "drain");
  }

  /** Adds bytes whose memory the caller will use again: waits until they were taken, or nobody will take them. */
  async lend(bytes: Uint8Array): Promise<void> {
    await this.flush();
    this.#isWritten = true;
    await new Promise<void>((taken) => this.#stream.write(bytes, () => taken()));
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
