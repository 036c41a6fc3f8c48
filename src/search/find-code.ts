/**
 * What looks for places in memory as WebAssembly, 64 bytes a turn with its vector instructions. V8 compares a byte at a time
 * where a plain loop does, and checks its bounds; here nothing is between the loads and the compares.
 */
import {
  assemble,
  block,
  type Code,
  get,
  giveBack,
  i8x16,
  i32,
  i32x4,
  i64,
  i64x2,
  leave,
  leaveIf,
  loop,
  set,
  tee,
  v128,
  type WasmFunction,
  when,
} from "../wasm/assemble.js";
import { instantiate, type SharedWasmMemory, type Wasm, type WasmMemory } from "../wasm/platform.js";

/** Bytes that it may load behind the last place's own, whatever they are. */
export const SLACK = 64;
/** Bytes a turn, and a vector. */
const TURN = 64;
const VECTOR = 16;

/**
 * How literals are looked for: by two of their bytes, `masked` if bits of them do not count; by one (`single`) where there is
 * but one that tells.
 */
export interface LiteralForm {
  readonly masked: boolean;
  readonly single: boolean;
}

/**
 * `(from, end, values, length, first, second, firstByte, secondByte, align, phase)`: the first place (address in the memory) from
 * `from` to `end` (exclusive) where the literal is, or -1. At `values` lie its bytes, padded with zeros to whole vectors (`length`),
 * then as many masks. `first`, `second`: where in it the bytes are that are looked for: the value, the mask in the byte above.
 * `align`: (place + phase) is a multiple of it; at least 1.
 */
export type FindLiteral = (...values: number[]) => number;

/**
 * `(from, end, bounds, align, phase)`: the first word at `from`, or whole words behind, up to `end` (exclusive), whose value is in
 * the range, or -1. At `bounds` lies its start, then how far behind it the last value is; both of 64 bits.
 */
export type FindRange = (...values: number[]) => number;

/** A memory, and whether it is shared: code for the one can't have the other. */
export interface FinderMemory {
  readonly memory: WasmMemory | SharedWasmMemory;
  readonly isShared: boolean;
}

/** The function that finds literals of that form, in a memory. @throws what a host throws that has no such instructions. */
export function literalFinder(wasm: Wasm, memory: FinderMemory, form: LiteralForm): FindLiteral {
  return finder(wasm, memory, `literal ${form.masked} ${form.single}`, () => literalCode(form));
}

/** The function that finds words of that size and order in a range. @throws as {@link literalFinder}. */
export function rangeFinder(wasm: Wasm, memory: FinderMemory, size: 4 | 8, littleEndian: boolean): FindRange {
  return finder(wasm, memory, `range ${size} ${littleEndian}`, () => rangeCode(size, littleEndian));
}

/** Compiled once for each host. */
const modules = new WeakMap<Wasm, Map<string, object>>();

function finder(wasm: Wasm, { memory, isShared }: FinderMemory, name: string, make: () => WasmFunction) {
  let ofHost = modules.get(wasm);
  if (ofHost === undefined) {
    ofHost = new Map();
    modules.set(wasm, ofHost);
  }
  const key = `${name} ${isShared}`;
  let module = ofHost.get(key);
  if (module === undefined) {
    module = new wasm.Module(assemble(make(), isShared ? "shared" : "any"));
    ofHost.set(key, module);
  }
  return instantiate(wasm, module, memory).find as FindLiteral;
}

/** Whether the place in a local is not aligned. */
const unaligned = (place: number, align: number, phase: number): Code =>
  i32.and(
    i32.gtU(get(align), i32.const(1)),
    i32.ne(i32.remU(i32.add(get(place), get(phase)), get(align)), i32.const(0)),
  );

function literalCode({ masked, single }: LiteralForm): WasmFunction {
  const [at, end, values, length, first, second, firstByte, secondByte, align, phase] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
  ];
  const [place, i, atFirst, atSecond] = [10, 11, 12, 13];
  const bits = 14;
  const [firstValue, firstMask, secondValue, secondMask] = [15, 16, 17, 18];
  const equal = [19, 20, 21, 22];

  const compare = (base: number, offset: number, value: number, mask: number) => {
    const bytes = v128.load(get(base), offset);
    return i8x16.eq(masked ? v128.and(bytes, get(mask)) : bytes, get(value));
  };
  const candidates = (k: number) => {
    const one = compare(atFirst, k * VECTOR, firstValue, firstMask);
    return single ? one : v128.and(one, compare(atSecond, k * VECTOR, secondValue, secondMask));
  };
  /** Gives the place back if the literal is there. */
  const verify = block(
    leaveIf(0, unaligned(place, align, phase)),
    set(i, i32.const(0)),
    loop(
      leaveIf(
        1,
        v128.anyTrue(
          v128.xor(
            v128.and(
              v128.load(i32.add(get(place), get(i))),
              v128.load(i32.add(i32.add(get(values), get(length)), get(i))),
            ),
            v128.load(i32.add(get(values), get(i))),
          ),
        ),
      ),
      set(i, i32.add(get(i), i32.const(VECTOR))),
      leaveIf(0, i32.gtU(get(length), get(i))),
    ),
    giveBack(get(place)),
  );
  const mask = (k: number) => i8x16.bitmask(get(equal[k] as number));
  const pair = (k: number) => i64.extendU(i32.or(mask(k), i32.shl(mask(k + 1), i32.const(VECTOR))));
  const body = [
    ...set(firstValue, i8x16.splat(get(firstByte))),
    ...set(firstMask, i8x16.splat(i32.shrU(get(firstByte), i32.const(8)))),
    ...set(secondValue, i8x16.splat(get(secondByte))),
    ...set(secondMask, i8x16.splat(i32.shrU(get(secondByte), i32.const(8)))),
    ...block(
      loop(
        leaveIf(1, i32.gtU(i32.add(get(at), i32.const(TURN)), get(end))),
        set(atFirst, i32.add(get(at), get(first))),
        set(atSecond, i32.add(get(at), get(second))),
        ...equal.map((local, k) => set(local, candidates(k))),
        when(
          v128.anyTrue(v128.or(v128.or(get(19), get(20)), v128.or(get(21), get(22)))),
          set(bits, i64.or(pair(0), i64.shl(pair(2), i64.const(32n)))),
          loop(
            set(place, i32.add(get(at), i32.wrap(i64.ctz(get(bits))))),
            verify,
            set(bits, i64.and(get(bits), i64.sub(get(bits), i64.const(1n)))),
            leaveIf(0, i64.ne(get(bits), i64.const(0n))),
          ),
        ),
        set(at, i32.add(get(at), i32.const(TURN))),
        leave(0),
      ),
    ),
    ...block(
      loop(
        leaveIf(1, i32.geU(get(at), get(end))),
        set(place, get(at)),
        verify,
        set(at, i32.add(get(at), i32.const(1))),
        leave(0),
      ),
    ),
    ...i32.const(-1),
  ];
  return { name: "find", parameters: 10, locals: { i32: 4, i64: 1, v128: 8 }, body };
}

