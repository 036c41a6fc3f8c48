import { type Cpu, listCpus } from "../../src/linux/index.js";
import { escapeText } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import type { Session } from "../session.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, type ListValue, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Cpu>[] = [
  { field: "cpu", type: "integer", title: "CPU", right: true, value: ({ number }) => number },
  { field: "online", type: "boolean", title: "ONLINE", value: ({ online }) => online },
  { field: "present", type: "boolean", value: ({ present }) => present },
  { field: "processor", type: "json", title: "PROCESSOR", value: processorFields, cell: processorText },
  { field: "perCpu", type: "address", title: "PER-CPU", value: ({ perCpu }) => perCpu },
  { field: "perCpuOffset", type: "address", value: ({ perCpuOffset }) => perCpuOffset },
  { field: "task", type: "address", value: ({ current }) => current?.address },
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ current }) => current?.pid },
  { field: "comm", title: "COMM", value: ({ current }) => current?.comm },
  { field: "idle", type: "boolean", title: "IDLE", value: ({ idle }) => idle },
  { field: "running", type: "integer", value: ({ running }) => running },
  {
    field: "pc",
    type: "address",
    title: "AT",
    value: ({ pc }) => pc ?? null,
    cell: ({ pc, symbol }) => (pc === undefined ? "-" : symbol === undefined ? hex(pc) : symbolText(symbol)),
  },
  { field: "symbol", value: ({ symbol }) => (symbol === undefined ? null : symbolText(symbol)) },
  {
    field: "sp",
    type: "address",
    title: "STACK",
    value: ({ sp }) => sp ?? null,
    cell: ({ sp }) => (sp ? hex(sp) : "-"),
  },
  { field: "registers", type: "json", value: ({ registers }) => registers ?? null },
];

/** `memtool cpus`. */
export const CPUS: KernelCommand = {
  name: "cpus",
  description: "CPUs: their processors, what they were running, and their registers where the dump has them",
  options: [
    ["--registers", "all of each CPU's registers below the table (--json has them anyway)"],
    ["--features", "the flags of /proc/cpuinfo below the table (--json has them anyway)"],
  ],
  examples: ["cpus", "cpus --registers"],
  run: async ({ session, kernel, options }) => {
    const damage = new DamageSummary();
    const registers = session.machine.notes?.cpus ?? [];
    const cpus = await listCpus(kernel, { registers, onDamage: damage.add }).toArray();
    const status = await showList(session, cpus, COLUMNS, damage);
    if (session.isForPrograms) return status;
    if (options.features === true) showFeatures(session, cpus);
    if (options.registers === true) showRegisters(session, cpus);
    if (registers.length === 0) session.warn("the dump has no registers of CPUs");
    return status;
  },
};

function symbolText({ name, offset }: NonNullable<Cpu["symbol"]>): string {
  return offset === 0n ? name : `${name}+${hex(offset)}`;
}

function processorFields({ processor }: Cpu): ListValue {
  return processor === undefined ? undefined : { ...processor };
}

function processorText({ processor, online }: Cpu): string | undefined {
  if (processor === undefined) return online === false ? "-" : undefined;
  if (processor.kind === "arm64") {
    const { implementer, part, variant, revision } = processor;
    return `implementer ${hex(implementer)} part ${hex(part)} r${variant}p${revision}`;
  }
  return processor.modelName === "" ? processor.vendor : processor.modelName;
}

function showFeatures(session: Session, cpus: readonly Cpu[]): void {
  for (const { number, processor } of cpus) {
    if (processor === undefined) continue;
    const lines = [
      `features: ${processor.features?.join(" ") ?? "? (no symbol says where their names are)"}`,
    ];
    if (processor.kind === "x86" && processor.bugs !== undefined)
      lines.push(`bugs: ${processor.bugs.join(" ")}`);
    session.out.text(`\nCPU ${number}\n${lines.map((line) => `  ${escapeText(line)}\n`).join("")}`);
  }
}

/** Registers beside each other. */
const PER_LINE = 4;

function showRegisters(session: Session, cpus: readonly Cpu[]): void {
  for (const { number, registers } of cpus) {
    if (registers === undefined) continue;
    const cells = Object.entries(registers).map(([name, value]) => `${name} ${hex(value)}`);
    const width = Math.max(...cells.map(({ length }) => length));
    session.out.text(`\nCPU ${number}\n`);
    for (let i = 0; i < cells.length; i += PER_LINE) {
      const line = cells.slice(i, i + PER_LINE).map((cell) => cell.padEnd(width));
      session.out.text(`  ${escapeText(line.join("  ").trimEnd())}\n`);
    }
  }
}
