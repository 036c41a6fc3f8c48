import { readFileSync } from "node:fs";
import { filesSuite } from "../../support/files-suite.js";

filesSuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
