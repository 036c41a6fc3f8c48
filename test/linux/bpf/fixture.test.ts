import { readFileSync } from "node:fs";
import { bpfSuite } from "../../support/bpf-suite.js";

bpfSuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
