/** A thread that helps with one search. */
import { workerData } from "node:worker_threads";
import { helpSearch, type SearchTask } from "../../src/search/search-task.js";
import { nodeSearchHost } from "../search-host.js";

const { wasm } = nodeSearchHost;
if (wasm !== undefined) helpSearch(workerData as SearchTask, wasm, nodeSearchHost);
