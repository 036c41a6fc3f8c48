/** Dumps in memory, opened over sources that count; and the plain-array model that they are compared with. */
import { expect } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import {
  type DumpFile,
  type DumpImage,
  dumpFile,
  type OpenDumpOptions,
  openDump,
} from "../../src/formats/index.js";
import { readPartial, Scheduler, SourceIo } from "../../src/io/index.js";
import { memorySource } from "../suite/memory-source.js";

export interface TestFile extends DumpFile {
  readonly source: SourceIo;
}

export function testFile(
  bytes: Uint8Array,
  mode: "sync" | "async" = "sync",
  name = "test.dump",
  scheduler = new Scheduler(),
): TestFile {
  const source = new SourceIo(memorySource(bytes, { mode, write: false }), scheduler);
  return { ...dumpFile(source, bytes.length, name), source };
}

/** Opens a dump in memory, with Node's codecs. */
export function openBytes(bytes: Uint8Array, options: OpenDumpOptions = {}): DumpImage {
  return openDump(testFile(bytes), { decoders: nodeDecoders, ...options }).sync();
}

/** Physical memory as plain arrays, a byte each. */
export class ImageModel {
  readonly bytes: Uint8Array;
  /** "present", "excluded", or "outside" by default. */
  readonly states: string[];

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.states = new Array<string>(size).fill("outside");
  }

  get size(): number {
    return this.bytes.length;
  }

  present(start: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.bytes.set(bytes, start);
    this.states.fill("present", start, start + bytes.length);
  }

  mark(start: number, end: number, state: string): void {
    this.states.fill(state, start, end);
  }
}

/** Whether what a read gave is what the model holds: the bytes, and the state of every hole. */
export function expectLike(
  model: ImageModel,
  at: number,
  transfer: ReturnType<ReturnType<typeof readPartial>["sync"]>,
): void {
  const states = new Array<string>(transfer.bytes.length);
  for (const { start, end } of transfer.good) states.fill("present", start, end);
  for (const { start, end, state } of transfer.holes) states.fill(state, start, end);
  for (let i = 0; i < states.length; i++) {
    const state = model.states[at + i] ?? "outside";
    if (states[i] !== state) expect({ at: at + i, state: states[i] }).toEqual({ at: at + i, state });
    if (state === "present" && transfer.bytes[i] !== model.bytes[at + i]) {
      expect({ at: at + i, byte: transfer.bytes[i] }).toEqual({ at: at + i, byte: model.bytes[at + i] });
    }
  }
}

/** Compares the whole image and its map with a model. */
export function expectImage(image: DumpImage, model: ImageModel): void {
  expectLike(model, 0, readPartial(image.io, 0, model.size + 100).sync());
  const states = new Array<string>(model.size).fill("outside");
  for (const { start, end, state } of image.map.ranges()) {
    expect(end).toBeLessThanOrEqual(model.size);
    states.fill(state, start, end);
  }
  expect(states.join() === model.states.join()).toBe(true);
}
