/**
 * ELF notes of memory dumps: VMCOREINFO, and the registers of each CPU.
 *
 * Types: linux/elf.h (`NT_…`). What is in them: `registers.ts` (the kernel's notes) and `hypervisor-notes.ts`.
 */

import type { Warnings } from "../errors.js";
import { Fields, hasText, latin1 } from "../fields.js";
import type { Architecture, CpuState, DumpNotes, RawNote } from "../types.js";
import {
  parseQemuState,
  parseVirtualBoxCpu,
  parseVirtualBoxDescriptor,
  type VirtualBoxDescriptor,
} from "./hypervisor-notes.js";
import { eachNote } from "./note-list.js";
import { parsePrstatus, pointerSizeOf, type Registers } from "./registers.js";

const NT_PRSTATUS = 1;
const NT_PRPSINFO = 3;
const NT_S390_CTRS = 0x304;
const NT_S390_PREFIX = 0x305;
/** `pr_fname` of `struct elf_prpsinfo` (linux/elfcore.h), by the size of the structure. */
const PROCESS_NAME_AT: Readonly<Record<number, number>> = { 136: 40, 124: 28, 128: 32 };
/** CPUs whose registers are kept: twice as many as Linux has been built for. */
const MAX_CPUS = 16_384;
/** Names of notes are a few bytes; of longer ones the beginning is enough to tell that they are none of these. */
const MAX_NAME = 32;

/** Notes that are kept as they are; those of 10,000 CPUs are a third of this. */
const MAX_RAW = 65_536;
const MAX_RAW_NAME = 256;

/** Collects what the notes of one dump say. */
export class NoteCollector {
  vmcoreinfo: Uint8Array | undefined;
  /** Name of the process whose core this is, if it is one (NT_PRPSINFO). */
  process: string | undefined;
  readonly #statuses: { readonly pid: number; readonly registers: Registers }[] = [];
  readonly #raw: RawNote[] = [];
  /** Of a hypervisor's own notes. */
  readonly #states: Registers[] = [];
  #writer: "qemu" | "virtualbox" | undefined;
  #virtualBox: VirtualBoxDescriptor | undefined;
  #tooMany = false;
  readonly #architecture: Architecture | undefined;
  readonly #file: string;
  readonly #warnings: Warnings;
  readonly #littleEndian: boolean;

  constructor(file: string, architecture: Architecture | undefined, warnings: Warnings, littleEndian = true) {
    this.#file = file;
    this.#architecture = architecture;
    this.#warnings = warnings;
    this.#littleEndian = littleEndian;
  }

  /** The hypervisor that wrote the dump, where its own notes tell. */
  get writer(): "qemu" | "virtualbox" | undefined {
    return this.#writer;
  }