function rangeCode(size: 4 | 8, littleEndian: boolean): WasmFunction {
  const [at, end, bounds, align, phase] = [0, 1, 2, 3, 4];
  const [place, bits] = [5, 6];
  const [word, start, last] = [7, 8, 9];
  const [starts, lasts] = [10, 11];
  const beyond = [12, 13, 14, 15];
  const isLong = size === 8;
  const lanes = VECTOR / size;
  const sign = i64.const(1n << 63n);
  const swapped = Array.from({ length: VECTOR }, (_, i) => i - (i % size) + size - 1 - (i % size));
  const load = (offset: number) => {
    const bytes = v128.load(get(at), offset);
    return littleEndian ? bytes : i8x16.shuffle(bytes, swapped);
  };
  // There is no unsigned compare of 64 bits: with 2^63 added to both sides, the signed one does it.
  const isBeyond = (k: number) =>
    isLong
      ? i64x2.gtS(i64x2.sub(load(k * VECTOR), get(starts)), get(lasts))
      : i32x4.gtU(i32x4.sub(load(k * VECTOR), get(starts)), get(lasts));
  const mask = (k: number) => {
    const bitmask = isLong ? i64x2.bitmask : i32x4.bitmask;
    return i32.shl(bitmask(get(beyond[k] as number)), i32.const(k * lanes));
  };
  const giveIfAligned = when(i32.eqz(unaligned(place, align, phase)), giveBack(get(place)));
  /** The number at the place, byte by byte where the order is the other one. */
  const number: Code = littleEndian
    ? isLong
      ? i64.load(get(place))
      : i64.extendU(i32.load(get(place)))
    : Array.from({ length: size }, (_, i) =>
        i64.shl(i64.extendU(i32.load8U(get(place), i)), i64.const(BigInt(8 * (size - 1 - i)))),
      ).reduce((sum, byte) => i64.or(sum, byte));
  const body = [
    ...set(start, i64.load(get(bounds))),
    ...set(last, i64.load(get(bounds), 8)),
    ...(isLong
      ? [
          ...set(starts, i64x2.splat(i64.sub(get(start), sign))),
          ...set(lasts, i64x2.splat(i64.sub(get(last), sign))),
        ]
      : [...set(starts, i32x4.splat(i32.wrap(get(start)))), ...set(lasts, i32x4.splat(i32.wrap(get(last))))]),
    ...block(
      loop(
        leaveIf(1, i32.gtU(i32.add(get(at), i32.const(TURN)), get(end))),
        ...beyond.map((local, k) => set(local, isBeyond(k))),
        when(
          v128.anyTrue(v128.not(v128.and(v128.and(get(12), get(13)), v128.and(get(14), get(15))))),
          set(bits, i32.or(i32.or(mask(0), mask(1)), i32.or(mask(2), mask(3)))),
          set(bits, i32.xor(get(bits), i32.const(2 ** (4 * lanes) - 1))),
          loop(
            set(
              place,
              i32.add(get(at), i32.shl(i32.wrap(i64.ctz(i64.extendU(get(bits)))), i32.const(isLong ? 3 : 2))),
            ),
            giveIfAligned,
            leaveIf(0, tee(bits, i32.and(get(bits), i32.add(get(bits), i32.const(-1))))),
          ),
        ),
        set(at, i32.add(get(at), i32.const(TURN))),
        leave(0),
      ),
    ),
    ...block(
      loop(
        leaveIf(1, i32.geU(get(at), get(end))),
        set(place, get(at)),
        set(word, i64.sub(number, get(start))),
        when(i32.eqz(i64.gtU(get(word), get(last))), giveIfAligned),
        set(at, i32.add(get(at), i32.const(size))),
        leave(0),
      ),
    ),
    ...i32.const(-1),
  ];
  return { name: "find", parameters: 5, locals: { i32: 2, i64: 3, v128: 6 }, body };
}
