import fc from "fast-check";
import { expect, it } from "vitest";
import { AT_ZERO } from "../../src/formats/pieces.js";
import { DEFLATED, DELTA, RamLog, specialRow } from "../../src/formats/qemu/qemu-ram-log.js";

const STRIDE = 4104;

it("a million pages sent one after another are one run", () => {
  const log = new RamLog(STRIDE);
  for (let i = 0; i < 1_000_000; i++) log.add(5 + i, 300 + i * STRIDE);
  const laid = log.lay();
  expect(laid.length).toBe(1);
  expect([laid.starts[0], laid.ends[0], laid.targets[0]]).toEqual([5 * STRIDE, 1_000_005 * STRIDE, 300]);
});

it("says the last copy of each page and the base of each delta, however early overwritten runs are dropped", () => {
  const step = fc.tuple(fc.nat(12), fc.constantFrom("page", "zero", "deflated", "delta", "run"));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.constantFrom(1, 3, 10, 1000), (steps, compactFrom) => {
      const log = new RamLog(STRIDE, compactFrom);
      // What each page is made of: names of copies, the last first.
      const model = new Map<number, string[]>();
      steps.forEach(([page, kind], i) => {
        const at = 1_000_000 + i * 10_000;
        if (kind === "zero") {
          log.addZeros(page);
          model.set(page, ["zero"]);
        } else if (kind === "page") {
          log.add(page, at);
          model.set(page, [`${at}`]);
        } else if (kind === "run") {
          log.addRun(page, 3, at);
          for (let k = 0; k < 3; k++) model.set(page + k, [`${at + k * STRIDE}`]);
        } else {
          log.addSpecial(page, kind === "delta" ? DELTA : DEFLATED, at, 7);
          model.set(page, kind === "delta" ? [`${at}`, ...(model.get(page) ?? ["nothing"])] : [`${at}`]);
        }
      });
      const laid = log.lay();
      const found = new Map<number, string[]>();
      for (let i = 0; i < laid.length; i++) {
        for (let unit = laid.starts[i] as number; unit < (laid.ends[i] as number); unit += STRIDE) {
          let target = laid.targets[i] as number;
          if (target >= 0) target += unit - (laid.starts[i] as number);
          const chain: string[] = [];
          for (let row = specialRow(target); row >= 0; row = specialRow(target)) {
            chain.push(`${log.specials.offsets[row]}`);
            if (log.specials.kinds[row] !== DELTA) break;
            target = log.specials.bases[row] as number;
          }
          const end =
            specialRow(target) >= 0
              ? []
              : [target === AT_ZERO ? "zero" : target < 0 ? "nothing" : `${target}`];
          found.set(unit / STRIDE, [...chain, ...end]);
        }
      }
      const sorted = (map: Map<number, string[]>) => [...map].sort(([a], [b]) => a - b);
      expect(sorted(found)).toEqual(sorted(model));
    }),
    { numRuns: 500 },
  );
});
