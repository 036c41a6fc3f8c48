/**
 * Walks kernel stacks by frame pointers: AArch64, and RISC-V kernels that keep them.
 *
 * Facts: arch/arm64/include/asm/stacktrace/frame.h and arch/arm64/kernel/stacktrace.c (a record is the caller's frame pointer and the
 * address behind the call; both null are the last), "Procedure Call Standard for the Arm 64-bit Architecture" 6.4.6; RISC-V:
 * arch/riscv/include/asm/stacktrace.h (`struct stackframe` lies below the frame pointer),
 * arch/riscv/kernel/entry.S for where it begins.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { pointersAt } from "../objects/pointers.js";
import { type Frame, type FrameStart, type FrameWalk, MAX_FRAMES } from "./frames.js";

/** Where records are. */
export interface FrameRecords {
  /** Bytes from the frame pointer to the record. */
  readonly offset: bigint;
  /** What is set in the addresses behind calls: the bits above addresses may hold their signature (pointer authentication). */
  readonly high: bigint;
  /** The task's stack: records are in it, or on those of interrupts. */
  readonly stack: { readonly start: bigint; readonly end: bigint };
  /**
   * Functions that the processor enters the kernel by, and new tasks begin with: what called them is not the kernel. Where there are
   * none, the last record is null.
   */
  readonly entries?: ReadonlySet<string> | undefined;
}

/** Walks from registers up. */
export function* walkByFramePointer(
  { memory, kernel }: KernelData,
  { offset, high, stack, entries }: FrameRecords,
  start: FrameStart,
): Routine<FrameWalk> {
  const frames: Frame[] = [{ pc: start.pc | high, sp: start.sp, exact: start.exact }];
  let { fp } = start;
  for (;;) {
    const at = BigInt.asUintN(64, fp + offset);
    const found = yield* pointersAt(memory, at, 2);
    if (typeof found === "number") return { frames, broken: { address: at, why: "the stack", fault: found } };
    const [next = 0n, pc = 0n] = found;
    if (pc === 0n) {
      if (next === 0n) return { frames };
      return { frames, broken: { address: at, why: "the address of the caller is null", fault: 0 } };
    }
    frames.push({ pc: pc | high, sp: at, exact: false });
    if (entries?.has((yield* kernel.nameOf(pc - 1n))?.name ?? "") === true) return { frames };
    const inStack = (address: bigint) => address >= stack.start && address < stack.end;
    if ((inStack(fp) && inStack(next) && next <= fp) || frames.length === MAX_FRAMES) {
      const why = next <= fp ? "the frames don't ascend" : `more than ${MAX_FRAMES} frames`;
      return { frames, broken: { address: at, why, fault: 0 } };
    }
    fp = next;
  }
}
