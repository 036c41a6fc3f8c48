/**
 * Registers as QEMU's monitor prints them, `info registers -a`: target/i386/cpu-dump.c, target/arm/cpu.c
 * (aarch64_cpu_dump_state), target/riscv/cpu.c (riscv_cpu_dump_state), one block a CPU behind a line `CPU#n`.
 *
 * Of arm64 the monitor shows no system registers: neither TTBR nor TCR.
 */
import type { Architecture, CpuState } from "../../src/formats/index.js";

/** What the monitor told. */
export interface PrintedRegisters {
  readonly cpus: readonly CpuState[];
  /** Of x86, what the processors run: an emulator of 64 bits may run a system of 32. `undefined` where nothing tells. */
  readonly architecture: Architecture | undefined;
}

const MAX_CPUS = 4096;

/** Reads it. Lines of another form are skipped; a CPU without any register is none. */
export function parseRegisters(text: string): PrintedRegisters {
  const cpus: CpuState[] = [];
  let architecture: Architecture | undefined;
  for (const block of text.split(/^CPU#/m, MAX_CPUS + 1).slice(1)) {
    const number = /^\d+/.exec(block)?.[0];
    const found = parseBlock(block);
    if (found === undefined) continue;
    const pid = number === undefined ? {} : { pid: Number(number) };
    cpus.push({ ...pid, registers: found.registers });
    architecture = widest(architecture, found.architecture);
  }
  return { cpus, architecture };
}

/** Of CPUs that disagree (one is in its firmware), the one that has come furthest. */
function widest(a: Architecture | undefined, b: Architecture | undefined): Architecture | undefined {
  return a === undefined || b === "x86_64" ? (b ?? a) : a;
}

interface Block {
  readonly registers: Readonly<Record<string, bigint>>;
  readonly architecture: Architecture | undefined;
}

function parseBlock(block: string): Block | undefined {
  if (/^(?:RAX|EAX)=/m.test(block)) return parseX86(block);
  if (/^PSTATE=/m.test(block)) return parseArm64(block);
  if (/^ x0\/zero /m.test(block)) return parseRiscv(block);
  return undefined;
}

const X86_NAMES: Readonly<Record<string, string>> = { RFL: "rflags", EFL: "eflags", EFER: "efer" };
const EFER_LMA = 1n << 10n;
const PAGING = 1n << 31n;
/** A segment: `CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 …`: selector, base, limit, flags. */
const SEGMENT = /^(ES|CS|SS|DS|FS|GS|LDT|TR) *=([0-9a-f]{4}) ([0-9a-f]{8,16}) [0-9a-f]{8} [0-9a-f]{8}/gm;
const TABLE = /^(GDT|IDT)= *([0-9a-f]{8,16}) [0-9a-f]{8}/gm;
const X86_REGISTER =
  /\b([RE](?:AX|BX|CX|DX|SI|DI|BP|SP|IP|FL)|R(?:8|9|1[0-5])|CR[0-8]|EFER) ?=([0-9a-f]{8,16})\b/g;

function parseX86(block: string): Block {
  const registers: Record<string, bigint> = {};
  for (const [, name = "", digits] of block.matchAll(X86_REGISTER)) {
    registers[X86_NAMES[name] ?? name.toLowerCase()] = BigInt(`0x${digits}`);
  }
  for (const [, name = "", selector, base] of block.matchAll(SEGMENT)) {
    registers[name.toLowerCase()] = BigInt(`0x${selector}`);
    registers[`${name.toLowerCase()}_base`] = BigInt(`0x${base}`);
  }
  for (const [, name = "", base] of block.matchAll(TABLE)) {
    registers[`${name.toLowerCase()}_base`] = BigInt(`0x${base}`);
  }
  const { efer, cr0 } = registers;
  if (cr0 === undefined || (cr0 & PAGING) === 0n) return { registers, architecture: undefined };
  const long = efer !== undefined && (efer & EFER_LMA) !== 0n;
  // (In a program of 32 bits QEMU prints halves of the registers; they are the whole of what it uses.)
  if (long) widen(registers);
  return { registers, architecture: long ? "x86_64" : "i386" };
}

/** Gives the registers of 32 bits that a processor in long mode shows their names of 64. */
function widen(registers: Record<string, bigint>): void {
  for (const [name, value] of Object.entries(registers)) {
    if (!/^e(?:ax|bx|cx|dx|si|di|bp|sp|ip|flags)$/.test(name)) continue;
    registers[`r${name.slice(1)}`] = value;
    delete registers[name];
  }
}

function parseArm64(block: string): Block {
  const registers: Record<string, bigint> = {};
  for (const [, name = "", digits] of block.matchAll(/\b(PC|SP|PSTATE|X\d\d)=([0-9a-f]{8,16})\b/g)) {
    registers[name.toLowerCase().replace(/^x0(\d)$/, "x$1")] = BigInt(`0x${digits}`);
  }
  return { registers, architecture: "aarch64" };
}

function parseRiscv(block: string): Block {
  const registers: Record<string, bigint> = {};
  for (const [, name = "", digits] of block.matchAll(/^ ([a-z][a-z0-9]*) +([0-9a-f]{16})$/gm)) {
    registers[name] = BigInt(`0x${digits}`);
  }
  for (const [, name = "", digits] of block.matchAll(/\bx\d+\/([a-z][a-z0-9]*) +([0-9a-f]{16})\b/g)) {
    if (name !== "zero") registers[name] = BigInt(`0x${digits}`);
  }
  return { registers, architecture: "riscv64" };
}
