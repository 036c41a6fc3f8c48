/**
 * Types of memory as values, with the TypeScript type of what they decode to inferred:
 *
 * @example
 * const entry = struct({ first: u64, second: u32, third: u8 });
 * type Entry = Infer<typeof entry>;                     // { first: bigint; second: number; third: number }
 * const value = await memory.read(entry, 0x1000);
 *
 * Integers of at most 32 bits and floats are `number`; 64-bit integers and pointers are `bigint`.
 *
 * Byte order: a type without one in its name takes that of the address space it is read through (little-endian by
 * default, also for a bare `decode`); `u32be` and its like, `bigEndian(type)` and `littleEndian(type)` fix it.
 * `pointer` likewise takes the address space's size.
 */
export { array, bytes, cString } from "./arrays.js";
export { bits } from "./bits.js";
export {
  bigEndian,
  bool8,
  f32,
  f32be,
  f32le,
  f64,
  f64be,
  f64le,
  i8,
  i16,
  i16be,
  i16le,
  i32,
  i32be,
  i32le,
  i64,
  i64be,
  i64le,
  littleEndian,
  pointer,
  pointer32,
  pointer64,
  u8,
  u16,
  u16be,
  u16le,
  u32,
  u32be,
  u32le,
  u64,
  u64be,
  u64le,
} from "./scalars.js";
export {
  at,
  type Members,
  type MemberValue,
  Padding,
  Placed,
  padding,
  Struct,
  type StructOptions,
  type StructValue,
  struct,
} from "./struct.js";
export { type Abi, type Infer, MAX_TYPE_SIZE, Type } from "./type.js";
