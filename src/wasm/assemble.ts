/**
 * An assembler for small WebAssembly modules: one memory, which is imported, and one function over 32-bit numbers.
 * Encodings are those of the WebAssembly core specification 2.0, chapter 5.
 *
 * Instructions are written as expressions: `i32.add(get(a), i32.const(4))` gives the code that pushes the sum.
 */

/** Encoded instructions. */
export type Code = readonly number[];

const I32 = 0x7f;
const I64 = 0x7e;
const V128 = 0x7b;
/** Before the instructions on vectors. */
const VECTOR = 0xfd;
/** A block that leaves nothing on the stack. */
const EMPTY = 0x40;
const END = 0x0b;
/** Of a memory with 32-bit addresses. */
const MOST_PAGES = 65_536;

/** LEB128 of a number from 0 to 2^32 - 1. @throws {RangeError} for any other. */
export function unsigned(value: number): number[] {
  if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 32))
    throw new RangeError(`no 32-bit number: ${value}`);
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return bytes;
}

/** LEB128 of a signed number of up to 64 bits. */
export function signed(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const low = Number(rest & 127n);
    rest >>= 7n;
    const isLast = rest === ((low & 64) === 0 ? 0n : -1n);
    bytes.push(isLast ? low : low | 128);
    if (isLast) return bytes;
  }
}

type Operand = Code;

const unary = (code: number) => (a: Operand) => [...a, code];
const binary = (code: number) => (a: Operand, b: Operand) => [...a, ...b, code];
/** `align` is the exponent of the alignment that the address is promised to have; `offset` is added to it, in bytes. */
const load =
  (code: number, align: number) =>
  (address: Operand, offset = 0) => [...address, code, align, ...unsigned(offset)];
const store =
  (code: number, align: number) =>
  (address: Operand, value: Operand, offset = 0) => [...address, ...value, code, align, ...unsigned(offset)];

/** Instructions on 32-bit numbers. Those named `U` take them as unsigned. */
export const i32 = {
  const: (value: number): Code => [0x41, ...signed(BigInt(value | 0))],
  load: load(0x28, 2),
  load8U: load(0x2d, 0),
  store: store(0x36, 2),
  store8: store(0x3a, 0),
  eqz: unary(0x45),
  eq: binary(0x46),
  ne: binary(0x47),
  gtU: binary(0x4b),
  geU: binary(0x4f),
  add: binary(0x6a),
  remU: binary(0x70),
  and: binary(0x71),
  or: binary(0x72),
  xor: binary(0x73),
  shl: binary(0x74),
  shrU: binary(0x76),
  /** The low half of a 64-bit number. */
  wrap: unary(0xa7),
};

/** Instructions on 64-bit numbers; comparisons give 32-bit ones. */
export const i64 = {
  const: (value: bigint): Code => [0x42, ...signed(BigInt.asIntN(64, value))],
  load: load(0x29, 3),
  eqz: unary(0x50),
  ne: binary(0x52),
  gtU: binary(0x56),
  /** How many low bits are 0. */
  ctz: unary(0x7a),
  sub: binary(0x7d),
  and: binary(0x83),
  or: binary(0x84),
  shl: binary(0x86),
  shrS: binary(0x87),
  shrU: binary(0x88),
  /** Of a 32-bit number, taken as unsigned. */
  extendU: unary(0xad),
};

const vector =
  (code: number) =>
  (...operands: Operand[]): Code => [...operands.flat(), VECTOR, ...unsigned(code)];

/** Instructions on vectors of 16 bytes, whatever they hold. */
export const v128 = {
  load: (address: Operand, offset = 0): Code => [...address, VECTOR, 0x00, 0, ...unsigned(offset)],
  and: vector(0x4e),
  or: vector(0x50),
  xor: vector(0x51),
  not: vector(0x4d),
  /** Whether any bit is 1. */
  anyTrue: vector(0x53),
};

/** Instructions on vectors of 16 bytes; `bitmask` gives the highest bits of all. */
export const i8x16 = {
  splat: vector(0x0f),
  eq: vector(0x23),
  bitmask: vector(0x64),
  /** The bytes at these places (0 to 15). */
  shuffle: (a: Operand, places: readonly number[]): Code => [...a, ...a, VECTOR, 0x0d, ...places],
};

