/** Changes to a dump's bytes: some blind, some that know what headers are made of. */

type Next = (below: number) => number;

/** Numbers at which code changes its mind. */
const INTERESTING = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0xfffn,
  0x1000n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  (1n << 52n) - 1n,
  1n << 52n,
  1n << 53n,
  (1n << 63n) - 1n,
  1n << 63n,
  -1n,
  -2n,
  -4096n,
];

/** A stretch of bytes that headers of dumps are shorter than, mostly. */
const NEAR = 600;

/** A changed copy. @param other A second dump, of which parts may be taken. */
export function mutate(bytes: Uint8Array, other: Uint8Array, next: Next, maxLength: number): Uint8Array {
  let out: Uint8Array = bytes.slice();
  const rounds = 1 + next(1 << next(4));
  for (let i = 0; i < rounds && out.length > 0; i++)
    out = (MUTATIONS[next(MUTATIONS.length)] as Mutation)(out, other, next);
  return out.length > maxLength ? out.subarray(0, maxLength) : out;
}

type Mutation = (bytes: Uint8Array, other: Uint8Array, next: Next) => Uint8Array;

/** Half of the changes hit the beginning, where headers are. */
function place(bytes: Uint8Array, next: Next): number {
  return next(2) === 0 ? next(Math.min(NEAR, bytes.length)) : next(bytes.length);
}

const flipBit: Mutation = (bytes, _other, next) => {
  const at = place(bytes, next);
  bytes[at] = (bytes[at] as number) ^ (1 << next(8));
  return bytes;
};

const setByte: Mutation = (bytes, _other, next) => {
  bytes[place(bytes, next)] = next(256);
  return bytes;
};

const setField: Mutation = (bytes, _other, next) => {
  const width = [2, 4, 4, 8][next(4)] as number;
  if (bytes.length < width) return bytes;
  const at = Math.min(bytes.length - width, place(bytes, next) & ~(next(4) === 0 ? 0 : 3));
  const value = BigInt.asUintN(8 * width, INTERESTING[next(INTERESTING.length)] as bigint);
  putField(bytes, at, width, value, next(4) !== 0);
  return bytes;
};

/** Adds a little to a field, or takes it away; or makes it about as large as the file. */
const nudgeField: Mutation = (bytes, _other, next) => {
  const width = next(2) === 0 ? 4 : 8;
  if (bytes.length < width) return bytes;
  const at = Math.min(bytes.length - width, place(bytes, next) & ~3);
  const little = next(4) !== 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const old = width === 4 ? BigInt(view.getUint32(at, little)) : view.getBigUint64(at, little);
  const base = next(3) === 0 ? BigInt(bytes.length) : old;
  const value = BigInt.asUintN(8 * width, base + BigInt(next(65) - 32));
  putField(bytes, at, width, value, little);
  return bytes;
};

function putField(bytes: Uint8Array, at: number, width: number, value: bigint, little: boolean): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (width === 2) view.setUint16(at, Number(value), little);
  else if (width === 4) view.setUint32(at, Number(value), little);
  else view.setBigUint64(at, value, little);
}

const cut: Mutation = (bytes, _other, next) => bytes.slice(0, 1 + place(bytes, next));

const remove: Mutation = (bytes, _other, next) => {
  const at = place(bytes, next);
  const length = 1 + next(Math.min(64, bytes.length - at));
  const out = new Uint8Array(bytes.length - length);
  out.set(bytes.subarray(0, at));
  out.set(bytes.subarray(at + length), at);
  return out;
};

const insert: Mutation = (bytes, other, next) => {
  const from = next(other.length);
  const piece = other.subarray(from, from + 1 + next(256));
  const at = place(bytes, next);
  const out = new Uint8Array(bytes.length + piece.length);
  out.set(bytes.subarray(0, at));
  out.set(piece, at);
  out.set(bytes.subarray(at), at + piece.length);
  return out;
};

/** Overwrites with bytes of the other dump: headers that point to themselves, structures in each other's place. */
const splice: Mutation = (bytes, other, next) => {
  const from = place(other, next);
  const at = place(bytes, next);
  const piece = other.subarray(from, from + Math.min(1 + next(512), bytes.length - at));
  bytes.set(piece, at);
  return bytes;
};

const fill: Mutation = (bytes, _other, next) => {
  const at = place(bytes, next);
  bytes.fill(next(2) === 0 ? 0 : 255, at, at + 1 + next(64));
  return bytes;
};

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  setByte,
  setField,
  setField,
  nudgeField,
  nudgeField,
  cut,
  remove,
  insert,
  splice,
  fill,
];
