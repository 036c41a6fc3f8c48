/** Elements far from the first: their addresses are exact, or refused. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeObject } from "../../../src/linux/objects/object.js";
import { referenceAt } from "../../../src/linux/objects/reference.js";
import type { Unlisted } from "../../../src/linux/objects/schema.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

const SIZES = [1, 2, 4, 8, 24, 4096, 12_345];

describe("an element by its number", () => {
  const types = new HandTypes();
  for (const size of SIZES) types.struct(`s${size}`, ["bytes", `unsigned char[${size}]`]);
  const memory = new HandMemory(types);
  const target = 0xffff_8880_0000_2000n;
  const place = memory.take(8);
  memory.put(place, target);
  const namer = function* () {
    return () => undefined;
  };
  const at = (type: string): Unlisted =>
    makeObject(referenceAt({ memory: memory.space, types, namer }, place, typeNamed(types, type)));

  it("lies as many elements further as it says, or is refused", () => {
    const numbers = fc.oneof(
      fc.maxSafeInteger(),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e30, max: 1e30 }).map(Math.trunc),
      fc.constantFrom(
        2 ** 53 - 1,
        2 ** 53,
        2 ** 53 + 2,
        -(2 ** 53),
        1e15,
        1e16,
        1e21,
        123_456_789_012_345_680,
      ),
    );
    fc.assert(
      fc.property(numbers, fc.constantFrom(...SIZES), (index, size) => {
        let found: bigint | undefined;
        try {
          found = at(`struct s${size} *`)[Object.is(index, -0) ? 0 : index].$.address().sync();
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
        const exact = BigInt(index) * BigInt(size);
        const limit = 2n ** 53n;
        if (exact > -limit && exact < limit && Number.isSafeInteger(index)) {
          expect(found).toBe(BigInt.asUintN(64, target + exact));
        } else expect(found).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it("is too far when steps together are", () => {
    const far = at("struct s1 *")[2 ** 53 - 1];
    expect(() => far.$.offsetBy(1)).toThrow(RangeError);
    expect(() => at("struct s4096 *")[2 ** 41 - 1].bytes[4096]).toThrow(RangeError);
  });

  it("of text is a number, by array or by pointer", () => {
    memory.bytes(place + 4080n - (place % 4096n), new TextEncoder().encode("ab"));
    const text = makeObject(
      referenceAt(
        { memory: memory.space, types, namer },
        place + 4080n - (place % 4096n),
        typeNamed(types, "char[4]"),
      ),
    ) as Unlisted;
    expect(text.$.elements(3).sync()).toEqual([97, 98, 0]);
    expect(text.$.read().sync()).toBe("ab");
    memory.put(place, place + 4080n - (place % 4096n));
    expect(at("char *").$.elements(2).sync()).toEqual([97, 98]);
    memory.put(place, target);
  });
});
