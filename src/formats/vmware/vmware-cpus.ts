/**
 * Registers in VMware's snapshot state: the tags of its group "cpu".
 *
 * Names, sizes and order of registers: VMware's own reader in crash (vmware_vmss.c; `struct vmssregs64`), and for CR of
 * older files Volatility's vmware address space. Each tag's first index is the processor.
 */
import type { Routine } from "../../io/index.js";
import type { Warnings } from "../errors.js";
import { Fields, readLeniently } from "../fields.js";
import type { Architecture, CpuState, DumpFile } from "../types.js";
import { TagReader, tagBudget, type VmwareHeader, type VmwareTag } from "./vmware-tags.js";

/** The order of the block `gpregs`. */
const GENERAL = "rax rcx rdx rbx rbp rsp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const SINGLE: ReadonlySet<string> = new Set([...GENERAL, "rip"]);
const GPREGS_SIZE = 8 * GENERAL.length;
/** CR0 to CR8. */
const CR64_SIZE = 72;
/** Limit and base. */
const IDTR_SIZE = 10;
const CONTROL: ReadonlySet<number> = new Set([0, 2, 3, 4]);
/** VMware's machines have up to 768 processors. */
const MAX_CPUS = 4096;

/** What the group says. */
export interface VmwareCpus {
  readonly cpus: readonly CpuState[];
  /** Number of processors; `undefined` if the file does not say. */
  readonly count: number | undefined;
  /** `x86_64` if an address in a register is of more than 32 bits; else nothing is certain. */
  readonly architecture: Architecture | undefined;
}

/** Reads the registers. What is damaged is left out, with a warning. */
export function* readVmwareCpus(
  file: DumpFile,
  header: VmwareHeader,
  warnings: Warnings,
): Routine<VmwareCpus> {
  const found = new Map<number, Record<string, bigint>>();
  let count: number | undefined;
  const set = (cpu: number, name: string, value: bigint) => {
    let registers = found.get(cpu);
    if (registers === undefined) {
      registers = {};
      found.set(cpu, registers);
    }
    registers[name] = value;
  };
  const budget = tagBudget();
  for (const group of header.groups) {
    if (group.name !== "cpu" || group.tagsAt === undefined || budget.left <= 0) continue;
    const tags = new TagReader(file, header, group.tagsAt, budget);
    for (let tag = yield* tags.next(); tag !== undefined; tag = yield* tags.next()) {
      if (tag.name === "cpu:numVCPUs" && tag.value !== undefined) count = Number(tag.value);
      const cpu = tag.indices[0];
      if (cpu === undefined || cpu >= MAX_CPUS) continue;
      if (tag.kind === "block") yield* takeBlock(file, tag, (name, value) => set(cpu, name, value));
      else takeValue(tag, found.get(cpu), (name, value) => set(cpu, name, value));
    }
    if (tags.cut !== undefined) {
      warnings.add(`${file.name}: the group "cpu" is cut short: ${tags.cut}: registers may be missing`);
    }
  }
  const numbers = [...found.keys()].sort((a, b) => a - b);
  const cpus = numbers.map((cpu): CpuState => ({ pid: cpu, registers: found.get(cpu) ?? {} }));
  const wide = cpus.some(({ registers }) =>
    [registers.rip, registers.rsp, registers.idt_base].some((value) => (value ?? 0n) >= 1n << 32n),
  );
  return { cpus, count, architecture: wide ? "x86_64" : undefined };
}

type Take = (name: string, value: bigint) => void;

function takeValue(tag: VmwareTag, known: Readonly<Record<string, bigint>> | undefined, take: Take): void {
  const { name, indices, value } = tag;
  const second = indices[1] ?? -1;
  if (value === undefined) return;
  if (SINGLE.has(name)) take(name, value);
  // VMware writes it in two parts, under two names.
  else if (name === "eflags" || name === "EFLAGS") take("rflags", (known?.rflags ?? 0n) | value);
  else if (name === "CR64" && CONTROL.has(second)) take(`cr${second}`, value);
  else if (name === "CR" && CONTROL.has(second) && known?.[`cr${second}`] === undefined) {
    take(`cr${second}`, value);
  } else if (name === "IDTR" && second === 1) take("idt_base", value);
  else if (name === "IDTR" && second === 2) take("idt_base", (known?.idt_base ?? 0n) | (value << 32n));
}

function* takeBlock(file: DumpFile, tag: VmwareTag, take: Take): Routine<void> {
  const { name, size, dataAt } = tag;
  const wanted =
    (name === "gpregs" && size === GPREGS_SIZE) ||
    (name === "CR64" && size === CR64_SIZE) ||
    (name === "IDTR" && size === IDTR_SIZE);
  if (!wanted) return;
  const { bytes, missing } = yield* readLeniently(file, dataAt, size);
  if (missing > 0) return;
  const fields = new Fields(file.name, dataAt, bytes);
  if (name === "IDTR") take("idt_base", fields.u64(2));
  else if (name === "CR64") for (const i of CONTROL) take(`cr${i}`, fields.u64(8 * i));
  else for (const [i, register] of GENERAL.entries()) take(register, fields.u64(8 * i));
}
