import { readFileSync } from "node:fs";
import { cpuSuite } from "../../support/cpu-suite.js";

cpuSuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
