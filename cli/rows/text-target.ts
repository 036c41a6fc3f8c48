/** Where rows go that are text: standard output, or a file. */
import { closeSync, openSync, writeSync } from "node:fs";
import type { NewFile } from "../new-file.js";
import type { Output } from "../output.js";

/** Takes text. */
export interface TextTarget {
  /** Whether a terminal would act on controls in it. */
  readonly isTerminal: boolean;
  write(text: string): Promise<void>;
  end(): void;
  discard(): void;
}

/** Standard output. */
export function outputTarget(out: Output): TextTarget {
  return {
    isTerminal: out.columns !== undefined,
    write: async (text) => {
      out.text(text);
      await out.settle();
    },
    end: () => {},
    discard: () => {},
  };
}

/** Characters that are written at once. */
const PIECE = 65_536;

/** A file. */
export class FileTarget implements TextTarget {
  readonly isTerminal = false;
  readonly #file: NewFile;
  readonly #descriptor: number;
  #text = "";

  constructor(file: NewFile) {
    this.#file = file;
    this.#descriptor = openSync(file.temporary, "wx");
  }

  async write(text: string): Promise<void> {
    this.#text += text;
    if (this.#text.length >= PIECE) this.#flush();
  }

  end(): void {
    this.#flush();
    closeSync(this.#descriptor);
    this.#file.place();
  }

  discard(): void {
    closeSync(this.#descriptor);
    this.#file.discard();
  }

  #flush(): void {
    const bytes = new TextEncoder().encode(this.#text);
    this.#text = "";
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#descriptor, bytes, at);
  }
}
