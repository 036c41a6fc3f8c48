import fc from "fast-check";
import { expect, it } from "vitest";
import { WantedTables } from "../../src/paging/tables/wanted-tables.js";

/** Page numbers that differ in their high bits alone, which share a place in any hash of the low ones; and others. */
const page = fc.oneof(
  fc.nat(2000),
  fc.nat(2 ** 20 - 1).map((high) => high * 2 ** 32 + 7),
);

it("tables that are wanted are found by their addresses, and nothing else is, however often they are used again", () => {
  fc.assert(
    fc.property(fc.array(fc.array(page, { maxLength: 700, size: "max" }), { maxLength: 5 }), (rounds) => {
      const wanted = WantedTables.take();
      for (const pages of rounds) {
        const addresses = [...new Set(pages)].map((number) => number * 4096);
        const others = pages
          .map((number) => (number + 1) * 4096)
          .filter((other) => !addresses.includes(other));
        for (const [i, address] of addresses.entries()) {
          expect(wanted.has(address)).toBe(false);
          wanted.add(address, i * 8 + 2, i, i + 1, i + 2, i % 16);
        }
        expect(wanted.length).toBe(addresses.length);
        for (const [i, address] of addresses.entries()) {
          expect(wanted.has(address)).toBe(true);
          expect([
            wanted.addresses[i],
            wanted.entries[i],
            wanted.entryLo[i],
            wanted.entryHi[i],
            wanted.rows[i],
            wanted.rights[i],
          ]).toEqual([address, i * 8 + 2, i, i + 1, i + 2, i % 16]);
        }
        for (const other of others) expect(wanted.has(other)).toBe(false);
        wanted.clear();
        for (const address of addresses) expect(wanted.has(address)).toBe(false);
      }
      wanted.give();
    }),
    { numRuns: 60 },
  );
});
