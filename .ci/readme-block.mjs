// Prints the README's code block that is marked with the comment given: `node .ci/readme-block.mjs ci:test`.
import { readFileSync } from "node:fs";
import { codeBlocks, markedBlock } from "../scripts/markdown.mjs";

const readme = new URL("../README.md", import.meta.url);
const { lines } = markedBlock(codeBlocks("README.md", readFileSync(readme, "utf8")), process.argv[2] ?? "");
console.log(lines.join("\n"));