  /** What a hypervisor's notes say of the dump, for `DumpImage.details`. */
  get details(): Readonly<Record<string, string | number>> {
    if (this.#virtualBox === undefined) return {};
    const { version, revision, formatVersion } = this.#virtualBox;
    return { virtualBox: `${version} r${revision}`, virtualBoxFormat: `0x${formatVersion.toString(16)}` };
  }

  /**
   * Takes the notes of one segment.
   *
   * @param at File offset of `bytes`. A note that reaches beyond their end is reported, and the ones before it kept.
   * @param align `p_align` of the segment.
   */
  add(bytes: Uint8Array, at: number, align = 4): void {
    const list = new Fields(this.#file, at, bytes, this.#littleEndian);
    const bad = eachNote(list, align, (nameAt, nameSize, type, start, end) => {
      const name = latin1(bytes, nameAt, Math.min(nameSize, MAX_NAME));
      const description = bytes.subarray(start, end);
      if (this.#raw.length < MAX_RAW) {
        this.#raw.push({ name: latin1(bytes, nameAt, Math.min(nameSize, MAX_RAW_NAME)), type, description });
      }
      this.#note(name, type, description, at + start);
    });
    if (bad === undefined) return;
    this.#warnings.add(
      `the ELF note at file offset 0x${(at + bad).toString(16)} claims ${list.u32(bad)} + ${list.u32(bad + 4)} bytes, ` +
        "beyond the end of the notes: it and what follows are ignored",
    );
  }

  #note(name: string, type: number, description: Uint8Array, at: number): void {
    const fields = () => new Fields(this.#file, at, description, this.#littleEndian);
    if (name === "VMCOREINFO") {
      this.vmcoreinfo ??= description.slice();
    } else if (name === "CORE" && type === NT_PRSTATUS) {
      this.#status(fields());
    } else if (name === "CORE" && type === NT_PRPSINFO) {
      const nameAt = PROCESS_NAME_AT[description.length];
      if (nameAt !== undefined) this.process ??= latin1(description, nameAt, 16);
    } else if (name === "LINUX" && this.#architecture === "s390x") {
      this.#addS390(type, fields());
    } else if (name === "QEMU" && type === 0 && this.#hasX86State) {
      this.#writer ??= "qemu";
      const bits = pointerSizeOf(this.#architecture) === 4 ? 32 : 64;
      this.#state(parseQemuState(fields(), bits), "QEMU CPU", at);
    } else if (name === "VBCORE") {
      const descriptor = parseVirtualBoxDescriptor(fields());
      if (descriptor === undefined) return;
      this.#writer ??= "virtualbox";
      this.#virtualBox ??= descriptor;
      if (descriptor.known) return;
      this.#warnings.add(
        `VirtualBox's format version 0x${descriptor.formatVersion.toString(16)} has a layout of CPUs that memtool ` +
          "does not know: their registers are not shown",
      );
    } else if (name === "VBCPU" && this.#virtualBox?.known === true && this.#hasX86State) {
      this.#state(parseVirtualBoxCpu(fields()), "VirtualBox CPU", at);
    }
  }

  /** Whether hypervisors' notes are those of x86 (kdump files of QEMU name no architecture). */
  get #hasX86State(): boolean {
    const architecture = this.#architecture;
    return architecture === undefined || architecture === "x86_64" || architecture === "i386";
  }

  #status(fields: Fields): void {
    if (this.#architecture === undefined) return;
    const status = parsePrstatus(fields, this.#architecture);
    if (status !== undefined && this.#hasRoom(this.#statuses)) this.#statuses.push(status);
  }

  #state(state: Registers | undefined, what: string, at: number): void {
    if (state === undefined) {
      this.#warnings.add(
        `the ${what} note at file offset 0x${at.toString(16)} has no layout that memtool knows`,
      );
    } else if (this.#hasRoom(this.#states)) {
      this.#states.push(state);
    }
  }

  #hasRoom(list: readonly unknown[]): boolean {
    if (list.length < MAX_CPUS) return true;
    if (!this.#tooMany) {
      this.#warnings.add(`notes of more than ${MAX_CPUS} CPUs: the registers of the rest are not shown`);
    }
    this.#tooMany = true;
    return false;
  }

  /** Control registers and prefix follow the CPU's NT_PRSTATUS. */
  #addS390(type: number, fields: Fields): void {
    const registers = this.#statuses.at(-1)?.registers;
    if (registers === undefined) return;
    if (type === NT_S390_CTRS && fields.bytes.length >= 128) {
      for (let i = 0; i < 16; i++) registers[`cr${i}`] = fields.u64(8 * i);
    } else if (type === NT_S390_PREFIX && fields.bytes.length >= 4) {
      registers.prefix = BigInt(fields.u32(0));
    }
  }

  /** Everything collected. QEMU writes all NT_PRSTATUS notes, then its own, each in the order of the CPUs. */
  notes(physBase?: number): DumpNotes {
    const count = Math.max(this.#statuses.length, this.#states.length);
    const cpus: CpuState[] = [];
    for (let i = 0; i < count; i++) {
      const status = this.#statuses[i];
      cpus.push({ pid: status?.pid, registers: { ...status?.registers, ...this.#states[i] } });
    }
    const { vmcoreinfo } = this;
    const pageSize = vmcoreinfo === undefined ? undefined : pageSizeOf(vmcoreinfo);
    return {
      vmcoreinfo,
      cpus,
      architecture: this.#architecture,
      pageSize,
      physBase,
      ...(this.#raw.length === 0 ? {} : { raw: this.#raw }),
      ...(this.#littleEndian ? {} : { byteOrder: "big" }),
    };
  }
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
