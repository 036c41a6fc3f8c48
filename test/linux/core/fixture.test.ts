/** Cores of the committed dump's processes. */
import { readFileSync } from "node:fs";
import { coreSuite } from "../../support/core-suite.js";

coreSuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
