/**
 * Walks kernel stacks of x86-64 by the kernel's own tables.
 *
 * Facts: arch/x86/kernel/unwind_orc.c (`unwind_next_frame`), arch/x86/include/asm/orc_types.h (ORC_REG_*), arch/x86/include/asm/ptrace.h
 * (`struct pt_regs`; what the processor itself saves are its last five members).
 */
import type { Fault, Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { pointersAt } from "../objects/pointers.js";
import { offsetOf, record, word } from "../objects/record.js";
import { type Frame, type FrameStart, type FrameWalk, MAX_FRAMES } from "./frames.js";
import type { OrcEntry, OrcTables } from "./orc-tables.js";

/** ORC_REG_*, as far as they are used. */
const REG_UNDEFINED = 0;
const REG_PREV_SP = 1;
const REG_BP = 4;
const REG_SP = 5;
const REG_BP_INDIRECT = 8;
const REG_SP_INDIRECT = 9;
const IN_REGISTERS = new Map([
  [2, "dx"],
  [3, "di"],
  [6, "r10"],
  [7, "r13"],
]);

const SAVED = record("pt_regs", {
  bp: word("bp"),
  r10: word("r10"),
  r13: word("r13"),
  dx: word("dx"),
  di: word("di"),
  ip: word("ip"),
  cs: word("cs"),
  sp: word("sp"),
});
/** Of code that no table describes, it is believed to keep a frame pointer, as the kernel believes. */
const BY_FRAME_POINTER: OrcEntry = {
  type: "call",
  spRegister: REG_BP,
  spOffset: 16,
  bpRegister: REG_PREV_SP,
  bpOffset: -16,
  signal: undefined,
};

interface State {
  pc: bigint;
  sp: bigint;
  fp: bigint;
  exact: boolean;
  registers: ReadonlyMap<string, bigint> | undefined;
}

/** Why a walk can't go on. */
class Broken {
  readonly address: bigint;
  readonly why: string;
  readonly fault: Fault;
  constructor(address: bigint, why: string, fault: Fault = 0) {
    this.address = address;
    this.why = why;
    this.fault = fault;
  }
}

/** Walks from registers up. */
export function* walkByOrc(data: KernelData, tables: OrcTables, start: FrameStart): Routine<FrameWalk> {
  const frames: Frame[] = [];
  const seen = new Set<string>();
  const state: State = { ...start, registers: start.registers };
  for (;;) {
    if (state.pc === 0n || seen.has(`${state.pc} ${state.sp}`)) {
      const why = state.pc === 0n ? "the address of the caller is null" : "the stack leads back to itself";
      return { frames, broken: new Broken(state.sp, why) };
    }
    seen.add(`${state.pc} ${state.sp}`);
    frames.push({ pc: state.pc, sp: state.sp, exact: state.exact });
    if (frames.length === MAX_FRAMES)
      return { frames, broken: new Broken(state.sp, `more than ${MAX_FRAMES} frames`) };
    const end = yield* step(data, tables, state);
    if (end instanceof Broken) return { frames, broken: end };
    if (end) return { frames };
  }
}

/** Goes to the caller. @returns whether there is none. */
function* step(data: KernelData, tables: OrcTables, state: State): Routine<boolean | Broken> {
  // (A call may be the last instruction of its function.)
  const found = yield* tables.find(state.exact ? state.pc : state.pc - 1n);
  if (typeof found === "number") return new Broken(state.pc, "the table of frames", found);
  const entry = found ?? BY_FRAME_POINTER;
  if (entry.type === "end") return true;
  if (entry.spRegister === REG_UNDEFINED || entry.type === "undefined")
    return new Broken(state.pc, "the kernel's table does not say where the caller's frame is");
  const sp = yield* callersFrame(data, entry, state);
  if (sp instanceof Broken) return sp;
  if (entry.type === "call") {
    const [pc] = yield* words(data, sp - 8n, 1);
    if (pc instanceof Broken) return pc;
    const fp = yield* callersFp(data, entry, state, sp);
    if (fp instanceof Broken) return fp;
    Object.assign(state, { pc, sp, fp, exact: entry.signal ?? false, registers: undefined });
    return false;
  }
  return yield* interrupted(data, entry, state, sp);
}

/** What was interrupted, and saved its registers. User mode is the end of the kernel's stack. */
function* interrupted(
  data: KernelData,
  entry: OrcEntry,
  state: State,
  sp: bigint,
): Routine<boolean | Broken> {
  const whole = entry.type === "registers";
  const base = whole ? sp : sp - BigInt(offsetOf(data.types, "pt_regs", "ip"));
  const [row] = yield* SAVED.on(data.types).read(data.memory, [base]);
  const { ip, cs, sp: savedSp } = row?.partial ?? {};
  if (ip === undefined || cs === undefined || savedSp === undefined)
    return new Broken(sp, "the registers that were saved", row?.fault);
  if ((cs & 3n) === 3n) return true;
  const saved = whole ? row?.value : undefined;
  const fp =
    entry.bpRegister === REG_UNDEFINED ? (saved?.bp ?? state.fp) : yield* callersFp(data, entry, state, sp);
  if (fp instanceof Broken) return fp;
  const registers =
    saved === undefined ? undefined : new Map(Object.entries(saved).map(([name, value]) => [name, value]));
  Object.assign(state, { pc: ip, sp: savedSp, fp, exact: entry.signal ?? true, registers });
  return false;
}

function* callersFrame(data: KernelData, entry: OrcEntry, state: State): Routine<bigint | Broken> {
  const offset = BigInt(entry.spOffset);
  switch (entry.spRegister) {
    case REG_SP:
      return state.sp + offset;
    case REG_BP:
      return state.fp + offset;
    case REG_BP_INDIRECT: {
      const [at] = yield* words(data, state.fp + offset, 1);
      return at as bigint | Broken;
    }
    case REG_SP_INDIRECT: {
      const [at] = yield* words(data, state.sp, 1);
      return at instanceof Broken ? at : (at as bigint) + offset;
    }
    default: {
      const name = IN_REGISTERS.get(entry.spRegister);
      const value = name === undefined ? undefined : state.registers?.get(name);
      return (
        value ??
        new Broken(state.pc, `the caller's frame was in a register (${name ?? "?"}) that is not known`)
      );
    }
  }
}

function* callersFp(data: KernelData, entry: OrcEntry, state: State, sp: bigint): Routine<bigint | Broken> {
  if (entry.bpRegister === REG_UNDEFINED) return state.fp;
  const base = entry.bpRegister === REG_PREV_SP ? sp : state.fp;
  const [fp] = yield* words(data, base + BigInt(entry.bpOffset), 1);
  return fp as bigint | Broken;
}

function* words(data: KernelData, at: bigint, count: number): Routine<(bigint | Broken)[]> {
  const address = BigInt.asUintN(64, at);
  const found = yield* pointersAt(data.memory, address, count);
  return typeof found === "number" ? [new Broken(address, "the stack", found)] : found;
}
