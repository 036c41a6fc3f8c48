/** Recordings: what is read of a source goes into a file as well. */
import type { DumpNotes } from "../../src/formats/index.js";
import type { AddressRanges, Batch, Source } from "../../src/io/index.js";
import { ByteWriter } from "../byte-code.js";
import type { Connector, MachineSource } from "../connector.js";
import type { ProcessMap } from "../proc/maps.js";
import type { ProcessSource } from "../proc/open-process.js";
import { factsOf, mapsToJson, notesToJson, rangesToJson } from "../source-facts.js";
import { MovedParts } from "./moved.js";
import { FRAME, FrameWriter } from "./recording-frames.js";
import { wrapSource } from "./wrap-source.js";

/** Bytes of one frame of reads; longer rows are cut. */
const FRAME_BYTES = 2 ** 20;

/**
 * Records what is read of a source in a new file, with what could not be read, the source's ranges, and what it tells besides, as a
 * machine's notes. {@link openRecording} answers from it, without the target.
 *
 * Each batch is in the file before its bytes are given out. What is written to the source is not recorded. `close` throws if
 * not everything could be recorded.
 *
 * @param kind What the source's addresses are.
 * @throws {ConnectorError} `RECORD_FAILED` for a file that is there already, or can't be made.
 */
export function withRecording<S extends Source>(source: S, path: string, kind: Connector["kind"]): S {
  const { transfer, transferSync } = source;
  const recorder = new Recorder(path, source, kind);
  const { maps } = source as Partial<ProcessSource>;
  const { notes } = source as Partial<MachineSource>;
  return wrapSource(source, {
    ranges: () => recorder.ranges(source.ranges()),
    maps: maps === undefined ? undefined : () => recorder.maps(maps.call(source)),
    notes: notes === undefined ? undefined : async () => recorder.notes(await notes.call(source)),
    transferSync:
      transferSync === undefined
        ? undefined
        : (batch) => {
            transferSync.call(source, batch);
            recorder.batch(batch);
          },
    transfer:
      transfer === undefined
        ? undefined
        : async (batch) => {
            const memory = batch.memory[0];
            await transfer.call(source, batch);
            // Else it was read by other means meanwhile, which recorded it (see `Source.transfer`).
            if (batch.memory[0] === memory) recorder.batch(batch);
          },
    close: async () => {
      await source.close?.();
      recorder.end();
    },
  });
}

class Recorder {
  readonly #writer: FrameWriter;
  #ranges: AddressRanges | undefined;
  #maps = "";
  #reads = new ByteWriter();
  #bytes = new ByteWriter();
  #count = 0;
  /** The end of the extent before, which addresses count from. */
  #lo = 0;
  #hi = 0;

  constructor(path: string, source: Source, kind: Connector["kind"]) {
    this.#writer = new FrameWriter(path);
    this.#writer.addText(FRAME.facts, factsOf(source, kind));
    this.ranges(source.ranges());
  }

  ranges(ranges: AddressRanges): AddressRanges {
    const before = this.#ranges;
    if (before !== undefined && sameColumns(before, ranges)) return ranges;
    this.#ranges = ranges;
    this.#writer.addText(FRAME.ranges, rangesToJson(ranges));
    return ranges;
  }

  maps(maps: ProcessMap[]): ProcessMap[] {
    const json = mapsToJson(maps);
    const text = JSON.stringify(json);
    if (text !== this.#maps) this.#writer.addText(FRAME.maps, json);
    this.#maps = text;
    return maps;
  }

  notes(notes: DumpNotes): DumpNotes {
    this.#writer.addText(FRAME.notes, notesToJson(notes));
    return notes;
  }

  batch(batch: Batch): void {
    if (batch.direction !== "read") return;
    const parts = new MovedParts(batch);
    for (let row = 0; row < batch.length; row++) {
      const bytes = batch.bytes(row);
      for (const { start, end, fault } of parts.of(row)) {
        if (fault !== 0) this.#extent(batch, row, start, end, fault);
        for (let at = start; fault === 0 && at < end; at += FRAME_BYTES) {
          const stop = Math.min(end, at + FRAME_BYTES);
          this.#extent(batch, row, at, stop, 0);
          this.#bytes.bytes(bytes.subarray(at, stop));
          if (this.#bytes.length >= FRAME_BYTES) this.#flush();
        }
      }
    }
    this.#flush();
  }

  #extent(batch: Batch, row: number, start: number, end: number, fault: number): void {
    const sum = (batch.words[2 * row] as number) + start;
    const lo = sum >>> 0;
    const hi = ((batch.words[2 * row + 1] as number) + (sum - lo) / 2 ** 32) >>> 0;
    const low = (lo - this.#lo) >>> 0;
    const high = (hi - this.#hi - (lo < this.#lo ? 1 : 0)) >>> 0;
    this.#reads.words(low, high);
    this.#reads.number(end - start);
    this.#reads.number(fault);
    this.#count++;
    const next = lo + (end - start);
    this.#lo = next >>> 0;
    this.#hi = (hi + (next - this.#lo) / 2 ** 32) >>> 0;
  }

  #flush(): void {
    if (this.#count === 0) return;
    // (What says where its bytes are is read when a recording is opened: as it is.)
    this.#writer.add(FRAME.reads, this.#reads.written, false);
    this.#writer.add(FRAME.bytes, this.#bytes.written, true);
    this.#reads = new ByteWriter();
    this.#bytes = new ByteWriter();
    this.#count = 0;
    this.#lo = 0;
    this.#hi = 0;
  }

  end(): void {
    this.#writer.addText(FRAME.end, {});
    this.#writer.close();
  }
}

function sameColumns(a: AddressRanges, b: AddressRanges): boolean {
  return (
    a === b ||
    (a.length === b.length && a.starts.every((start, i) => start === b.starts[i] && a.ends[i] === b.ends[i]))
  );
}
