/**
 * What a dump says besides its memory, made ready to be written: its ELF notes, and header fields taken from them.
 *
 * Note layout: System V ABI, "Note Section". NT_PRSTATUS: `struct elf_prstatus` of linux/elfcore.h, with the register
 * order of the architecture's ptrace ABI (x86: asm/user_64.h; arm64: `struct user_pt_regs`). VMCOREINFO's keys:
 * Documentation/admin-guide/kdump/vmcoreinfo.rst.
 */
import { hasText, latin1 } from "../fields.js";
import type { Architecture, CpuState, DumpNotes, RawNote } from "../types.js";
import { StructWriter } from "./sink.js";

const NT_PRSTATUS = 1;
/** `pr_reg` of a 64-bit `struct elf_prstatus`, and what follows the registers (`pr_fpvalid`, padding). */
const PR_REG = 112;
const AFTER_REGISTERS = 8;

const REGISTERS: Readonly<Partial<Record<Architecture, readonly string[]>>> = {
  x86_64:
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base ds es fs gs".split(
      " ",
    ),
  aarch64: [...Array.from({ length: 31 }, (_, i) => `x${i}`), "sp", "pc", "pstate"],
};

/** `e_machine` of the System V ABI's supplements. */
const ELF_MACHINES: Readonly<Record<Architecture, number>> = {
  i386: 3,
  ppc64: 21,
  s390x: 22,
  arm: 40,
  x86_64: 62,
  aarch64: 183,
  riscv64: 243,
};

/** What `uname -m` prints, where it is not our name. */
const UNAME_MACHINES: Readonly<Partial<Record<Architecture, string>>> = { i386: "i686", arm: "armv7l" };

/** See the module's comment. */
export class DumpFacts {
  readonly notes: readonly RawNote[];
  readonly littleEndian: boolean;
  readonly architecture: Architecture | undefined;
  /** VMCOREINFO's text; `undefined` if there is none. */
  readonly vmcoreinfo: Uint8Array | undefined;
  /** Number of NT_PRSTATUS notes. */
  readonly cpus: number;
  readonly #physBase: number | undefined;

  /** @param found VMCOREINFO's text as it was found in memory, for dumps that have no note of it. */
  constructor(notes: DumpNotes, found?: Uint8Array) {
    this.littleEndian = notes.byteOrder !== "big";
    this.architecture = notes.architecture;
    this.vmcoreinfo = notes.vmcoreinfo ?? found;
    this.#physBase = notes.physBase;
    const all = [...(notes.raw ?? statusNotes(notes.cpus, notes.architecture, this.littleEndian))];
    if (this.vmcoreinfo !== undefined && !all.some(({ name }) => name === "VMCOREINFO")) {
      all.push({ name: "VMCOREINFO", type: 0, description: this.vmcoreinfo });
    }
    this.notes = all;
    this.cpus = all.filter(({ name, type }) => name === "CORE" && type === NT_PRSTATUS).length;
  }

  /** The note that holds VMCOREINFO's text. */
  get vmcoreinfoNote(): RawNote | undefined {
    return this.notes.find(({ name }) => name === "VMCOREINFO");
  }

  /** `e_machine`; 0 (EM_NONE) if the architecture is not known. */
  get elfMachine(): number {
    return this.architecture === undefined ? 0 : ELF_MACHINES[this.architecture];
  }

  /** `machine` of utsname; "" if the architecture is not known. */
  get unameMachine(): string {
    const { architecture } = this;
    if (architecture === undefined) return "";
    if (architecture === "ppc64" && this.littleEndian) return "ppc64le";
    return UNAME_MACHINES[architecture] ?? architecture;
  }

  /** Kernel release; "" if VMCOREINFO does not say. */
  get release(): string {
    return this.value("OSRELEASE") ?? "";
  }

  /**
   * `phys_base` of x86-64, `PHYS_OFFSET` of arm64, as VMCOREINFO says; else what the dump's sub-header says (which
   * QEMU writes wrong); else 0.
   */
  get physBase(): bigint {
    const text = this.value("NUMBER(phys_base)") ?? this.value("NUMBER(PHYS_OFFSET)") ?? "";
    if (/^(-?[0-9]{1,20}|0x[0-9a-fA-F]{1,16})$/.test(text))
      return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
    return BigInt(this.#physBase ?? 0);
  }

  /** Seconds since 1970, of a kernel that has crashed; else 0. */
  get crashTime(): number {
    const text = this.value("CRASHTIME") ?? "";
    return /^[0-9]{1,15}$/.test(text) ? Number(text) : 0;
  }

  /** The value of `key=` at the start of a line of VMCOREINFO. */
  value(key: string): string | undefined {
    const text = this.vmcoreinfo;
    if (text === undefined) return undefined;
    for (let line = 0; line < text.length; ) {
      const newline = text.indexOf(10, line);
      const end = newline < 0 ? text.length : newline;
      if (hasText(text, `${key}=`, line)) {
        const at = line + key.length + 1;
        return latin1(text, at, Math.min(256, end - at));
      }
      line = end + 1;
    }
    return undefined;
  }
}

/** The notes one after the other; `textAt` is where the description of VMCOREINFO begins, -1 if there is none. */
export function notesOf(facts: DumpFacts): { readonly bytes: Uint8Array; readonly textAt: number } {
  let size = 0;
  for (const { name, description } of facts.notes) {
    size += 12 + padded(name.length + 1) + padded(description.length);
  }
  const out = new StructWriter(size, facts.littleEndian);
  let textAt = -1;
  for (const { name, type, description } of facts.notes) {
    out
      .u32(name.length + 1)
      .u32(description.length)
      .u32(type);
    out.text(name, name.length + 1).align(4);
    if (textAt < 0 && name === "VMCOREINFO") textAt = out.length;
    out.append(description).align(4);
  }
  return { bytes: out.bytes, textAt };
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4;
}

/** NT_PRSTATUS notes of registers that came from elsewhere (a VMware snapshot): what is not known is zero. */
function statusNotes(
  cpus: readonly CpuState[],
  architecture: Architecture | undefined,
  littleEndian: boolean,
): RawNote[] {
  const names = architecture === undefined ? undefined : REGISTERS[architecture];
  if (names === undefined) return [];
  return cpus.map(({ pid, registers }) => {
    const out = new StructWriter(PR_REG + 8 * names.length + AFTER_REGISTERS, littleEndian);
    // pr_info, pr_cursig, pr_sigpend, pr_sighold; then pr_pid, and the other ids and times.
    out
      .upTo(32)
      .u32(pid ?? 0)
      .upTo(PR_REG);
    for (const name of names) out.big(registers[name] ?? 0n);
    return { name: "CORE", type: NT_PRSTATUS, description: out.bytes };
  });
}
