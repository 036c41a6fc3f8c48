import fc from "fast-check";
import { expect, it } from "vitest";
import { movedAddress, moveImage } from "../../../src/linux/symbols/kallsyms-addresses.hot.js";

const narrow = fc.oneof(fc.bigInt(0n, 0x2_0000n), fc.bigInt(0x3fff_0000n, 0xffff_ffffn));
const wide = fc.oneof(fc.bigInt(0n, 0x4_0000n), fc.bigInt(0xffff_8000_0000_0000n, 0xffff_ffff_ffff_ffffn));
const tables = fc
  .constantFrom(narrow, wide)
  .chain((address) => fc.array(address, { minLength: 1, maxLength: 20 }))
  .map((list) => BigUint64Array.from(list).sort());
const distances = fc.oneof(fc.bigInt(-0x4000_0000n, 0x4000_0000n), fc.bigInt(0n, 0xffff_ffff_ffff_ffffn));

it("addresses that are moved one by one are those of a table that is moved, of 32 bits and of 64", () => {
  fc.assert(
    fc.property(tables, distances, (addresses, by) => {
      const moved = addresses.slice();
      moveImage(moved, by);
      const highest = addresses.at(-1) as bigint;
      expect(Array.from(addresses, (address) => movedAddress(address, highest, by))).toEqual([...moved]);
    }),
    { numRuns: 500 },
  );
});
