/**
 * The interrupt descriptor table of x86: each gate must lead to the kernel's own entry code.
 *
 * Facts: arch/x86/kernel/idt.c (`idt_table`, `def_idts`: int3, overflow and the call gate of 32-bit programs are for users),
 * arch/x86/include/asm/desc_defs.h (`struct gate_struct`), arch/x86/include/asm/trapnr.h, arch/x86/include/asm/segment.h.
 */
import type { Routine } from "../../io/index.js";
import { MemtoolError } from "../../io/index.js";
import { needSymbol } from "../kernel-data.js";
import { damage } from "../objects/damage.js";
import { int, record } from "../objects/record.js";
import type { Check, Code, Examination } from "./check.js";

const GATE = record("gate_struct", {
  low: int("offset_low"),
  segment: int("segment"),
  type: int("bits.type"),
  dpl: int("bits.dpl"),
  present: int("bits.p"),
  middle: int("offset_middle"),
  // Of x86-64 only; the type has it on i386 only where it was not left out.
});
const HIGH = record("gate_struct", { high: int("offset_high") });

const GATES = 256;
/** X86_TRAP_BP, X86_TRAP_OF, IA32_SYSCALL_VECTOR. */
const FOR_USERS: ReadonlySet<number> = new Set([3, 4, 0x80]);
/** Names of the first vectors' entries behind "asm_exc_". */
const EXCEPTIONS: Readonly<Record<number, string>> = {
  0: "divide_error",
  1: "debug",
  2: "nmi",
  3: "int3",
  4: "overflow",
  5: "bounds",
  6: "invalid_op",
  7: "device_not_available",
  8: "double_fault",
  9: "coproc_segment_overrun",
  10: "invalid_tss",
  11: "segment_not_present",
  12: "stack_segment",
  13: "general_protection",
  14: "page_fault",
  15: "spurious_interrupt_bug",
  16: "coprocessor_error",
  17: "alignment_check",
  18: "machine_check",
  19: "simd_coprocessor_error",
  20: "virtualization_exception",
  21: "control_protection",
  29: "vmm_communication",
};
/** Exceptions that no kernel must have an entry for: without an option of the build, or the processor's feature. */
const UNSET: ReadonlySet<number> = new Set([15, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]);
/** A gate of a task, for i386's double fault. */
const TASK_GATE = 5;
/** `irq_entries_start` and `spurious_entries_start` are arrays of stubs. */
const STUBS = /^(irq|spurious)_entries_start$/;

/** @internal */
export const IDT: Check = {
  name: "idt",
  description: "gates of interrupts and exceptions (x86): handlers, selectors, rights",
  run: function* (examination) {
    const { data } = examination;
    const { architecture } = data.kernel;
    if (architecture !== "x86_64" && architecture !== "i386") {
      throw new MemtoolError("NOT_SUPPORTED", `there is no interrupt descriptor table on ${architecture}`);
    }
    const table = yield* needSymbol(data, "idt_table");
    const is64 = architecture === "x86_64";
    const size = is64 ? 16n : 8n;
    const places = Array.from({ length: GATES }, (_, i) => table + BigInt(i) * size);
    const gates = yield* GATE.on(data.types).read(data.memory, places);
    const highs = is64 ? yield* HIGH.on(data.types).read(data.memory, places) : [];
    let present = 0;
    let unread = 0;
    for (const [vector, { address, value, fault }] of gates.entries()) {
      if (value === undefined || (is64 && highs[vector]?.value === undefined)) {
        if (unread++ === 0) examination.report(damage(`idt_table[${vector}]`, address, "unreadable", fault));
        continue;
      }
      if (value.present === 0 || value.type === TASK_GATE) continue;
      present++;
      const high = BigInt(highs[vector]?.value?.high ?? 0);
      const found = (high << 32n) | (BigInt(value.middle) << 16n) | BigInt(value.low);
      yield* examineGate(examination, vector, address, found, value.segment, value.dpl, is64);
    }
    if (present > 0) examination.examined(`idt_table: ${present} gates`);
    examination.untold("which table each CPU has loaded (IDTR) is not looked at");
  },
};

function* examineGate(
  examination: Examination,
  vector: number,
  address: bigint,
  found: bigint,
  segment: number,
  dpl: number,
  is64: boolean,
): Routine<void> {
  const code = yield* examination.code(found);
  const named = /^(\w+)\+/.exec(code.symbol ?? "")?.[1];
  const isStub = code.owner === null && named !== undefined && STUBS.test(named);
  // (What the kernel has no entry for still leads to its first handlers, in memory that is freed since.)
  const isFirst = UNSET.has(vector) && named === "early_idt_handler_array";
  const evidence = isFirst ? [] : code.evidence.filter((each) => !(isStub && each.startsWith("no function")));
  if (code.owner !== undefined && code.owner !== null) evidence.push("it is not the kernel's own code");
  const exception = EXCEPTIONS[vector];
  const expected = exception === undefined ? undefined : `asm_exc_${exception}`;
  if (code.owner === null && code.exact) pushNames(evidence, code, vector, expected);
  const selector = is64 ? 0x10 : 0x60;
  if (segment !== selector) {
    evidence.push(`its segment is 0x${segment.toString(16)}, not the kernel's 0x${selector.toString(16)}`);
  }
  if (dpl !== 0 && !FOR_USERS.has(vector)) evidence.push(`programs may call it (DPL ${dpl})`);
  yield* examination.see({ what: `idt_table[${vector}]`, address, expected, found, evidence }, code);
}

/** Whether a name is one of an entry, and of this one. */
function pushNames(evidence: string[], code: Code, vector: number, expected: string | undefined): void {
  const name = code.symbol ?? "";
  // (Under Xen, entries have a prefix.)
  const bare = name.replace(/^xen_/, "");
  if (expected !== undefined && bare !== expected) evidence.push(`it is not ${expected}`);
  else if (
    expected === undefined &&
    !/^(asm_|irq_entries|spurious_entries|entry_INT80|uv_bau|int80)/.test(bare)
  ) {
    evidence.push(`vector ${vector} leads to what is no entry`);
  }
}
