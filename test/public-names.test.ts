import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { LIST, publicNames } from "../scripts/public-names.mjs";

test("the package exports what test/public-names.txt lists (node scripts/public-names.mjs --write, if that is meant)", () => {
  const listed = new Set(readFileSync(LIST, "utf8").trim().split("\n"));
  const exported = new Set(publicNames().trim().split("\n"));
  expect({
    gone: [...listed].filter((name) => !exported.has(name)),
    new: [...exported].filter((name) => !listed.has(name)),
  }).toEqual({ gone: [], new: [] });
});
