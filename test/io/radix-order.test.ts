import fc from "fast-check";
import { expect, it } from "vitest";
import { ascendingOrder } from "../../src/io/radix-order.hot.js";

it("addresses of any bits, few or many, come in ascending order, equal ones in that of their indices", () => {
  const word = fc.oneof(fc.nat(3), fc.nat(0xffff), fc.integer({ min: 0, max: 0xffff_ffff }));
  const address = fc.tuple(word, word);
  fc.assert(
    fc.property(
      fc.oneof(fc.array(address, { maxLength: 30 }), fc.array(address, { minLength: 100, maxLength: 400 })),
      fc.constantFrom(0, 1, 2),
      (addresses, lowest) => {
        const words = Uint32Array.from(addresses.flat());
        const keys = addresses.map(
          ([lo, hi]) => (BigInt(hi) << 32n) | BigInt(((lo >>> (8 * lowest)) << (8 * lowest)) >>> 0),
        );
        const expected = [...keys.keys()].sort((a, b) =>
          keys[a] === keys[b] ? a - b : (keys[a] as bigint) < (keys[b] as bigint) ? -1 : 1,
        );
        expect([...ascendingOrder(words, addresses.length, lowest).subarray(0, addresses.length)]).toEqual(
          expected,
        );
      },
    ),
    { numRuns: 300 },
  );
});
