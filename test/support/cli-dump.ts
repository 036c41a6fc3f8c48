/** What tests of the command are run on: the dump that ships, what its guest said of itself, and files of their own. */
import { readFileSync } from "node:fs";

export { testFolder } from "./test-folder.js";

export const DUMP = "fixtures/linux-6.1-x86_64.kdump";
export const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
export const ON_DUMP = ["-f", DUMP];
/** The page tables of the program with the pattern regions. */
export const ROOT = ["--root", truth.stops.kernel.root];
export const region = (name: string) => truth.regions.find((one: { name: string }) => one.name === name);
