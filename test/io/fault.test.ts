import fc from "fast-check";
import { expect, it } from "vitest";
import {
  describeFault,
  FAULT_CODES,
  FAULT_LOCATIONS,
  FAULT_STATES,
  FAULT_SUBJECTS,
  type FaultState,
  fault,
  faultFields,
  levelDetail,
  levelOf,
  OUTSIDE,
  withDetail,
} from "../../src/index.js";

it("packs every combination of fields into a small integer and back", () => {
  const states = FAULT_STATES.filter((state): state is FaultState => state !== "none");
  fc.assert(
    fc.property(
      fc.constantFrom(...states),
      fc.constantFrom(...FAULT_SUBJECTS),
      fc.constantFrom(...FAULT_LOCATIONS),
      fc.integer({ min: 0, max: 1023 }),
      fc.constantFrom(...FAULT_CODES),
      (state, subject, location, detail, code) => {
        const packed = fault(state, subject, location, detail, code);
        expect(packed).toBeGreaterThan(0);
        expect(packed).toBeLessThan(2 ** 30);
        expect(faultFields(packed)).toEqual({ state, subject, location, detail, code });
        expect(faultFields(withDetail(packed, 77))).toEqual({ state, subject, location, detail: 77, code });
      },
    ),
  );
});

it("says a fault in mfio's words", () => {
  expect(describeFault(OUTSIDE)).toBe("not-found: address in outside state at backend");
  expect(describeFault(fault("io", "file", "connector", 5))).toBe(
    "internal: file in io state at connector (5)",
  );
  expect(describeFault(0)).toBe("no fault");
});

it("keeps the level of a page-table fault, and why its table could not be read", () => {
  const excluded = fault("excluded", "page", "format");
  const missing = fault("table-missing", "page-table", "paging", levelDetail(3, excluded));
  expect(levelOf(missing)).toEqual({ level: 3, cause: "excluded" });
  expect(describeFault(missing)).toContain("(level 3, table is excluded)");
  expect(levelOf(fault("not-present", "page", "paging", levelDetail(1)))).toEqual({
    level: 1,
    cause: undefined,
  });
});

it("reads integers that are no faults without throwing", () => {
  fc.assert(fc.property(fc.integer(), (any) => typeof describeFault(any) === "string"));
});
