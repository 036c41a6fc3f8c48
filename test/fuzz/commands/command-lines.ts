/** What the commands are asked while the dump is damaged: every command, most of them as their help shows them. */
import { KERNEL_COMMANDS } from "../../../cli/linux/commands.js";

/** Command lines of those that need more than their name, or are asked more than one thing. `DIR` is a folder to write in. */
const LINES: Readonly<Record<string, readonly (readonly string[])[]>> = {
  info: [[]],
  coverage: [[]],
  read: [
    ["init_task", "--length", "256"],
    ["0x400000", "--length", "64", "--pid", "98"],
  ],
  watch: [["jiffies_64", "init_task", "--type", "u64", "--count", "2"]],
  search: [
    ["--text", "memtool", "--utf16", "root", "--all-processes"],
    ["--pointer-to", "init_task"],
  ],
  strings: [
    ["--owners", "--limit", "3000"],
    ["--pid", "98", "--encoding", "utf8"],
  ],
  yara: [["DIR/rules.yar", "--all-processes"]],
  diff: [["fixtures/linux-6.1-x86_64.kdump"]],
  timeline: [["--kind", "process,file,log,now"]],
  malfind: [["--no-disassembly"]],
  modules: [[], ["--extract", "DIR/modules"]],
  translate: [
    ["init_task", "--walk"],
    ["--reverse", "0x2a1aa40"],
  ],
  maps: [["--pid", "98"], ["--summary"]],
  roots: [[]],
  symbols: [["*_list"], ["--pid", "98", "*time*"], ["--near", "init_task+8"]],
  ps: [["--tree"], ["--threads"], ["--scan"]],
  sockets: [[], ["--scan"]],
  vmas: [[], ["--pid", "98"]],
  dump: [
    ["--pid", "98", "-o", "DIR/core", "--force"],
    ["--pid", "97", "-o", "DIR/core", "--force"],
  ],
  elfs: [[], ["--physical"], ["--extract", "DIR/elfs"]],
  pagecache: [[], ["--extract", "DIR/files"]],
  owners: [["0x32af000", "0x5746000", "--length", "0x20000"]],
  types: [["task_struct"]],
  isf: [["-o", "DIR/isf.json", "--force"]],
  framebuffers: [[], ["--extract", "DIR/screens"]],
  check: [[], ["--all"]],
};

/** Not asked: they change the target, write all of it, run a program of the user's, or ask nothing of it. */
export const LEFT_OUT: ReadonlySet<string> = new Set([
  "write",
  "serve",
  "freeze",
  "convert",
  "run",
  "repl",
  "completion",
]);

/** All command lines, without the target. */
export function commandLines(folder: string): string[][] {
  const names = new Set([...Object.keys(LINES), ...KERNEL_COMMANDS.map(({ name }) => name)]);
  return [...names].flatMap((name) =>
    (LINES[name] ?? [[]]).map((args) => [name, ...args.map((arg) => arg.replace(/^DIR/, folder))]),
  );
}
