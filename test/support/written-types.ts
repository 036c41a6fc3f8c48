/** Types for tests of BTF: the commonest, and any. */
import fc from "fast-check";
import type { Btf } from "../../src/linux/types/btf/btf.js";
import type { CType } from "../../src/linux/types/c-type.js";
import type { WrittenType } from "./btf-writer.js";

export const INT: WrittenType = { kind: "int", name: "int", size: 4, signed: true };
export const LONG: WrittenType = { kind: "int", name: "long unsigned int", size: 8 };

/** A graph of types: every number may be that of any type, also of one behind it. */
export const writtenTypes: fc.Arbitrary<WrittenType[]> = fc.integer({ min: 1, max: 12 }).chain((count) => {
  const id = fc.integer({ min: 0, max: count });
  const name = fc.constantFrom("", "a", "b", "list_head", "task_struct");
  const given = fc.constantFrom("a", "b", "c", "d", "e");
  const constants = (bits: bigint) =>
    fc.tuple(fc.boolean(), fc.uniqueArray(given, { maxLength: 3 })).chain(([signed, names]) =>
      fc
        .array(
          signed
            ? fc.bigInt({ min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n })
            : fc.bigInt({ min: 0n, max: (1n << bits) - 1n }),
          { minLength: names.length, maxLength: names.length },
        )
        .map((values) => ({
          signed,
          constants: names.map((each, i) => ({ name: each, value: values[i] as bigint })),
        })),
    );
  const member = fc.record({
    name,
    type: id,
    bit: fc.integer({ min: 0, max: 4000 }),
    bits: fc.constantFrom(0, 0, 1, 7, 31),
  });
  const type: fc.Arbitrary<WrittenType> = fc.oneof(
    fc.record({
      kind: fc.constant("int" as const),
      name: given,
      size: fc.constantFrom(1, 2, 4, 8),
      signed: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("float" as const), name: given, size: fc.constantFrom(4, 8) }),
    fc.record({ kind: fc.constantFrom("pointer", "const", "volatile", "restrict"), type: id }),
    fc.record({ kind: fc.constantFrom("typedef", "typeTag"), name: given, type: id }),
    fc.record({
      kind: fc.constant("array" as const),
      element: id,
      index: id,
      count: fc.integer({ min: 0, max: 99 }),
    }),
    fc.record({
      kind: fc.constantFrom("struct", "union"),
      name,
      size: fc.integer({ min: 0, max: 512 }),
      members: fc.array(member, { maxLength: 5 }),
    }),
    constants(32n).chain((of) =>
      fc
        .record({ kind: fc.constant("enum" as const), name, size: fc.constant(4) })
        .map((head) => ({ ...head, ...of })),
    ),
    constants(64n).chain((of) =>
      fc
        .record({ kind: fc.constant("enum64" as const), name, size: fc.constant(8) })
        .map((head) => ({ ...head, ...of })),
    ),
    fc.record({ kind: fc.constant("forward" as const), name: given, union: fc.boolean() }),
    fc.record({
      kind: fc.constant("prototype" as const),
      returns: id,
      parameters: fc.array(fc.record({ name: given, type: id }), { maxLength: 3 }),
      variadic: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("variable" as const), name: given, type: id }),
  );
  return fc.array(type, { minLength: count, maxLength: count });
});

/** Every type of a BTF by its number, `void` first. */
export function typesOf(btf: Btf): CType[] {
  return [...Array(btf.count + 1).keys()].map((i) => btf.type(i));
}
