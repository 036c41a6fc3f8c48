/** Files of any size for tests, of which only a few parts have bytes; the rest is zeros, as in a sparse file. */
import { type DumpFile, dumpFile } from "../../src/formats/index.js";
import { type BoundView, fault, type PacketIo } from "../../src/io/index.js";

/** Bytes at a file offset. */
export interface SparsePart {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** A file, and how many bytes of it were asked for. */
export interface SparseFile extends DumpFile {
  readonly asked: { bytes: number };
}

/** @param broken A range of the file that can't be read; `end` exclusive. */
export function sparseFile(
  size: number,
  parts: readonly SparsePart[],
  name = "sparse.dump",
  broken: { readonly start: number; readonly end: number } = { start: 0, end: 0 },
): SparseFile {
  const asked = { bytes: 0 };
  const answer = (offset: number, view: BoundView) => {
    const out = new Uint8Array(view.length);
    for (const { at, bytes } of parts) {
      const from = Math.max(at, offset);
      const to = Math.min(at + bytes.length, offset + view.length);
      if (from < to) out.set(bytes.subarray(from - at, to - at), from - offset);
    }
    view.transfer(out);
  };
  const io: PacketIo<number> = {
    sendIo: (offset, view) => {
      asked.bytes += view.length;
      let at = offset;
      let rest = view;
      for (const bound of [broken.start, broken.end]) {
        if (!(bound > at && bound < at + rest.length)) continue;
        const tail = rest.split(bound - at);
        if (at >= broken.start && at < broken.end) rest.fail(fault("io", "file", "connector"));
        else answer(at, rest);
        rest = tail;
        at = bound;
      }
      if (at >= broken.start && at < broken.end) rest.fail(fault("io", "file", "connector"));
      else answer(at, rest);
    },
  };
  return { ...dumpFile(io, size, name), asked };
}
