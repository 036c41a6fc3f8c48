/**
 * CPU states that hypervisors add to the notes of their ELF cores, beside or instead of NT_PRSTATUS.
 *
 * QEMU: `struct QEMUCPUState` (target/i386/arch_dump.c), one layout for guests of 32 and 64 bits.
 * VirtualBox: `DBGFCOREDESCRIPTOR` and `DBGFCORECPU` (include/VBox/vmm/dbgfcorefmt.h).
 */
import type { Fields } from "../fields.js";
import type { Registers } from "./registers.js";

const QEMU_REGISTERS = "ax bx cx dx si di sp bp r8 r9 r10 r11 r12 r13 r14 r15 ip flags".split(" ");
const QEMU_SEGMENTS = "cs ds es fs gs ss ldt tr gdt idt".split(" ");
/** Offsets in `struct QEMUCPUState` version 1. */
const QEMU_SEGMENTS_AT = 8 + 18 * 8;
const QEMU_SEGMENT_SIZE = 24;
const QEMU_CR_AT = QEMU_SEGMENTS_AT + 10 * QEMU_SEGMENT_SIZE;
const QEMU_KERNEL_GS_BASE_AT = QEMU_CR_AT + 5 * 8;

/**
 * QEMU's note of one CPU.
 *
 * @param bits 32: its registers are named `eax` … `eip`, and there are no `r8` to `r15`.
 * @returns `undefined` if it is of another version, or too short.
 */
export function parseQemuState(fields: Fields, bits: 32 | 64): Registers | undefined {
  const { length } = fields.bytes;
  if (length < QEMU_KERNEL_GS_BASE_AT || fields.u32(0) !== 1) return undefined;
  const registers: Registers = {};
  QEMU_REGISTERS.forEach((name, i) => {
    const value = fields.u64(8 + 8 * i);
    if (!name.startsWith("r")) registers[(bits === 32 ? "e" : "r") + name] = value;
    else if (bits === 64) registers[name] = value;
  });
  QEMU_SEGMENTS.forEach((name, i) => {
    const at = QEMU_SEGMENTS_AT + i * QEMU_SEGMENT_SIZE;
    if (name !== "gdt" && name !== "idt") registers[name] = BigInt(fields.u32(at));
    registers[`${name}_base`] = fields.u64(at + 16);
  });
  for (let i = 0; i < 5; i++) registers[`cr${i}`] = fields.u64(QEMU_CR_AT + 8 * i);
  if (bits === 64 && length >= QEMU_KERNEL_GS_BASE_AT + 8) {
    registers.kernel_gs_base = fields.u64(QEMU_KERNEL_GS_BASE_AT);
  }
  return registers;
}

/** `DBGFCORE_MAGIC`. */
const VIRTUALBOX_MAGIC = 0xc01ac0de;
const VIRTUALBOX_REGISTERS = "rax rbx rcx rdx rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip rsp rbp rflags".split(
  " ",
);
const VIRTUALBOX_SEGMENTS = "cs ds es fs gs ss".split(" ");
/** Bytes of a `DBGFCORESEL`, of which the base is at 0 and the selector at 16; and of a `DBGFCOREXDTR`. */
const SELECTOR_SIZE = 24;
const TABLE_SIZE = 16;
const CONTROL_AT = 18 * 8 + 6 * SELECTOR_SIZE;
const DEBUG_AT = CONTROL_AT + 4 * 8;
const TABLES_AT = DEBUG_AT + 8 * 8;
const SYSENTER_AT = TABLES_AT + 2 * TABLE_SIZE + 2 * SELECTOR_SIZE;
const MSRS_AT = SYSENTER_AT + 3 * 8;
const VIRTUALBOX_MSRS = "efer star pat lstar cstar sfmask kernel_gs_base apic_base".split(" ");
const VIRTUALBOX_SIZE = MSRS_AT + VIRTUALBOX_MSRS.length * 8;
/** `u32FmtVersion` from which on `DBGFCORECPU` begins as here (what came before was dumped as `CPUMCTX`). */
const VIRTUALBOX_FROM = 0x10005;
const VIRTUALBOX_UNTIL = 0x20000;

/** What VirtualBox says of the whole dump. */
export interface VirtualBoxDescriptor {
  /** Of the format: 0x10005, 0x10006. */
  readonly formatVersion: number;
  /** Of VirtualBox: `6.1.50`. */
  readonly version: string;
  readonly revision: number;
  readonly cpus: number;
  /** Whether CPU notes have the layout that memtool knows. */
  readonly known: boolean;
}

/** The note `VBCORE`; `undefined` if it is none. */
export function parseVirtualBoxDescriptor(fields: Fields): VirtualBoxDescriptor | undefined {
  if (fields.bytes.length < 24 || fields.u32(0) !== VIRTUALBOX_MAGIC) return undefined;
  const formatVersion = fields.u32(4);
  const version = fields.u32(12);
  return {
    formatVersion,
    // VBOX_FULL_VERSION (VBox/version.h): major, minor, build.
    version: `${version >>> 24}.${(version >>> 16) & 0xff}.${version & 0xffff}`,
    revision: fields.u32(16),
    cpus: fields.u32(20),
    known: formatVersion >= VIRTUALBOX_FROM && formatVersion < VIRTUALBOX_UNTIL,
  };
}

/** The note `VBCPU`: a `DBGFCORECPU`; `undefined` if it is too short for one. */
export function parseVirtualBoxCpu(fields: Fields): Registers | undefined {
  if (fields.bytes.length < VIRTUALBOX_SIZE) return undefined;
  const registers: Registers = {};
  VIRTUALBOX_REGISTERS.forEach((name, i) => {
    registers[name] = fields.u64(8 * i);
  });
  VIRTUALBOX_SEGMENTS.forEach((name, i) => {
    addSelector(registers, name, fields, 18 * 8 + i * SELECTOR_SIZE);
  });
  ["cr0", "cr2", "cr3", "cr4"].forEach((name, i) => {
    registers[name] = fields.u64(CONTROL_AT + 8 * i);
  });
  registers.gdt_base = fields.u64(TABLES_AT);
  registers.idt_base = fields.u64(TABLES_AT + TABLE_SIZE);
  addSelector(registers, "ldt", fields, TABLES_AT + 2 * TABLE_SIZE);
  addSelector(registers, "tr", fields, TABLES_AT + 2 * TABLE_SIZE + SELECTOR_SIZE);
  VIRTUALBOX_MSRS.forEach((name, i) => {
    registers[name] = fields.u64(MSRS_AT + 8 * i);
  });
  return registers;
}

function addSelector(registers: Registers, name: string, fields: Fields, at: number): void {
  registers[name] = BigInt(fields.u16(at + 16));
  registers[`${name}_base`] = fields.u64(at);
}
