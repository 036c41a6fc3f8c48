import { MemtoolError } from "../../src/io/index.js";
import { type SuspiciousMemory, suspiciousMemory } from "../../src/linux/index.js";
import { Disassembler, type Instruction } from "../disassembly.js";
import { statusOf } from "../errors.js";
import { escapeText } from "../render/escape.js";
import { HexDump } from "../render/hexdump.js";
import { hex } from "../render/numbers.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

/** A finding, with its code as text if that is known. */
interface Shown extends SuspiciousMemory {
  readonly code: readonly Instruction[] | undefined;
}

const digits = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

const COLUMNS: readonly ListColumn<Shown>[] = [
  { field: "pid", type: "integer", value: ({ pid }) => pid },
  { field: "comm", value: ({ comm }) => comm },
  { field: "start", type: "address", value: ({ start }) => start },
  { field: "end", type: "address", value: ({ end }) => end },
  { field: "rights", value: ({ rights }) => rights },
  // ("" is of what has none.)
  { field: "path", value: ({ path }) => (path === "" ? null : (path ?? null)) },
  { field: "kinds", type: "json", value: ({ kinds }) => kinds },
  { field: "severity", value: ({ severity }) => severity },
  { field: "evidence", type: "json", value: ({ evidence }) => evidence },
  { field: "resident", type: "integer", value: ({ resident }) => resident },
  {
    field: "modified",
    type: "json",
    value: ({ modified }) =>
      modified.map(({ address, differing, first }) => ({
        address,
        differing: differing ?? null,
        first: first ?? null,
      })),
  },
  { field: "modifiedCount", type: "integer", value: ({ modifiedCount }) => modifiedCount },
  { field: "zero", type: "boolean", value: ({ zero }) => zero },
  { field: "address", type: "address", value: ({ address }) => address },
  { field: "bytes", value: ({ bytes }) => digits(bytes) },
  {
    field: "disassembly",
    type: "json",
    value: ({ code }) => code?.map(({ address, text }) => ({ address, text })) ?? null,
  },
];

/** `memtool malfind`. */
export const MALFIND: KernelCommand = {
  name: "malfind",
  description:
    "executable memory of processes that is not a program's file as it is: without a file, written to, writable, against its range's rights; with its first bytes, and as instructions where @alexaltea/capstone-js is installed",
  options: [["--no-disassembly", "bytes only"]],
  examples: ["malfind", "malfind --pid 98 --json"],
  ofProcess: true,
  async run({ session, kernel, pid, options }) {
    const damage = new DamageSummary();
    let disassembler: Disassembler | undefined;
    if (options.disassembly !== false) {
      try {
        disassembler = await Disassembler.load();
      } catch (error) {
        if (!(error instanceof MemtoolError)) throw error;
        session.warn(`no disassembly: ${error.message}`);
      }
    }
    const { architecture } = kernel;
    async function* shown(): AsyncGenerator<Shown> {
      for await (const each of suspiciousMemory(kernel, { pid, onDamage: damage.add })) {
        const { bytes, address, bits, zero } = each;
        const isCode = zero !== true && bytes.length > 0;
        const code = isCode ? disassembler?.disassemble(bytes, address, { architecture, bits }) : undefined;
        yield { ...each, code };
      }
    }
    const none = "no executable memory but that of programs' files as they are";
    if (session.isForPrograms) return await showList(session, shown(), COLUMNS, damage, none, false);
    let count = 0;
    for await (const each of shown()) {
      session.out.text(`${count++ === 0 ? "" : "\n"}${blockOf(each, session.out.columns)}`);
    }
    session.clearProgress();
    if (count === 0) session.warn(none);
    damage.report(session);
    return statusOf(count > 0 || damage.count === 0, damage.count > 0);
  },
};

/** Everything about one range. */
function blockOf(each: Shown, columns: number | undefined): string {
  const { pid, comm, start, end, rights, path, severity, evidence, address, bytes, code, zero } = each;
  const name = path === undefined || path === "" ? "" : `  ${path}`;
  const head = `${severity}  ${pid ?? "?"} ${comm ?? "?"}  ${hex(start)} to ${hex(end)}  ${rights}${name}`;
  const lines = [escapeText(head), ...evidence.map((sentence) => `  ${escapeText(sentence)}`)];
  let text = `${lines.join("\n")}\n`;
  if (zero === true || bytes.length === 0) return text;
  const dump = new HexDump(address, { columns });
  text += dump.data(bytes) + dump.end();
  if (code?.length === 0) text += "  (no instruction begins here)\n";
  for (const instruction of code ?? []) {
    const { address: at, text: words } = instruction;
    text += `  ${hex(at)}  ${digits(instruction.bytes).padEnd(20)}  ${escapeText(words)}\n`;
  }
  return text;
}