/** Instructions on vectors of four 32-bit numbers. */
export const i32x4 = {
  splat: vector(0x11),
  gtU: vector(0x3c),
  sub: vector(0xb1),
  bitmask: vector(0xa4),
};

/** Instructions on vectors of two 64-bit numbers. Those named `S` take them as signed. */
export const i64x2 = {
  splat: vector(0x12),
  gtS: vector(0xd9),
  sub: vector(0xd1),
  bitmask: vector(0xc4),
};

/** Instructions on doubles. */
export const f64 = {
  store: store(0x39, 3),
  /** Of a signed 64-bit number. */
  ofI64: unary(0xb9),
};

/** Pushes a local. */
export const get = (local: number): Code => [0x20, ...unsigned(local)];
/** Pops into a local. */
export const set = (local: number, value: Operand): Code => [...value, 0x21, ...unsigned(local)];
/** Into a local, and leaves it on the stack. */
export const tee = (local: number, value: Operand): Code => [...value, 0x22, ...unsigned(local)];

/** Code that `leave` and `leaveIf` leave at its end; depth 0 is the innermost. */
export const block = (...body: Code[]): Code => [0x02, EMPTY, ...body.flat(), END];
/** Code that `leave` and `leaveIf` begin anew. */
export const loop = (...body: Code[]): Code => [0x03, EMPTY, ...body.flat(), END];
export const when = (condition: Operand, ...body: Code[]): Code => [
  ...condition,
  0x04,
  EMPTY,
  ...body.flat(),
  END,
];
export const leave = (depth: number): Code => [0x0c, ...unsigned(depth)];
/** Leaves the function with what is on the stack. */
export const giveBack = (value: Operand): Code => [...value, 0x0f];
export const leaveIf = (depth: number, condition: Operand): Code => [...condition, 0x0d, ...unsigned(depth)];

/** The one function of a module. */
export interface WasmFunction {
  /** As it is exported. */
  readonly name: string;
  /** Parameters, all `i32`: locals 0 on. It returns one `i32`. */
  readonly parameters: number;
  /** Further locals: first so many `i32`, then so many `i64`, then so many vectors. */
  readonly locals: { readonly i32: number; readonly i64: number; readonly v128?: number };
  readonly body: Code;
}

/** A module's bytes. It imports its memory as `host.memory`: of exactly `pages` pages, or of any size, shared between threads or not. */
export function assemble(
  { name, parameters, locals, body }: WasmFunction,
  pages: number | "any" | "shared",
): Uint8Array<ArrayBuffer> {
  const text = (value: string) => [...unsigned(value.length), ...[...value].map((c) => c.charCodeAt(0))];
  const section = (id: number, content: readonly number[]) => [id, ...unsigned(content.length), ...content];
  const list = (...items: Code[]) => [...unsigned(items.length), ...items.flat()];
  const repeated = (count: number, type: number) => [...unsigned(count), type];
  const { i32: words, i64: longs, v128: vectors = 0 } = locals;
  const all = [
    repeated(words, I32),
    repeated(longs, I64),
    ...(vectors === 0 ? [] : [repeated(vectors, V128)]),
  ];
  const code = [...list(...all), ...body, END];
  // A shared memory has a maximum always; what is imported may have a lower one. (The threads proposal, "Binary format".)
  const limits =
    pages === "any"
      ? [0x00, 0x00]
      : pages === "shared"
        ? [0x03, 0x00, ...unsigned(MOST_PAGES)]
        : [0x01, ...unsigned(pages), ...unsigned(pages)];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, list([0x60, ...list(...Array.from({ length: parameters }, () => [I32])), ...list([I32])])),
    ...section(2, list([...text("host"), ...text("memory"), 0x02, ...limits])),
    ...section(3, list([0])),
    ...section(7, list([...text(name), 0x00, 0x00])),
    ...section(10, list([...unsigned(code.length), ...code])),
  ]);
}
