/**
 * Whether the first instruction of a function leads elsewhere, where the dump has its text, and whether tracing explains it.
 *
 * Facts: arch/x86/kernel/ftrace.c (a call of `ftrace_caller`, `ftrace_regs_caller` or a trampoline in the place of a nop of 5 bytes),
 * arch/x86/kernel/kprobes/core.c and opt.c (int3, or a jump to a slot), arch/arm64/include/asm/insn.h.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { ProbeTexts } from "./kprobes.js";
import { traceOps, trampolinesOf } from "./trace-state.js";

const BYTES = 16;

/** An entry that leads elsewhere. */
export interface Patch {
  readonly kind: "jump" | "breakpoint" | "call";
  readonly target: bigint | undefined;
}

/** For a sentence. */
export function patchText({ kind, target }: Patch): string {
  const to = target === undefined ? "" : ` to 0x${target.toString(16)}`;
  return `its first instruction is a ${kind}${to}, which neither ftrace nor a kprobe explains`;
}

/** The patches of functions, `undefined` for those without, and how many could not be read. */
export interface Patches {
  readonly unread: number;
  at(index: number): Patch | undefined;
}

/** Looks at the first instruction of each function. */
export function* readPatches(data: KernelData, functions: readonly bigint[]): Routine<Patches> {
  const gathered = yield* data.memory.gather(BigUint64Array.from(functions), BYTES);
  const probes = yield* ProbeTexts.read(data);
  const trampolines = trampolinesOf((yield* traceOps(data, () => {})) ?? []);
  const found = new Map<number, Patch>();
  let unread = 0;
  for (const [i, address] of functions.entries()) {
    const bytes = gathered.at(i);
    if (bytes === undefined) {
      unread++;
      continue;
    }
    const patch = patchIn(data.kernel.architecture, address, bytes);
    if (patch === undefined) continue;
    const { target, at } = patch;
    if (probes.at(at, bytes.subarray(Number(at - address))) !== undefined) continue;
    if (target !== undefined && (yield* isTracing(data, target, trampolines))) continue;
    found.set(i, patch);
  }
  return { unread, at: (index) => found.get(index) };
}

/** Whether a target of a call or jump is one that tracing writes there. @internal */
export function* isTracing(
  { kernel }: KernelData,
  target: bigint,
  trampolines: readonly { readonly start: bigint; readonly end: bigint }[],
): Routine<boolean> {
  if (trampolines.some(({ start, end }) => target >= start && target < end)) return true;
  const named = yield* kernel.nameOf(target);
  if (named === undefined) return false;
  // (What a module calls its functions explains nothing.)
  return (
    named.module === "bpf" ||
    (named.module === undefined && /^(ftrace_|__fentry__|mcount|bpf_)/.test(named.name))
  );
}

/** What a function's first instruction is, if it leads elsewhere. @internal */
export function patchIn(
  architecture: string,
  address: bigint,
  bytes: Uint8Array,
): (Patch & { readonly at: bigint }) | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (architecture === "x86_64" || architecture === "i386") return x86Patch(architecture, address, view);
  if (architecture === "aarch64") return arm64Patch(address, view);
  return undefined;
}

function x86Patch(
  architecture: string,
  address: bigint,
  view: DataView,
): (Patch & { at: bigint }) | undefined {
  const width = architecture === "i386" ? 32 : 64;
  const word = view.getUint32(0, true);
  // endbr64, endbr32: what indirect calls must lead to.
  const skip = word === 0xfa1e0ff3 || word === 0xfb1e0ff3 ? 4 : 0;
  const at = address + BigInt(skip);
  const relative = () => BigInt.asUintN(width, at + 5n + BigInt(view.getInt32(skip + 1, true)));
  const first = view.getUint8(skip);
  const second = view.getUint8(skip + 1);
  if (first === 0xcc) return { kind: "breakpoint", target: undefined, at };
  if (first === 0xe9) return { kind: "jump", target: relative(), at };
  if (first === 0xe8) return { kind: "call", target: relative(), at };
  if (first === 0xeb) {
    return { kind: "jump", target: BigInt.asUintN(width, at + 2n + BigInt(view.getInt8(skip + 1))), at };
  }
  // jmp *(…), push imm32 with ret, mov imm64 to rax with jmp or push behind.
  if (first === 0xff && (second & 0x38) === 0x20) return { kind: "jump", target: undefined, at };
  if (first === 0x68 && view.getUint8(skip + 5) === 0xc3) {
    return { kind: "jump", target: BigInt.asUintN(width, BigInt(view.getInt32(skip + 1, true))), at };
  }
  const after = view.getUint8(skip + 10);
  if (first === 0x48 && second === 0xb8 && (after === 0xff || after === 0x50)) {
    return { kind: "jump", target: view.getBigUint64(skip + 2, true), at };
  }
  return undefined;
}

function arm64Patch(address: bigint, view: DataView): (Patch & { at: bigint }) | undefined {
  let skip = 0;
  // bti c, paciasp.
  while (skip < 8 && [0xd503245f, 0xd503233f].includes(view.getUint32(skip, true))) skip += 4;
  const at = address + BigInt(skip);
  const word = view.getUint32(skip, true);
  const branch = () => BigInt.asUintN(64, at + BigInt((word << 6) >> 4));
  if (word >>> 26 === 0b000101) return { kind: "jump", target: branch(), at };
  if (word >>> 26 === 0b100101) return { kind: "call", target: branch(), at };
  if ((word & 0xffe0001f) >>> 0 === 0xd4200000) return { kind: "breakpoint", target: undefined, at };
  return undefined;
}
