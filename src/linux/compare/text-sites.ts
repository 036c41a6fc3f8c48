/**
 * Places of a kernel's text that it changes itself, with what may stand there.
 *
 * Facts: include/linux/jump_label.h (`struct jump_entry`, whose numbers are relative to themselves, with
 * CONFIG_HAVE_ARCH_JUMP_LABEL_RELATIVE; `__start___jump_table`), arch/x86/kernel/jump_label.c and arch/arm64/kernel/jump_label.c (a jump
 * or a nop), include/linux/static_call_types.h (`struct static_call_site`: the low bits of `key` are flags), include/linux/static_call.h,
 * arch/x86/kernel/static_call.c (a call, a jump, a nop, a return, or what clears EAX), kernel/trace/ftrace.c and
 * arch/x86/kernel/ftrace.c, arch/x86/kernel/alternative.c (`alternatives_smp_lock`, `__smp_locks`: a lock prefix, or DS instead).
 */
import type { Routine } from "../../io/index.js";
import { type ProbeText, ProbeTexts } from "../checks/kprobes.js";
import { isTracing, patchIn } from "../checks/patched-text.js";
import { type TraceOps, traceOps, trampolinesOf } from "../checks/trace-state.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { readModules } from "../modules/module-parts.js";
import { pointersAt } from "../objects/pointers.js";
import { int, maybe, record, word } from "../objects/record.js";

const JUMPS = record("module", { at: maybe(word("jump_entries")), count: maybe(int("num_jump_entries")) });
const CALLS = record("module", {
  at: maybe(word("static_call_sites")),
  count: maybe(int("num_static_call_sites")),
});
/** More sites than any kernel or module has. */
const MAX_SITES = 1 << 18;
/** Bytes of the longest instruction that is changed. */
const LONGEST = 8;

/** Instructions of ftrace's entry that it changes (arch/x86/kernel/ftrace_64.S, arch/arm64/kernel/entry-ftrace.S). */
const TRACE_CALLS = new Set(["ftrace_call", "ftrace_regs_call", "ftrace_graph_call"]);

/** What a table says of a site. */
type Site =
  | { readonly kind: "static key"; readonly target: bigint }
  | { readonly kind: "static call"; readonly key: bigint }
  | { readonly kind: "lock prefix" };

/** The sites of one kernel, and what tracing has registered in it. @internal */
export class TextSites {
  readonly #data: KernelData;
  readonly #sites: ReadonlyMap<bigint, Site>;
  readonly #probes: ProbeTexts;
  /** What ftrace calls, and from where. */
  readonly #traced: ReadonlySet<bigint>;
  readonly #trampolines: readonly { readonly start: bigint; readonly end: bigint }[];

  private constructor(
    data: KernelData,
    sites: ReadonlyMap<bigint, Site>,
    probes: ProbeTexts,
    ops: readonly TraceOps[],
  ) {
    this.#data = data;
    this.#sites = sites;
    this.#probes = probes;
    this.#traced = new Set(ops.map(({ func }) => func));
    this.#trampolines = trampolinesOf(ops);
  }

  static *read(kernel: LinuxKernel): Routine<TextSites> {
    const data = yield* kernelData(kernel);
    const sites = new Map<bigint, Site>();
    const jumps = yield* boundsOf(data, "__start___jump_table", "__stop___jump_table");
    if (jumps !== undefined) yield* addJumps(data, jumps.start, jumps.end - jumps.start, sites);
    const calls = yield* boundsOf(data, "__start_static_call_sites", "__stop_static_call_sites");
    if (calls !== undefined) yield* addCalls(data, calls.start, calls.end - calls.start, sites);
    for (const { address } of yield* readModules(data, () => {})) {
      const [jump] = yield* JUMPS.on(data.types).read(data.memory, [address]);
      const { at = 0n, count = 0 } = jump?.partial ?? {};
      yield* addJumps(data, at, BigInt(count) * jumpSize(data), sites);
      const [call] = yield* CALLS.on(data.types).read(data.memory, [address]);
      const { at: from = 0n, count: calls = 0 } = call?.partial ?? {};
      yield* addCalls(data, from, BigInt(calls) * CALL_SIZE, sites);
    }
    const locks = yield* boundsOf(data, "__smp_locks", "__smp_locks_end");
    if (locks !== undefined) yield* addLocks(data, locks.start, locks.end - locks.start, sites);
    const ops = (yield* traceOps(data, () => {})) ?? [];
    return new TextSites(data, sites, yield* ProbeTexts.read(data), ops);
  }

  /** What a kprobe wrote at an address, if what stands there is that. @param code The text from there on. */
  probeAt(address: bigint, code: Uint8Array): ProbeText | undefined {
    return this.#probes.at(address, code);
  }

