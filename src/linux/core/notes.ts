/**
 * The notes of a process's core file.
 *
 * Facts: fs/binfmt_elf.c (which notes there are, and their order), include/linux/elfcore.h (`elf_prstatus`, `elf_prpsinfo`),
 * include/linux/compat.h (their 32-bit forms), include/uapi/linux/elf.h (NT_…), System V ABI, "Note Section".
 */
import { encodeUtf8 } from "../../memory/text.js";
import type { FloatingState } from "../registers/floating-state.js";
import type { UserRegisters } from "../registers/user-registers.js";
import type { Task } from "../tasks/task.js";
import { FieldBytes } from "./bytes.js";
import type { CoreAbi } from "./core-abi.js";
import type { ProcessFacts, TaskFacts } from "./process-facts.js";

/** Numbers of notes, under the names "CORE" and "LINUX". */
export const NOTE = {
  prstatus: 1,
  fpregset: 2,
  prpsinfo: 3,
  auxv: 6,
  file: 0x4649_4c45,
  x86Xfp: 0x46e6_2b7f,
  x86Xstate: 0x202,
  armTls: 0x401,
} as const;

/** A mapped file in NT_FILE. @internal */
export interface MappedFile {
  readonly start: bigint;
  readonly end: bigint;
  /** Bytes from the beginning of the file. */
  readonly offset: bigint;
  readonly path: string;
}

/** A thread and what is known of it. @internal */
export interface NotedThread {
  readonly task: Task;
  readonly facts: TaskFacts;
  readonly registers: UserRegisters;
  readonly floating: FloatingState | undefined;
}

/** What the notes are made of. @internal */
export interface NoteFacts {
  readonly abi: CoreAbi;
  readonly leader: Task;
  readonly process: ProcessFacts;
  /** The first is the one that debuggers show first. */
  readonly threads: readonly NotedThread[];
  readonly files: readonly MappedFile[];
  readonly pageSize: number;
}

/** All notes, one behind the other. @internal */
export function coreNotes(facts: NoteFacts): Uint8Array<ArrayBuffer> {
  const { abi, threads, process } = facts;
  const notes: Uint8Array<ArrayBuffer>[] = [];
  const add = (name: string, type: number, description: Uint8Array) =>
    notes.push(note(name, type, description));
  for (const [i, thread] of threads.entries()) {
    add("CORE", NOTE.prstatus, prstatus(facts, thread, i === 0 ? process.signal : 0));
    if (i === 0) addOfProcess(facts, add);
    const { xstate, plain, tls } = thread.floating ?? {};
    if (xstate !== undefined) {
      if (abi.word === 8) add("CORE", NOTE.fpregset, xstate.fxsave);
      else add("LINUX", NOTE.x86Xfp, xstate.fxsave);
      add("LINUX", NOTE.x86Xstate, xstate.xsave);
    }
    if (plain !== undefined) add("CORE", NOTE.fpregset, plain);
    if (tls !== undefined) add("LINUX", NOTE.armTls, new FieldBytes(8).word(0, tls).bytes);
  }
  if (threads.length === 0) addOfProcess(facts, add);
  return joined(notes);
}

function addOfProcess(
  facts: NoteFacts,
  add: (name: string, type: number, description: Uint8Array) => void,
): void {
  const { process, abi, files } = facts;
  add("CORE", NOTE.prpsinfo, prpsinfo(facts));
  const vector = process.auxv === undefined ? undefined : auxvOf(process.auxv, abi.word);
  if (vector !== undefined) add("CORE", NOTE.auxv, vector);
  if (files.length > 0) add("CORE", NOTE.file, fileNote(facts));
}

/** Offsets of `struct elf_prstatus`, by the size of a pointer. */
const PRSTATUS = {
  8: { pending: 16, held: 24, pid: 32, time: 48, second: 8, registers: 112, end: 8 },
  4: { pending: 16, held: 20, pid: 24, time: 40, second: 4, registers: 72, end: 4 },
} as const;

