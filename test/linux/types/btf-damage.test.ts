import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Btf } from "../../../src/linux/types/btf/btf.js";
import { TypesError } from "../../../src/linux/types/type-table.js";
import { writeBtf } from "../../support/btf-writer.js";
import { walkTypes } from "../../support/walk-types.js";
import { INT, LONG, typesOf, writtenTypes } from "../../support/written-types.js";

describe("damaged BTF", () => {
  it("of an unknown kind, keeps what is in front of it and says where it stands", () => {
    const { bytes } = writeBtf([INT, LONG, { kind: "pointer", type: 1 }]);
    // The third type begins behind two of 16 bytes; kind 31 is none.
    bytes[24 + 32 + 7] = 31;
    const btf = new Btf(bytes, { name: "a BTF" });
    expect(btf.count).toBe(2);
    expect(btf.damage).toContain("a BTF: type 3 at offset 0x38 can't be read (its kind is 31)");
    expect(btf.find("name", "int")?.kind).toBe("int");
  });

  it.each([
    ["no bytes", () => new Uint8Array(0), "header"],
    ["another magic", () => writeBtf([INT]).bytes.fill(0, 0, 2), "magic"],
    ["another version", () => writeBtf([INT]).bytes.fill(9, 2, 3), "version"],
    ["a header that is too short", () => writeBtf([INT]).bytes.fill(4, 4, 5), "hdr_len"],
    ["types that end behind its end", () => writeBtf([INT]).bytes.fill(0xff, 12, 16), "types"],
    ["strings that end behind its end", () => writeBtf([INT]).bytes.fill(0xff, 20, 24), "strings"],
  ])("is refused with %s", (_what, make, part) => {
    try {
      new Btf(make());
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(TypesError);
      expect((error as TypesError).code).toBe("BTF");
      expect((error as TypesError).part).toBe(part);
    }
  });

  it("with bytes changed or cut off is refused, or every type that is left can be looked at", () => {
    fc.assert(
      fc.property(
        writtenTypes,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
        fc.option(fc.nat()),
        (types, changes, cut) => {
          const { bytes } = writeBtf(types);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          const left = cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1));
          let btf: Btf;
          try {
            btf = new Btf(left);
          } catch (error) {
            expect(error).toBeInstanceOf(TypesError);
            return;
          }
          walkTypes(btf, typesOf(btf));
        },
      ),
      { numRuns: 500 },
    );
  });
});
