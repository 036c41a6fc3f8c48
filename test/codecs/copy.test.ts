import { expect, it } from "vitest";
import { copyMatch } from "../../src/codecs/copy.hot.js";

it("a match that overlaps itself repeats its bytes, in as few copies as doubling takes", () => {
  for (const distance of [1, 2, 3, 7, 47, 48, 49, 64]) {
    for (const length of [1, 2, 47, 48, 49, 100, 1000, 4096]) {
      const output = new Uint8Array(distance + length + 1).fill(0xee);
      for (let i = 0; i < distance; i++) output[i] = i + 1;
      copyMatch(output, distance, distance, length);
      const expected = Uint8Array.from(output, (_, i) =>
        i === distance + length ? 0xee : (i % distance) + 1,
      );
      expect(output).toEqual(expected);
    }
  }
  const output = new Uint8Array(65_536);
  let copies = 0;
  output.copyWithin = function (...range) {
    copies++;
    Uint8Array.prototype.copyWithin.apply(this, range);
    return this;
  };
  copyMatch(output, 2, 2, 65_000);
  expect(copies).toBeLessThan(20);
});
