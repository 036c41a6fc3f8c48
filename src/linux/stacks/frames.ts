/** What walking a kernel stack gives, whatever the architecture. */
import type { Fault } from "../../io/index.js";

/** An instruction of one function on the stack. */
export interface Frame {
  /** Where the function was: behind the call, or, of one that was interrupted, the very instruction. */
  readonly pc: bigint;
  /** Where its frame begins: the stack pointer at `pc`. */
  readonly sp: bigint;
  /** Whether `pc` is the very instruction. */
  readonly exact: boolean;
}

/** Registers to begin at. */
export interface FrameStart extends Frame {
  /** The frame pointer. */
  readonly fp: bigint;
  /** Registers by the names of `struct pt_regs`, where all of them are known. */
  readonly registers?: ReadonlyMap<string, bigint> | undefined;
}

/** The frames of a stack, the innermost first. */
export interface FrameWalk {
  readonly frames: readonly Frame[];
  /** Why it ends before the stack does; `undefined` where it ends as a stack does. */
  readonly broken?: { readonly address: bigint; readonly why: string; readonly fault: Fault } | undefined;
}

/** Deeper than any stack that is whole: a kernel stack has 16 KiB, a frame some 16 bytes and more. */
export const MAX_FRAMES = 1024;