  /**
   * What explains that an instruction stands where a byte is: the kernel's own table names the place, and what stands there is what
   * the kernel writes there.
   *
   * @param bytes Of the text around, the first of which is at `from`.
   */
  *explain(
    at: bigint,
    bytes: Uint8Array,
    from: bigint,
  ): Routine<{ readonly why: string; readonly end: bigint } | undefined> {
    for (let start = at; start > at - BigInt(LONGEST); start--) {
      const index = Number(start - from);
      if (index < 0) break;
      const code = bytes.subarray(index, index + 16);
      const found = yield* this.#at(start, code);
      if (found !== undefined && start + BigInt(found.size) > at) {
        return { why: found.why, end: start + BigInt(found.size) };
      }
    }
    return undefined;
  }

  *#at(address: bigint, code: Uint8Array): Routine<{ why: string; size: number } | undefined> {
    const site = this.#sites.get(address);
    const { architecture } = this.#data.kernel;
    const known = site === undefined ? undefined : instructionOf(architecture, address, code);
    if (site?.kind === "static key" && known !== undefined) {
      const isJump = known.kind === "jump" && known.target === site.target;
      if (isJump || known.kind === "nop") return { why: "static key", size: known.size };
    }
    if (site?.kind === "static call" && known !== undefined && (yield* this.#isCall(site.key, known))) {
      return { why: "static call", size: known.size };
    }
    if (site?.kind === "lock prefix" && (code[0] === 0xf0 || code[0] === 0x3e)) {
      return { why: "lock prefix", size: 1 };
    }
    if (yield* this.#isTrampoline(address, code)) return { why: "static call", size: 5 };
    return yield* this.#tracedAt(address, code);
  }

  /** The trampoline of a static call: a jump to where its key leads. */
  *#isTrampoline(address: bigint, code: Uint8Array): Routine<boolean> {
    const { kernel } = this.#data;
    const found = instructionOf(kernel.architecture, address, code);
    if (found?.kind !== "jump" && found?.kind !== "return") return false;
    const named = yield* kernel.nameOf(address);
    if (named?.offset !== 0n || named.name.startsWith("__SCT__") === false) return false;
    if (found.kind === "return") return true;
    const key = yield* kernel.findAddress(named.name.replace("__SCT__", "__SCK__"));
    const pointer = key === undefined ? 0 : yield* pointersAt(this.#data.memory, key, 1);
    return typeof pointer !== "number" && pointer[0] === found.target;
  }

  *#isCall(key: bigint, { kind, target }: Instruction): Routine<boolean> {
    if (kind !== "call" && kind !== "jump") return true;
    if (target === undefined) return false;
    const found = yield* pointersAt(this.#data.memory, key, 1);
    if (typeof found !== "number" && found[0] === target) return true;
    return (yield* this.#data.kernel.nameOf(target))?.name.startsWith("__SCT__") === true;
  }

  /** A function's first instruction, a nop or a call of what traces; and where ftrace's own entry calls what is registered. */
  *#tracedAt(address: bigint, code: Uint8Array): Routine<{ why: string; size: number } | undefined> {
    const { kernel } = this.#data;
    const known = instructionOf(kernel.architecture, address, code);
    if (known === undefined) return undefined;
    const named = yield* kernel.nameOf(address);
    // (Behind endbr64, bti and the like, and behind the two nops of arm64.)
    if (named === undefined || named.offset > 16n) return undefined;
    if (known.kind === "nop") return { why: "ftrace", size: known.size };
    if (named.offset === 0n && TRACE_CALLS.has(named.name) && known.target !== undefined) {
      const callee = yield* kernel.nameOf(known.target);
      const isOwn = callee?.module === undefined && /^(arch_)?ftrace_/.test(callee?.name ?? "");
      return isOwn || this.#traced.has(known.target) ? { why: "ftrace", size: known.size } : undefined;
    }
    const patch = code.length < 16 ? undefined : patchIn(kernel.architecture, address, code);
    if (patch?.target === undefined || patch.at !== address) return undefined;
    return (yield* isTracing(this.#data, patch.target, this.#trampolines))
      ? { why: "ftrace", size: known.size }
      : undefined;
  }
}

function* boundsOf(
  data: KernelData,
  first: string,
  last: string,
): Routine<{ readonly start: bigint; readonly end: bigint } | undefined> {
  const start = yield* symbolAddress(data, first);
  const end = yield* symbolAddress(data, last);
  return start === undefined || end === undefined || end < start ? undefined : { start, end };
}

/** Two relative numbers of 32 bits, and a key as wide as a pointer. */
function jumpSize({ memory }: KernelData): bigint {
  return BigInt(8 + memory.pointerSize);
}

/** Two relative numbers of 32 bits. */
const CALL_SIZE = 8n;

/** Reads a table; nothing of one that can't be, or that has holes: what is not known explains nothing. */
function* tableAt(
  { memory }: KernelData,
  at: bigint,
  size: bigint,
  step: bigint,
): Routine<DataView | undefined> {
  if (at === 0n || size <= 0n || size / step > BigInt(MAX_SITES)) return undefined;
  const { bytes, holes } = yield* memory.readPartial(at, Number(size));
  return holes.length > 0 ? undefined : new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function* addJumps(data: KernelData, at: bigint, size: bigint, sites: Map<bigint, Site>): Routine<void> {
  const step = jumpSize(data);
  const table = yield* tableAt(data, at, size, step);
  const { littleEndian, pointerSize } = data.memory;
  for (let i = 0; table !== undefined && i + Number(step) <= table.byteLength; i += Number(step)) {
    const relative = (k: number) =>
      BigInt.asUintN(8 * pointerSize, at + BigInt(i + k) + BigInt(table.getInt32(i + k, littleEndian)));
    sites.set(relative(0), { kind: "static key", target: relative(4) });
  }
}

function* addCalls(data: KernelData, at: bigint, size: bigint, sites: Map<bigint, Site>): Routine<void> {
  const table = yield* tableAt(data, at, size, CALL_SIZE);
  const { littleEndian, pointerSize } = data.memory;
  for (let i = 0; table !== undefined && i + 8 <= table.byteLength; i += 8) {
    const relative = (k: number) =>
      BigInt.asUintN(8 * pointerSize, at + BigInt(i + k) + BigInt(table.getInt32(i + k, littleEndian)));
    sites.set(relative(0), { kind: "static call", key: relative(4) & ~3n });
  }
}

/**
 * x86: places of lock prefixes, relative to themselves. Only where one CPU came up and more may follow they are needed: else they are freed
 * (`alternative_instructions`), nothing is changed any more, and what lies there is anything.
 */
function* addLocks(data: KernelData, at: bigint, size: bigint, sites: Map<bigint, Site>): Routine<void> {
  const table = yield* tableAt(data, at, size, 4n);
  const { littleEndian, pointerSize } = data.memory;
  for (let i = 0; table !== undefined && i + 4 <= table.byteLength; i += 4) {
    const place = at + BigInt(i) + BigInt(table.getInt32(i, littleEndian));
    const address = BigInt.asUintN(8 * pointerSize, place);
    if (!sites.has(address)) sites.set(address, { kind: "lock prefix" });
  }
}

interface Instruction {
  readonly kind: "nop" | "jump" | "call" | "return" | "clear";
  readonly size: number;
  readonly target?: bigint;
}

/** An instruction that kernels write over their own; `undefined` for any other. */
function instructionOf(architecture: string, address: bigint, code: Uint8Array): Instruction | undefined {
  if (code.length < 8) return undefined;
  const view = new DataView(code.buffer, code.byteOffset, code.length);
  if (architecture === "x86_64" || architecture === "i386") {
    return x86Instruction(architecture === "i386" ? 32 : 64, address, code, view);
  }
  const word = view.getUint32(0, true);
  if (architecture === "aarch64") {
    if (word === 0xd503201f) return { kind: "nop", size: 4 };
    const target = BigInt.asUintN(64, address + BigInt((word << 6) >> 4));
    if (word >>> 26 === 0b000101) return { kind: "jump", size: 4, target };
    if (word >>> 26 === 0b100101) return { kind: "call", size: 4, target };
  }
  return undefined;
}

/** arch/x86/include/asm/nops.h; arch/x86/kernel/static_call.c (`xor5rax`, `retinsn`). */
function x86Instruction(
  width: number,
  address: bigint,
  code: Uint8Array,
  view: DataView,
): Instruction | undefined {
  const starts = (...bytes: number[]) => bytes.every((byte, i) => code[i] === byte);
  const to = (size: number, offset: number) => BigInt.asUintN(width, address + BigInt(size + offset));
  if (starts(0x0f, 0x1f, 0x44, 0x00, 0x00) || starts(0x3e, 0x8d, 0x74, 0x26, 0x00))
    return { kind: "nop", size: 5 };
  if (starts(0x66, 0x90)) return { kind: "nop", size: 2 };
  if (starts(0xe8)) return { kind: "call", size: 5, target: to(5, view.getInt32(1, true)) };
  if (starts(0xe9)) return { kind: "jump", size: 5, target: to(5, view.getInt32(1, true)) };
  if (starts(0xeb)) return { kind: "jump", size: 2, target: to(2, view.getInt8(1)) };
  if (starts(0x2e, 0x2e, 0x2e, 0x31, 0xc0) || starts(0x66, 0x66, 0x48, 0x31, 0xc0))
    return { kind: "clear", size: 5 };
  if (starts(0xc3)) return { kind: "return", size: 5 };
  return undefined;
}
