import { describe, expect, it } from "vitest";
import { minorsText } from "../../cli/linux/tty.js";
import type { TtyDriver } from "../../src/linux/index.js";

describe("the minors of a driver of terminals", () => {
  const text = (minor: number, count: number) => minorsText({ major: 4, minor, count } as TtyDriver);
  const all = "0-1048575";

  it("are its ranges, one for each major", () => {
    expect(text(64, 1)).toBe("64");
    expect(text(1_048_575, 3)).toBe("1048575, 0-1");
    expect(text(0, 4 << 20)).toBe([all, all, all, all].join(", "));
  });

  it("are the first four of a count that lies, and how many more there are", () => {
    expect(text(0, (4 << 20) + 1)).toBe(`${[all, all, all, all].join(", ")}, and 1 more`);
    expect(text(0, 0xffff_ffff)).toBe(`${[all, all, all, all].join(", ")}, and 4088 more`);
  });
});
