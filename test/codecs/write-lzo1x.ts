/**
 * Streams of LZO1X with every instruction that there is (compressors use few of their forms), and what they decompress
 * to. Written from the kernel's lzo.rst, on its own: it shares nothing with the decompressor.
 */
import fc from "fast-check";

/** A step of a stream, as numbers that are brought into the range that is possible at that place. */
interface Step {
  readonly form: number;
  readonly distance: number;
  readonly length: number;
  readonly literals: number;
  readonly seed: number;
}

/** A stream, and its output. */
export interface Written {
  readonly compressed: Uint8Array;
  readonly block: Uint8Array;
}

class Stream {
  readonly out: number[] = [];
  readonly text: number[] = [];
  /** Literals that the last instruction copied: 0 to 3, or 4 for a run. */
  state = 0;

  literal(seed: number): void {
    const byte = (seed * 167 + this.text.length * 31) & 255;
    this.out.push(byte);
    this.text.push(byte);
  }

  /** `value` in so many bits, the rest of it in the bytes that follow. */
  length(value: number, bits: number): { readonly low: number; readonly more: number[] } {
    const most = 2 ** bits - 1;
    if (value <= most) return { low: value, more: [] };
    const more: number[] = [];
    let left = value - most;
    for (; left > 255; left -= 255) more.push(0);
    more.push(left);
    return { low: 0, more };
  }

  copy(distance: number, length: number): void {
    for (let i = 0; i < length; i++) this.text.push(this.text[this.text.length - distance] as number);
  }

  trailing(count: number, seed: number): void {
    for (let i = 0; i < count; i++) this.literal(seed + i);
    this.state = count;
  }
}

function first(stream: Stream, { length, seed }: Step): void {
  const count = 1 + (length % 238);
  stream.out.push(17 + count);
  for (let i = 0; i < count; i++) stream.literal(seed + i);
  stream.state = Math.min(count, 4);
}

function run(stream: Stream, { length, seed }: Step): void {
  const count = 4 + (length % 700);
  const { low, more } = stream.length(count - 3, 4);
  stream.out.push(low, ...more);
  for (let i = 0; i < count; i++) stream.literal(seed + i);
  stream.state = 4;
}

/** The forms of a copy that can be written in this state, over so many bytes of output. */
const FORMS: readonly {
  readonly can: (state: number, have: number) => boolean;
  readonly write: (stream: Stream, step: Step) => void;
}[] = [
  {
    // 0000DDSS: two bytes, from 1 KiB at most.
    can: (state, have) => state >= 1 && state <= 3 && have > 0,
    write: (stream, { distance, literals }) => {
      const d = 1 + (distance % Math.min(1024, stream.text.length));
      stream.out.push((((d - 1) & 3) << 2) | literals, (d - 1) >> 2);
      stream.copy(d, 2);
    },
  },
  {
    // 0000DDSS behind a run: three bytes, from 2 to 3 KiB.
    can: (state, have) => state === 4 && have >= 2049,
    write: (stream, { distance, literals }) => {
      const d = 2049 + (distance % Math.min(1024, stream.text.length - 2048));
      stream.out.push((((d - 2049) & 3) << 2) | literals, (d - 2049) >> 2);
      stream.copy(d, 3);
    },
  },
  {
    // 01LDDDSS and 1LLDDDSS: 3 to 8 bytes, from 2 KiB at most.
    can: (_, have) => have > 0,
    write: (stream, { distance, length, literals }) => {
      const d = 1 + (distance % Math.min(2048, stream.text.length));
      const size = 3 + (length % 6);
      const high = size < 5 ? 0x40 | ((size - 3) << 5) : 0x80 | ((size - 5) << 5);
      stream.out.push(high | (((d - 1) & 7) << 2) | literals, (d - 1) >> 3);
      stream.copy(d, size);
    },
  },
  {
    // 001LLLLL: any length, from 16 KiB at most.
    can: (_, have) => have > 0,
    write: (stream, { distance, length, literals }) => {
      const d = 1 + (distance % Math.min(16_384, stream.text.length));
      const size = 3 + (length % 900);
      const { low, more } = stream.length(size - 2, 5);
      const word = ((d - 1) << 2) | literals;
      stream.out.push(0x20 | low, ...more, word & 255, word >> 8);
      stream.copy(d, size);
    },
  },
  {
    // 0001HLLL: any length, from 16 to 48 KiB.
    can: (_, have) => have > 16_384,
    write: (stream, { distance, length, literals }) => {
      const d = 16_385 + (distance % Math.min(32_767, stream.text.length - 16_384));
      const size = 3 + (length % 900);
      const { low, more } = stream.length(size - 2, 3);
      const beyond = d - 16_384;
      const word = ((beyond & 0x3fff) << 2) | literals;
      stream.out.push(0x10 | ((beyond >> 14) << 3) | low, ...more, word & 255, word >> 8);
      stream.copy(d, size);
    },
  },
];

function write(steps: readonly Step[], versioned: boolean): Written {
  const stream = new Stream();
  if (versioned) stream.out.push(17, 0);
  for (const [i, step] of steps.entries()) {
    const forms = FORMS.filter(({ can }) => can(stream.state, stream.text.length));
    if (i === 0 && step.form % 2 === 0) first(stream, step);
    else if (forms.length === 0 || (stream.state === 0 && step.form % 4 === 0)) run(stream, step);
    else {
      forms[step.form % forms.length]?.write(stream, step);
      stream.trailing(step.literals, step.seed);
    }
  }
  stream.out.push(17, 0, 0);
  return { compressed: Uint8Array.from(stream.out), block: Uint8Array.from(stream.text) };
}

const step = fc.record<Step>({
  form: fc.nat(1000),
  distance: fc.nat(100_000),
  length: fc.oneof(fc.nat(12), fc.nat(100_000)),
  literals: fc.nat(3),
  seed: fc.nat(255),
});

/** Streams of so many instructions at most. */
const streams = (most: number): fc.Arbitrary<Written> =>
  fc
    .tuple(fc.array(step, { maxLength: most, size: "max" }), fc.nat(9))
    // The shortest stream with a version has five bytes: it is never empty.
    .map(([steps, dice]) => write(steps, dice === 0 && steps.length > 0));

/** Short streams. */
export const shortLzo1x = streams(15);

/** Long streams, which reach the forms for far copies. */
export const anyLzo1x = streams(250);
