import { readFileSync } from "node:fs";
import { ownersSuite } from "../../support/owners-suite.js";

ownersSuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
