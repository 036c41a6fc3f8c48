/** makedumpfile's flattened form for tests, written from its makedumpfile.h; shares nothing with the reader. */
import { ByteWriter, random } from "./bytes.js";

export interface FlattenOptions {
  readonly seed?: number;
  /** Bytes in a block at most. */
  readonly blockSize?: number;
  /** Writes some parts twice, first with garbage, as makedumpfile writes its header again at the end. */
  readonly rewrite?: boolean;
  /** Leaves blocks of zeros out. */
  readonly sparse?: boolean;
  readonly endMarker?: boolean;
}

export function flatten(file: Uint8Array, options: FlattenOptions = {}): Uint8Array {
  const next = random(options.seed ?? 1);
  const blockSize = options.blockSize ?? 300;
  const blocks: { offset: number; bytes: Uint8Array }[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Math.min(file.length - at, 1 + next(blockSize));
    const bytes = file.subarray(at, at + length);
    const last = at + length === file.length;
    if (!(options.sparse && !last && bytes.every((byte) => byte === 0))) blocks.push({ offset: at, bytes });
    at += length;
  }
  for (let i = blocks.length - 1; i > 0; i--) {
    const j = next(i + 1);
    [blocks[i], blocks[j]] = [blocks[j] as (typeof blocks)[0], blocks[i] as (typeof blocks)[0]];
  }
  if (options.rewrite) {
    for (let i = 0; i < 5; i++) {
      const offset = next(file.length);
      const length = Math.min(file.length - offset, 1 + next(2 * blockSize));
      blocks.unshift({ offset, bytes: Uint8Array.from({ length }, () => next(256)) });
    }
  }
  const out = new ByteWriter(true);
  out.text("makedumpfile", 16).u64(1).u64(1).upTo(4096);
  for (const { offset, bytes } of blocks) out.u64(offset).u64(bytes.length).bytes(bytes);
  if (options.endMarker !== false) out.u64(-1).u64(-1);
  return out.done();
}
