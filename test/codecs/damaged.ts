/** What every decompressor must do with input that is not what it should be. */
import fc from "fast-check";
import { expect } from "vitest";
import { CodecError } from "../../src/codecs/errors.js";
import { anyBlock, damage } from "./blocks.js";

/** Decompresses one block. */
export type Decompress = (input: Uint8Array, outputLength: number) => Uint8Array;

/** Runs it. @returns the block, or `undefined` if it was refused as it must be. @throws any other error. */
export function tried(
  decompress: Decompress,
  input: Uint8Array,
  outputLength: number,
): Uint8Array | undefined {
  const before = input.slice();
  let output: Uint8Array | undefined;
  try {
    output = decompress(input, outputLength);
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    expect(error.message).toMatch(/^(lzo|snappy|zstd): /);
  }
  expect(Buffer.compare(input, before)).toBe(0);
  if (output !== undefined) {
    expect(output).toHaveLength(outputLength);
    // Its own memory, of no more than that: nothing else can be changed through it, or keeps it alive.
    expect(output.buffer.byteLength).toBe(outputLength);
  }
  return output;
}

/** A block as it was compressed, what was done to that, and what was asked of it. */
export interface Sample {
  readonly block: Uint8Array;
  readonly compressed: Uint8Array;
  readonly damaged: Uint8Array;
  readonly wanted: number;
}

/** Compressed blocks with damage: `runs` of them. */
export function damagedSamples(
  compress: (blocks: readonly Uint8Array[]) => readonly Uint8Array[],
  runs: number,
): Sample[] {
  const blocks = fc.sample(
    anyBlock.filter(({ length }) => length <= 8192),
    { seed: 11, numRuns: Math.ceil(runs / 10) },
  );
  const compressed = compress(blocks);
  const changes = fc.sample(fc.tuple(damage, fc.integer({ min: -3, max: 3 }), fc.nat(4)), {
    seed: 12,
    numRuns: runs,
  });
  return changes.map(([change, off, dice], i) => {
    const block = blocks[i % blocks.length] as Uint8Array;
    const whole = compressed[i % blocks.length] as Uint8Array;
    // Mostly the length that is right.
    const wanted = dice === 0 ? Math.max(0, block.length + off) : block.length;
    return { block, compressed: whole, damaged: change(whole), wanted };
  });
}
