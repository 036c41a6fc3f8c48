import { readFileSync } from "node:fs";
import { slabSuite } from "../../support/slab-suite.js";

slabSuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
