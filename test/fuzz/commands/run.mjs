// Damages the kernel in the shipped dump and asks every command about it: `npm run fuzz:commands -- --seconds 60 [--seed 1]`.
// No command may hang, end the program, throw a mistake of its own, or take memory that only the dump speaks of. A line that is
// printed for a failure says how to run it again (`--seed N --seconds 1` runs that round whole).
import { fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    dump: { type: "string", default: "fixtures/linux-6.1-x86_64.kdump" },
  },
});
/** Of one command. The slowest takes some seconds on the whole dump. */
const HANGS_AFTER_MS = 120_000;

const bundle = `${root}node_modules/.cache/memtool/fuzz-commands-${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), "memtool-fuzz-"));
const shared = {
  bundle: true,
  packages: /** @type {const} */ ("external"),
  platform: /** @type {const} */ ("node"),
  target: "node20",
};
await build({
  ...shared,
  entryPoints: { main: `${root}test/fuzz/commands/main.ts`, convert: `${root}connectors/index.ts` },
  outdir: bundle,
  outExtension: { ".js": ".mjs" },
  format: "esm",
  sourcemap: "inline",
  logLevel: "warning",
});

/** @type {Set<string>} */
const failures = new Set();
let commands = 0;
let rounds = 0;
const dump = join(folder, "dump.elf");
writeFileSync(
  join(folder, "rules.yar"),
  'rule words { strings: $a = "memtool" $b = /r[a-z]{2}t/ condition: any of them }\n',
);
/** An ELF core, as its pages lie in the file as they are. */
async function writeDump() {
  const { convert, open } = await import(`${bundle}/convert.mjs`);
  const machine = await open(values.dump, { kernel: "none" });
  await convert(machine, dump, { to: "elf", force: true });
  await machine.close();
}

/**
 * Runs from a round and a command on, until time is up or the program has to be started again.
 *
 * @param {number} seed @param {number} command @param {number} deadline
 * @returns {Promise<{ seed: number, command: number }>} where to go on
 */
function watch(seed, command, deadline) {
  return new Promise((resolve) => {
    const child = fork(`${bundle}/main.mjs`, [dump, folder, String(seed), String(command)], {
      execArgv: ["--enable-source-maps", "--max-old-space-size=768"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      cwd: root,
    });
    let now = { seed, command, line: "", how: "" };
    let hung = false;
    let timer = setTimeout(() => {}, 0);
    child.on("message", (/** @type {any} */ said) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        hung = true;
        child.kill("SIGKILL");
      }, HANGS_AFTER_MS);
      if (said.round !== undefined) {
        rounds++;
        now = { seed: said.round, command: 0, line: "", how: said.how };
      }
      if (said.failed !== undefined) report(said.seed, said.how, said.line, said.failed);
      if (said.line !== undefined && said.command !== undefined) {
        commands++;
        now = { ...now, command: said.command, line: said.line };
        // A round that began is finished where only one was asked for.
        if (Date.now() > deadline && (rounds > 1 || said.command === 0)) child.kill("SIGKILL");
      }
    });
    child.on("exit", (status, signal) => {
      clearTimeout(timer);
      if (hung) report(now.seed, now.how, now.line, `no end after ${HANGS_AFTER_MS / 1000} s`);
      else if (signal !== "SIGKILL" || Date.now() <= deadline)
        report(now.seed, now.how, now.line, `the program ended: ${signal ?? `status ${status}`}`);
      resolve({ seed: now.seed, command: now.command + 1 });
    });
  });
}

/** @param {number} seed @param {string} how @param {string} line @param {string} why */
function report(seed, how, line, why) {
  failures.add(`${line}: ${why}`);
  process.stdout.write(`seed ${seed} (${how}): memtool ${line}: ${why}\n`);
}

try {
  const deadline = Date.now() + 1000 * Number(values.seconds);
  await writeDump();
  let at = { seed: Number(values.seed), command: 0 };
  while (Date.now() < deadline && failures.size < 50) {
    at = await watch(at.seed, at.command, deadline);
    // What was under way may have left the file as it was then.
    if (Date.now() < deadline) await writeDump();
  }
} finally {
  rmSync(bundle, { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(`${commands} commands on ${rounds} damaged dumps: ${failures.size} failures\n`);
process.exit(failures.size > 0 ? 1 : 0);
