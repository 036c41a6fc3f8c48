/** The fuzzer's process: `list`, `fuzz FORMAT SECONDS SEED` or `again FORMAT FILE`. Started by run.mjs. */

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { FORMAT_CASES } from "../support/formats/index.js";
import { check } from "./check.js";
import { type Found, fuzz, inputOf, MAX_LENGTH, type Shared } from "./fuzzer.js";

/** Milliseconds that one input may take: a thousand times what it should. */
const PATIENCE = 10_000;
const FOLDER = "tmp/fuzz";

interface Task {
  readonly name: string;
  readonly seconds: number;
  readonly seed: number;
  readonly shared: SharedArrayBuffer;
}

const print = (text: string) => process.stdout.write(`${text}\n`);

function save(name: string, bytes: Uint8Array, why: string): void {
  mkdirSync(FOLDER, { recursive: true });
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
  const file = `${FOLDER}/${name}-${hash}`;
  writeFileSync(file, bytes);
  print(`${name}: FOUND ${why}\n  ${file} (${bytes.length} bytes)`);
}

/** Words of the shared memory: inputs begun, and the length of the one under way; its bytes lie behind them. */
const HEADER = 8;

function sharedOf(memory: SharedArrayBuffer): Shared {
  const words = new Int32Array(memory, 0, 2);
  const bytes = new Uint8Array(memory, HEADER);
  return {
    begin(input) {
      bytes.set(input.subarray(0, bytes.length));
      Atomics.store(words, 1, Math.min(input.length, bytes.length));
      Atomics.add(words, 0, 1);
    },
  };
}

/** Runs a format's fuzzing in a thread, and ends what hangs. */
function supervise(name: string, seconds: number, seed: number): void {
  const shared = new SharedArrayBuffer(HEADER + MAX_LENGTH);
  const words = new Int32Array(shared, 0, 2);
  const task: Task = { name, seconds, seed, shared };
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  let count = 0;
  let since = Date.now();
  const timer = setInterval(() => {
    const now = Atomics.load(words, 0);
    if (now !== count) {
      count = now;
      since = Date.now();
    } else if (Date.now() - since > PATIENCE && count > 0) {
      save(name, current(), `an input that takes more than ${PATIENCE / 1000} s`);
      process.exit(1);
    }
  }, 500);
  const current = () => new Uint8Array(shared, HEADER, Atomics.load(words, 1)).slice();
  worker.on("message", (found: Found | { readonly done: string }) => {
    if ("done" in found) {
      clearInterval(timer);
      print(`${name}: ${found.done}`);
    } else {
      save(name, found.bytes, found.why);
      process.exitCode = 1;
    }
  });
  worker.on("error", (error) => {
    save(name, current(), `the thread ended: ${error.message}`);
    process.exit(1);
  });
}

const [command, name = "", rest = "", seed = "1"] = process.argv.slice(2);
if (!isMainThread) {
  const { name, seconds, seed, shared } = workerData as Task;
  const format = FORMAT_CASES[name];
  if (format === undefined) throw new Error(`no format ${name}`);
  const done = fuzz(format, seconds, seed, sharedOf(shared), (found) => parentPort?.postMessage(found));
  parentPort?.postMessage({ done });
} else if (command === "list") {
  print(Object.keys(FORMAT_CASES).join("\n"));
} else if (command === "fuzz") {
  supervise(name, Number(rest), Number(seed));
} else {
  const format = FORMAT_CASES[name];
  if (format === undefined) throw new Error(`no format ${name}`);
  check(inputOf(format, new Uint8Array(readFileSync(rest))), format.size);
  print("nothing wrong with it");
}
