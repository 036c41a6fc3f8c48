/** Pointers in a kernel's memory. */
import type { Fault, Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";

/** Reads `count` pointers that lie one after the other. @returns them, or the fault. */
export function* pointersAt(memory: AddressSpace, at: bigint, count: number): Routine<bigint[] | Fault> {
  const size = memory.pointerSize;
  const { bytes, holes } = yield* memory.readPartial(BigInt.asUintN(64, at), count * size);
  const hole = holes[0];
  return hole === undefined ? pointersIn(memory, bytes) : hole.fault;
}

/** The bytes as pointers. */
export function pointersIn(memory: AddressSpace, bytes: Uint8Array): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { littleEndian, pointerSize: size } = memory.abi;
  const found: bigint[] = [];
  for (let at = 0; at + size <= bytes.length; at += size) {
    found.push(size === 8 ? view.getBigUint64(at, littleEndian) : BigInt(view.getUint32(at, littleEndian)));
  }
  return found;
}
