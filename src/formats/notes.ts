/**
 * ELF notes of memory dumps: VMCOREINFO, the registers of each CPU.
 *
 * Note layout: System V ABI, "Note Section" (namesz, descsz, type, then name and description, each padded to 4).
 * NT_PRSTATUS: `struct elf_prstatus` of linux/elfcore.h, with the register order of the architecture's ptrace ABI
 * (x86: asm/user_64.h; arm64: `struct user_pt_regs`). QEMU's note: `struct QEMUCPUState` in QEMU's
 * target/i386/arch_dump.c.
 */

import type { Warnings } from "./errors.js";
import { Fields, hasText, latin1 } from "./fields.js";
import type { Architecture, CpuState, DumpNotes, RawNote } from "./types.js";

const NT_PRSTATUS = 1;
const HEADER = 12;
/** `pr_pid` and `pr_reg` of a 64-bit `struct elf_prstatus`. */
const PR_PID = 32;
const PR_REG = 112;

const PRSTATUS_X86_64 =
  "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base ds es fs gs".split(
    " ",
  );
const PRSTATUS_AARCH64 = [...Array.from({ length: 31 }, (_, i) => `x${i}`), "sp", "pc", "pstate"];

const QEMU_REGISTERS = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split(" ");
const QEMU_SEGMENTS = "cs ds es fs gs ss ldt tr gdt idt".split(" ");
/** Offsets in `struct QEMUCPUState` version 1. */
const QEMU_SEGMENTS_AT = 8 + 18 * 8;
const QEMU_SEGMENT_SIZE = 24;
const QEMU_CR_AT = QEMU_SEGMENTS_AT + 10 * QEMU_SEGMENT_SIZE;
const QEMU_KERNEL_GS_BASE_AT = QEMU_CR_AT + 5 * 8;

/** Notes that are kept as they are; those of 10,000 CPUs are a third of this. */
const MAX_RAW = 65_536;

/** Collects what the notes of one dump say. */
export class NoteCollector {
  vmcoreinfo: Uint8Array | undefined;
  readonly #statuses: CpuState[] = [];
  readonly #raw: RawNote[] = [];
  readonly #qemu: Record<string, bigint>[] = [];
  readonly #architecture: Architecture | undefined;
  readonly #file: string;
  readonly #warnings: Warnings;

  constructor(file: string, architecture: Architecture | undefined, warnings: Warnings) {
    this.#file = file;
    this.#architecture = architecture;
    this.#warnings = warnings;
  }

  /**
   * Takes the notes of one segment.
   *
   * @param at File offset of `bytes`. A note that reaches beyond their end is reported, and the ones before it kept.
   */
  add(bytes: Uint8Array, at: number): void {
    const fields = new Fields(this.#file, at, bytes);
    let offset = 0;
    while (offset + HEADER <= bytes.length) {
      const nameSize = fields.u32(offset);
      const size = fields.u32(offset + 4);
      const type = fields.u32(offset + 8);
      // Padding between notes (/proc/vmcore reserves room for CPUs that are not there).
      if (nameSize === 0 && size === 0 && type === 0) {
        offset += HEADER;
        continue;
      }
      const nameAt = offset + HEADER;
      const start = nameAt + padded(nameSize);
      const end = start + size;
      if (end > bytes.length) {
        this.#warnings.add(
          `the ELF note at file offset 0x${(at + offset).toString(16)} claims ${nameSize} + ${size} bytes, beyond the ` +
            "end of the notes: it and what follows are ignored",
        );
        return;
      }
      const name = latin1(bytes, nameAt, nameSize);
      if (this.#raw.length < MAX_RAW) this.#raw.push({ name, type, description: bytes.subarray(start, end) });
      this.#note(name, type, bytes.subarray(start, end), at + start);
      offset = start + padded(size);
    }
  }

  #note(name: string, type: number, description: Uint8Array, at: number): void {
    if (name === "VMCOREINFO") {
      this.vmcoreinfo ??= description.slice();
    } else if (name === "CORE" && type === NT_PRSTATUS) {
      const status = this.#status(new Fields(this.#file, at, description));
      if (status !== undefined) this.#statuses.push(status);
    } else if (name === "QEMU" && type === 0 && this.#architecture !== "aarch64") {
      const state = qemuState(new Fields(this.#file, at, description));
      if (state === undefined) {
        this.#warnings.add(
          `the QEMU CPU note at file offset 0x${at.toString(16)} has no layout that memtool knows`,
        );
      } else {
        this.#qemu.push(state);
      }
    }
  }

  #status(fields: Fields): CpuState | undefined {
    const names =
      this.#architecture === "x86_64"
        ? PRSTATUS_X86_64
        : this.#architecture === "aarch64"
          ? PRSTATUS_AARCH64
          : undefined;
    if (names === undefined || fields.bytes.length < PR_REG + names.length * 8) return undefined;
    const registers: Record<string, bigint> = {};
    names.forEach((name, i) => {
      registers[name] = fields.u64(PR_REG + 8 * i);
    });
    return { pid: fields.u32(PR_PID), registers };
  }

  /** Everything collected. QEMU writes all NT_PRSTATUS notes, then its own, each in the order of the CPUs. */
  notes(physBase?: number): DumpNotes {
    const count = Math.max(this.#statuses.length, this.#qemu.length);
    const cpus: CpuState[] = [];
    for (let i = 0; i < count; i++) {
      const status = this.#statuses[i];
      cpus.push({ pid: status?.pid, registers: { ...status?.registers, ...this.#qemu[i] } });
    }
    const { vmcoreinfo } = this;
    const pageSize = vmcoreinfo === undefined ? undefined : pageSizeOf(vmcoreinfo);
    const raw = this.#raw.length === 0 ? undefined : this.#raw;
    return { vmcoreinfo, cpus, architecture: this.#architecture, pageSize, physBase, raw };
  }
}

function qemuState(fields: Fields): Record<string, bigint> | undefined {
  const { length } = fields.bytes;
  if (length < QEMU_KERNEL_GS_BASE_AT || fields.u32(0) !== 1) return undefined;
  const registers: Record<string, bigint> = {};
  QEMU_REGISTERS.forEach((name, i) => {
    registers[name] = fields.u64(8 + 8 * i);
  });
  QEMU_SEGMENTS.forEach((name, i) => {
    const at = QEMU_SEGMENTS_AT + i * QEMU_SEGMENT_SIZE;
    if (name !== "gdt" && name !== "idt") registers[name] = BigInt(fields.u32(at));
    registers[`${name}_base`] = fields.u64(at + 16);
  });
  for (let i = 0; i < 5; i++) registers[`cr${i}`] = fields.u64(QEMU_CR_AT + 8 * i);
  if (length >= QEMU_KERNEL_GS_BASE_AT + 8) registers.kernel_gs_base = fields.u64(QEMU_KERNEL_GS_BASE_AT);
  return registers;
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4;
}

/** `PAGESIZE=` at the start of a line of VMCOREINFO. */
function pageSizeOf(text: Uint8Array): number | undefined {
  const key = "PAGESIZE=";
  for (let line = 0; line >= 0 && line < text.length; line = text.indexOf(10, line) + 1 || -1) {
    if (!hasText(text, key, line)) continue;
    const size = Number.parseInt(latin1(text, line + key.length, 10), 10);
    return size > 0 ? size : undefined;
  }
  return undefined;
}
