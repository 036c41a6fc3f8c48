import { expect, test } from "vitest";
import { UsageError } from "../../cli/errors.js";
import { searchWanted } from "../../cli/search/patterns.js";

test.each([
  ["no pattern", {}],
  ["an empty text", { text: [""] }],
  ["a limit of none", { text: ["a"], limit: "0" }],
  ["a length without a start", { text: ["a"], length: "4K" }],
  ["an expression that is none", { regex: ["("] }],
  ["a range to point to that is none", { pointerTo: ["here"] }],
])("search refuses %s before the target is opened", (_, options) => {
  expect(() => searchWanted(options)).toThrow(UsageError);
});
