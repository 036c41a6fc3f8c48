/** Writes raw images: physical address = file offset. What is missing is a hole of the file, and reads as zeros. */
import { type DumpSink, writeSparse } from "./sink.js";
import type { DumpWriter, WrittenDump } from "./writer.js";

/** See the module's comment. The file ends where the last present range ends. */
export class RawWriter implements DumpWriter {
  readonly #sink: DumpSink;
  #end = 0;

  constructor(sink: DumpSink) {
    this.#sink = sink;
  }

  present(start: number, bytes: Uint8Array): void {
    writeSparse(this.#sink, start, bytes);
    this.#end = start + bytes.length;
  }

  excluded(): void {}

  flush(): void {}

  finish(): WrittenDump {
    return { size: this.#end, zeroExcluded: 0, padded: 0, dropped: 0 };
  }
}
