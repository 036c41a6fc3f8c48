import stringWidth from "string-width";
import { describe, expect, it } from "vitest";
import { displayWidth } from "../../cli/packages.js";

/** Characters that join others, or change how wide these are. */
const JOINERS = ["\u0301", "\u200d", "\ufe0f", "\u20e3", "\u{1f3fb}"];

describe("columns of a text", () => {
  it("are string-width's for every character of the first ten thousand, and beside what joins or follows it", () => {
    const wrong: string[] = [];
    for (let code = 0; code < 0x2700; code++) {
      const character = String.fromCharCode(code);
      if (displayWidth(character) !== stringWidth(character)) wrong.push(code.toString(16));
    }
    for (const joiner of JOINERS) {
      for (const character of ["a", "é", "☃", "©", "1", "↔", "漢"]) {
        for (const text of [character + joiner, joiner + character, `${character}${joiner}${character}`])
          if (displayWidth(text) !== stringWidth(text)) wrong.push(JSON.stringify(text));
      }
    }
    expect(wrong).toEqual([]);
  });

  it("are string-width's for texts of many characters", () => {
    for (const text of ["naïve ☃ argument", "Ωμέγα – “ѣ” … ½", "─┼█ 漢字 x", "\u001b[31mrot\u001b[39m é"])
      expect(displayWidth(text)).toBe(stringWidth(text));
  });
});