function prstatus({ abi, process }: NoteFacts, thread: NotedThread, signal: number): Uint8Array<ArrayBuffer> {
  const { word } = abi;
  const at = PRSTATUS[word];
  const { facts, task, floating } = thread;
  const registersEnd = at.registers + word * abi.registers.length;
  const out = new FieldBytes(registersEnd + at.end);
  // pr_info.si_signo, pr_cursig.
  out.u32(0, signal).u16(12, signal);
  out.word(at.pending, facts.pending ?? 0n, word).word(at.held, facts.blocked ?? 0n, word);
  for (const [i, number] of [task.pid, task.ppid, process.group, process.session].entries()) {
    out.u32(at.pid + 4 * i, number ?? 0);
  }
  for (const [i, time] of [facts.userTime, facts.systemTime].entries()) {
    const microseconds = (time ?? 0n) / 1000n;
    out.word(at.time + 2 * i * at.second, microseconds / 1_000_000n, word);
    out.word(at.time + (2 * i + 1) * at.second, microseconds % 1_000_000n, word);
  }
  const values = abi.rename?.(thread.registers.values) ?? thread.registers.values;
  for (const [i, name] of abi.registers.entries()) {
    out.word(at.registers + word * i, values[name] ?? 0n, word);
  }
  // pr_fpvalid.
  const hasFloating = floating?.plain !== undefined || (floating?.xstate !== undefined && word === 8);
  return out.u32(registersEnd, hasFloating ? 1 : 0).bytes;
}

/** Letters of `pr_sname`, by the number of the state's lowest bit. */
const STATES = "RSDTZW";

/** `struct elf_prpsinfo`; the 32-bit one has users of 16 bits. */
function prpsinfo({ abi, leader, process, threads }: NoteFacts): Uint8Array<ArrayBuffer> {
  const wide = abi.word === 8;
  const out = new FieldBytes(wide ? 136 : 124);
  const facts = threads.find(({ task }) => task.address === leader.address)?.facts ?? process.tasks[0];
  const letter = leader.state === "I" ? "D" : (leader.state ?? "R");
  const state = Math.max(0, STATES.indexOf(letter.toUpperCase()));
  // static_prio is 120 for a nice value of 0.
  const nice = facts?.priority === undefined ? 0 : facts.priority - 120;
  out
    .u8(0, state)
    .u8(1, letter.charCodeAt(0))
    .u8(2, letter === "Z" ? 1 : 0)
    .u8(3, nice & 0xff);
  out.word(wide ? 8 : 4, facts?.flags ?? 0n, abi.word);
  const ids = [leader.uid ?? 0, leader.gid ?? 0];
  if (wide) out.u32(16, ids[0] as number).u32(20, ids[1] as number);
  else out.u16(8, Math.min(65_534, ids[0] as number)).u16(10, Math.min(65_534, ids[1] as number));
  const numbersAt = wide ? 24 : 12;
  for (const [i, number] of [leader.tgid, leader.ppid, process.group, process.session].entries()) {
    out.u32(numbersAt + 4 * i, number ?? 0);
  }
  const nameAt = numbersAt + 16;
  // The last byte of either text is a NUL.
  if (facts?.comm !== undefined) out.put(nameAt, facts.comm, 15);
  return out.put(nameAt + 16, process.commandLine, 79).bytes;
}

/** The vector up to its end: what lies behind AT_NULL is not part of it. `undefined` if it has none. */
function auxvOf(saved: Uint8Array, word: 4 | 8): Uint8Array | undefined {
  for (let at = 0; at + 2 * word <= saved.length; at += 2 * word) {
    if (saved.subarray(at, at + word).every((byte) => byte === 0)) return saved.subarray(0, at + 2 * word);
  }
  return undefined;
}

function fileNote({ abi, files, pageSize }: NoteFacts): Uint8Array {
  const { word } = abi;
  const paths = files.map(({ path }) => encodeUtf8(path));
  const size = paths.reduce((sum, { length }) => sum + length + 1, word * (2 + 3 * files.length));
  const out = new FieldBytes(size);
  out.word(0, BigInt(files.length), word).word(word, BigInt(pageSize), word);
  let at = 2 * word;
  for (const { start, end, offset } of files) {
    out.word(at, start, word).word(at + word, end, word);
    out.word(at + 2 * word, offset / BigInt(pageSize), word);
    at += 3 * word;
  }
  for (const path of paths) {
    out.put(at, path);
    at += path.length + 1;
  }
  return out.bytes;
}

function note(name: string, type: number, description: Uint8Array): Uint8Array<ArrayBuffer> {
  const nameSize = Math.ceil((name.length + 1) / 4) * 4;
  const out = new FieldBytes(12 + nameSize + Math.ceil(description.length / 4) * 4);
  out
    .u32(0, name.length + 1)
    .u32(4, description.length)
    .u32(8, type);
  return out.put(12, encodeUtf8(name)).put(12 + nameSize, description).bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
