/** Blocks of many kinds to compress: those that memory holds, and those that find a codec's edges. */
import fc from "fast-check";

/** Xorshift: the same bytes for the same seed. */
function generator(seed: number): () => number {
  let state = (seed * 2654435761 + 88172645) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

const WORDS =
  "the page is not present in this dump error memory kernel task_struct \0 struct int /usr/lib/".split(" ");

const MAKERS: Readonly<Record<string, (next: () => number, bytes: Uint8Array) => void>> = {
  zeros: () => {},
  ones: (_, bytes) => bytes.fill(0xff),
  text: (next, bytes) => {
    for (let at = 0; at < bytes.length; ) {
      const word = WORDS[next() % WORDS.length] as string;
      for (let i = 0; i < word.length && at < bytes.length; i++) bytes[at++] = word.charCodeAt(i);
      if (at < bytes.length) bytes[at++] = 0x20;
    }
  },
  // Kernel addresses, eight bytes each, many of them near one another.
  pointers: (next, bytes) => {
    for (let at = 0; at + 8 <= bytes.length; at += 8) {
      if (next() % 3 === 0) continue;
      bytes.set([next() & 0xf8, next() & 15, 0x20 + (next() & 3), 0x12, 0x81, 0x88, 0xff, 0xff], at);
    }
  },
  random: (next, bytes) => {
    for (let i = 0; i < bytes.length; i++) bytes[i] = next() >>> 11;
  },
  // Page-table entries.
  entries: (next, bytes) => {
    for (let at = 0, frame = next() & 0xffff; at + 8 <= bytes.length; at += 8, frame++)
      if (next() % 5 !== 0)
        bytes.set([0x67, (frame & 15) << 4, frame >>> 4, frame >>> 12, 0, 0, 0, 0x80], at);
  },
  // Copies from everywhere before, of every length, with some fresh bytes between: long distances, overlaps, runs.
  copies: (next, bytes) => {
    for (let at = 0; at < bytes.length; ) {
      for (let fresh = next() % 20; fresh > 0 && at < bytes.length; fresh--) bytes[at++] = next() >>> 9;
      if (at === 0) continue;
      const distance = 1 + (next() % (next() % 2 === 0 ? at : Math.min(at, 40)));
      const length = 1 + (next() % (next() % 8 === 0 ? 3000 : 30));
      for (let i = 0; i < length && at < bytes.length; i++, at++) bytes[at] = bytes[at - distance] as number;
    }
  },
  // The same bytes at its start and its end: a copy from as far as can be.
  far: (next, bytes) => {
    const size = Math.min(40, bytes.length >>> 1);
    for (let i = 0; i < size; i++) bytes[i] = next() >>> 7;
    bytes.copyWithin(bytes.length - size, 0, size);
  },
  // A few bytes in a page of zeros.
  sparse: (next, bytes) => {
    for (let i = 0; i < 10; i++) bytes[next() % bytes.length] = next() >>> 8;
  },
};

/** Kinds of blocks. */
export const BLOCK_KINDS = Object.keys(MAKERS);

/** A block of a kind; the same for the same seed. */
export function makeBlock(kind: string, length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  MAKERS[kind]?.(generator(seed), bytes);
  return bytes;
}

/** Lengths of dumps' blocks, and others about them. */
const lengths = fc.oneof(
  fc.constantFrom(512, 4096, 16_384, 65_536),
  fc.integer({ min: 512, max: 65_536 }),
  fc.integer({ min: 1, max: 600 }),
);

/** Blocks of every kind and of many lengths, in a random order that is always the same. */
export function manyBlocks(count: number): Uint8Array[] {
  const blocks = fc.sample(anyBlock, { seed: 4, numRuns: count });
  for (const kind of BLOCK_KINDS) {
    for (const length of [1, 2, 3, 4, 5, 512, 4096, 20_000, 50_000, 65_536])
      blocks.push(makeBlock(kind, length, length));
  }
  return blocks;
}

/** Whether there are two blocks, and they are equal. */
export function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}

/** Any block. */
export const anyBlock: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.constantFrom(...BLOCK_KINDS), lengths, fc.nat(1_000_000))
  .map(([kind, length, seed]) => makeBlock(kind, length, seed));

/** What happened to compressed bytes on their way. */
export const damage: fc.Arbitrary<(input: Uint8Array) => Uint8Array> = fc.oneof(
  fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })).map(([at, change]) => (input: Uint8Array) => {
    const changed = input.slice();
    if (input.length > 0) changed[at % input.length] = (changed[at % input.length] as number) ^ change;
    return changed;
  }),
  fc.nat().map((at) => (input: Uint8Array) => input.slice(0, at % Math.max(1, input.length))),
  fc.uint8Array({ minLength: 1, maxLength: 40 }).map((more) => (input: Uint8Array) => {
    const longer = new Uint8Array(input.length + more.length);
    longer.set(input);
    longer.set(more, input.length);
    return longer;
  }),
  fc
    .tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 12 }))
    .map(([at, bytes]) => (input: Uint8Array) => {
      const changed = input.slice();
      const start = at % Math.max(1, input.length);
      for (let i = 0; i < bytes.length && start + i < input.length; i++)
        changed[start + i] = bytes[i] as number;
      return changed;
    }),
);
