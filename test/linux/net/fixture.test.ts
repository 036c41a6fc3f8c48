import { readFileSync } from "node:fs";
import { socketSuite } from "../../support/socket-suite.js";

socketSuite("the committed dump", async () => ({
  target: "fixtures/linux-6.1-x86_64.kdump",
  truth: JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")),
}));
