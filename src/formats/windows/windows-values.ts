/** Values in headers of Windows: times, exceptions, registers of a CONTEXT record. */
import { hex } from "../../io/index.js";
import type { Fields } from "../fields.js";
import type { Architecture } from "../types.js";

/** Milliseconds from 1601, where FILETIME begins (UTC), to 1970. */
const EPOCH = 11_644_473_600_000;
/** FILETIME counts in 100 ns. */
const TICKS_PER_MILLISECOND = 10_000n;
/** The end of the year 9999, from 1970 on: what is later is no time at which a dump was written. */
const MAX_MILLISECONDS = 253_402_300_799_999;

/** A FILETIME as ISO 8601, in UTC. @returns `undefined` for 0, and for what is beyond the year 9999. */
export function readUtc(ticks: bigint): string | undefined {
  const milliseconds = Number(ticks / TICKS_PER_MILLISECOND) - EPOCH;
  if (ticks === 0n || milliseconds > MAX_MILLISECONDS) return undefined;
  return new Date(milliseconds).toISOString();
}

/** A span in 100 ns as an ISO 8601 duration in hours, minutes and seconds. @returns `undefined` for 0. */
export function readUpTime(ticks: bigint): string | undefined {
  if (ticks === 0n) return undefined;
  const milliseconds = ticks / TICKS_PER_MILLISECOND;
  const seconds = milliseconds / 1000n;
  const rest = `${milliseconds % 1000n}`.padStart(3, "0");
  return `PT${seconds / 3600n}H${(seconds / 60n) % 60n}M${seconds % 60n}.${rest}S`;
}

/** EXCEPTION_RECORD32 or EXCEPTION_RECORD64 (winnt.h) at `at`: code, flags and address. */
export function exceptionDetails(fields: Fields, at: number, bits: 32 | 64): Record<string, string> {
  return {
    ExceptionCode: hex(fields.u32(at)),
    ExceptionFlags: hex(fields.u32(at + 4)),
    ExceptionAddress: hex(bits === 64 ? fields.u64(at + 16) : fields.u32(at + 12)),
  };
}

/** Where a register is in a CONTEXT: its name, offset and bytes. */
type Register = readonly [name: string, offset: number, bytes: 2 | 4 | 8];

/** A CONTEXT record (winnt.h). */
interface ContextLayout {
  /** Offset of ContextFlags, and the bits of it that say which machine's registers it has, and that it has those of control. */
  readonly flagsAt: number;
  readonly flags: number;
  readonly registers: readonly Register[];
}

const CONTEXT_CONTROL = 1;
const CONTEXT_I386 = 0x1_0000;
const CONTEXT_AMD64 = 0x10_0000;
const CONTEXT_ARM64 = 0x40_0000;

const CONTEXTS: Readonly<Partial<Record<Architecture, ContextLayout>>> = {
  i386: {
    flagsAt: 0,
    flags: CONTEXT_I386 | CONTEXT_CONTROL,
    registers: [
      ..."gs fs es ds edi esi ebx edx ecx eax ebp eip cs eflags esp ss"
        .split(" ")
        .map((name, i): Register => [name, 0x8c + 4 * i, 4]),
    ],
  },
  x86_64: {
    flagsAt: 0x30,
    flags: CONTEXT_AMD64 | CONTEXT_CONTROL,
    registers: [
      ..."cs ds es fs gs ss".split(" ").map((name, i): Register => [name, 0x38 + 2 * i, 2]),
      ["rflags", 0x44, 4],
      ..."dr0 dr1 dr2 dr3 dr6 dr7 rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip"
        .split(" ")
        .map((name, i): Register => [name, 0x48 + 8 * i, 8]),
    ],
  },
  aarch64: {
    flagsAt: 0,
    flags: CONTEXT_ARM64 | CONTEXT_CONTROL,
    registers: [
      ["pstate", 4, 4],
      ...[...Array.from({ length: 31 }, (_, i) => `x${i}`), "sp", "pc"].map(
        (name, i): Register => [name, 8 + 8 * i, 8],
      ),
    ],
  },
};

/**
 * The registers of a CONTEXT record by their lower-case names.
 *
 * @returns `undefined` if its flags don't say that it has this machine's registers.
 */
export function contextRegisters(
  context: Fields,
  architecture: Architecture | undefined,
): Record<string, bigint> | undefined {
  const layout = architecture === undefined ? undefined : CONTEXTS[architecture];
  if (layout === undefined) return undefined;
  if ((context.u32(layout.flagsAt) & layout.flags) !== layout.flags) return undefined;
  const registers: Record<string, bigint> = {};
  for (const [name, offset, bytes] of layout.registers) {
    registers[name] =
      bytes === 8 ? context.u64(offset) : BigInt(bytes === 4 ? context.u32(offset) : context.u16(offset));
  }
  return registers;
}
