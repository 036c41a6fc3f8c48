/**
 * Floating-point and vector registers of threads that no CPU was running: the kernel saves them when it takes a thread off its CPU.
 *
 * Facts: arch/x86/include/asm/fpu/types.h (`struct fpstate`, `fpu_state_config`), arch/x86/kernel/fpu/xstate.c;
 * arch/arm64/include/asm/processor.h (`uw.fpsimd_state`), asm/fpu.h; arch/riscv/include/uapi/asm/ptrace.h (`__riscv_d_ext_state`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { int, maybe, place, record, word } from "../objects/record.js";
import type { ThreadState } from "./user-registers.js";
import { COMMON_COMPONENTS, plainXState, type XComponent, type XComponents, type XState } from "./xstate.js";

const FPSTATE = record("fpstate", {
  size: int("size"),
  features: maybe(word("user_xfeatures")),
  registers: place("regs"),
});
const CONFIG = record("fpu_state_config", { features: word("max_features") });

/** No state is larger: that of AMX has 11 KiB. */
const MAX_STATE = 65_536;
/** Components that the kernel's arrays may have (XFEATURE_MAX is 19). */
const MAX_COMPONENTS = 19;
/** arm64: `fp_type` of SVE's form, of which the plain registers are not up to date. */
const SVE = 2;

/** Vector registers, in the form of a core file's notes. */
export interface FloatingState {
  /** x86. */
  readonly xstate?: XState;
  /** arm64: `struct user_fpsimd_state`; riscv64: `__riscv_d_ext_state`. */
  readonly plain?: Uint8Array;
  /** arm64: TPIDR_EL0. */
  readonly tls?: bigint;
}

/** Those of each thread; `undefined` for what was only in its CPU, and what can't be read, which is told. @internal */
export function* readFloatingStates(
  data: KernelData,
  threads: readonly ThreadState[],
  report: OnDamage,
): Routine<(FloatingState | undefined)[]> {
  const { architecture } = data.kernel;
  if (architecture === "x86_64" || architecture === "i386") return yield* readXStates(data, threads, report);
  return threads.map(({ registers, fields: { fpsimd, fpType, tls, fstate } }) => {
    if (registers === undefined || registers.running) return undefined;
    const plain = architecture === "riscv64" ? fstate : fpType === SVE ? undefined : fpsimd;
    return { ...(plain === undefined ? {} : { plain }), ...(tls === undefined ? {} : { tls }) };
  });
}

function* readXStates(
  data: KernelData,
  threads: readonly ThreadState[],
  report: OnDamage,
): Routine<(FloatingState | undefined)[]> {
  const { memory, types } = data;
  const components = yield* readComponents(data);
  const all = yield* readFeatures(data);
  const found: (FloatingState | undefined)[] = [];
  for (const { registers, fields } of threads) {
    const { fpstate, fpuState, pkru } = fields;
    let at = fpuState;
    let size = components.end;
    let features = all;
    if (fpstate !== undefined && fpstate !== 0n) {
      const [row] = (yield* FPSTATE.onIf(types)?.read(memory, [fpstate]) ?? []) as {
        value?: { size: number; features?: bigint; registers: bigint };
      }[];
      at = row?.value?.registers;
      size = row?.value?.size ?? 0;
      features ??= row?.value?.features;
    }
    if (registers === undefined || registers.running || at === undefined) {
      found.push(undefined);
      continue;
    }
    const { bytes, holes } = yield* memory.readPartial(at, Math.min(MAX_STATE, Math.max(576, size)));
    const hole = holes[0];
    const state = plainXState(
      hole === undefined ? bytes : bytes.subarray(0, hole.start),
      features ?? 7n,
      components.table,
      pkru,
    );
    if (state === undefined)
      report(damage("the vector registers of a thread", at, "unreadable", hole?.fault ?? 0));
    else if (state.lost.length > 0) {
      const which = `components ${state.lost.join(", ")} of XSAVE are left out: where they lie is not known`;
      report(damage("the vector registers of a thread", at, "invalid", 0, which));
    }
    found.push(state === undefined ? undefined : { xstate: state });
  }
  return found;
}

/** XCR0, as the kernel set it up for programs. */
function* readFeatures(data: KernelData): Routine<bigint | undefined> {
  const at = yield* symbolAddress(data, "fpu_user_cfg");
  if (at === undefined) return undefined;
  const layout = CONFIG.onIf(data.types);
  const [row] = layout === undefined ? [] : yield* layout.read(data.memory, [at]);
  return row?.value?.features;
}

/** Flags of a component. */
const ALIGNED = 2;
const NO_PLACE = 0xffff_ffff;

/** Where the processor has each component, as CPUID told the kernel when it started. */
function* readComponents(data: KernelData): Routine<{ readonly table: XComponents; readonly end: number }> {
  const [offsets, sizes, flags] = [
    yield* readNumbers(data, "xstate_offsets"),
    yield* readNumbers(data, "xstate_sizes"),
    yield* readNumbers(data, "xstate_flags"),
  ];
  if (offsets === undefined || sizes === undefined) return { table: COMMON_COMPONENTS, end: 832 };
  const table = new Map<number, XComponent>();
  let end = 576;
  for (let i = 2; i < MAX_COMPONENTS; i++) {
    const [offset = NO_PLACE, size = NO_PLACE] = [offsets[i], sizes[i]];
    if (size === NO_PLACE || size === 0 || size > MAX_STATE) continue;
    // (A component of the supervisor has a size, and no place in the plain form: no program's XCR0 names it.)
    const isPlain = offset !== NO_PLACE && offset >= 576 && offset <= MAX_STATE;
    table.set(i, { offset: isPlain ? offset : 576, size, aligned: ((flags?.[i] ?? 0) & ALIGNED) !== 0 });
    end += size + 64;
  }
  return { table, end: Math.min(MAX_STATE, end) };
}

function* readNumbers(data: KernelData, name: string): Routine<number[] | undefined> {
  const at = yield* symbolAddress(data, name);
  if (at === undefined) return undefined;
  const { bytes, holes } = yield* data.memory.readPartial(at, 4 * MAX_COMPONENTS);
  if (holes.length > 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: MAX_COMPONENTS }, (_, i) => view.getUint32(4 * i, true));
}
