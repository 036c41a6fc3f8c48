import { readFileSync } from "node:fs";
import { ttySuite } from "../../support/tty-suite.js";

ttySuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
