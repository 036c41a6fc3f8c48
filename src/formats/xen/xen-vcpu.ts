/**
 * Registers of Xen's virtual CPUs: `struct vcpu_guest_context` (xen/include/public/arch-x86/xen.h), with its
 * `struct cpu_user_regs` (xen-x86_64.h, xen-x86_32.h).
 */
import type { Fields } from "../fields.js";
import type { Registers } from "../notes/registers.js";

/** One register: its name and its bytes; `undefined` for what is no register. */
type Member = readonly [name: string | undefined, size: 2 | 4 | 8 | number];

/** A structure's members in the order of their declaration. */
interface ContextLayout {
  readonly size: number;
  readonly members: readonly Member[];
}

const FPU: Member = [undefined, 512];
const all = (size: number, names: string): Member[] => names.split(" ").map((name) => [name, size] as const);
/** Selectors of 16 bits, each followed by padding. */
const selectors = (padding: number): Member[] =>
  ["ss", "es", "ds", "fs", "gs"].flatMap((name): Member[] => [
    [name, 2],
    [undefined, padding],
  ]);

const X86_64 = layoutOf([
  FPU,
  [undefined, 8], // flags
  ...all(8, "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi"),
  [undefined, 8], // error_code, entry_vector
  ["rip", 8],
  ["cs", 2],
  [undefined, 6], // with saved_upcall_mask
  ...all(8, "rflags rsp"),
  ...selectors(6),
  [undefined, 256 * 16], // trap_ctxt
  [undefined, 2 * 8 + 17 * 8 + 2 * 8], // ldt, gdt, kernel_ss and kernel_sp
  ...all(8, "cr0 cr1 cr2 cr3 cr4"),
  [undefined, 3 * 8 + 8 * 8], // cr5 to cr7, debugreg
  [undefined, 3 * 8 + 8], // callbacks, vm_assist
  ["fs_base", 8],
  // In kernel mode the kernel's base is the one in use; Xen keeps the other beside it.
  ["gs_base_kernel", 8],
  ["gs_base_user", 8],
]);

const X86_32 = layoutOf([
  FPU,
  [undefined, 4], // flags
  ...all(4, "ebx ecx edx esi edi ebp eax"),
  [undefined, 4], // error_code, entry_vector
  ["eip", 4],
  ["cs", 2],
  [undefined, 2], // with saved_upcall_mask
  ...all(4, "eflags esp"),
  ...selectors(2),
  [undefined, 256 * 8], // trap_ctxt
  [undefined, 2 * 4 + 17 * 4 + 2 * 4], // ldt, gdt, kernel_ss and kernel_sp
  ...all(4, "cr0 cr1 cr2 cr3 cr4"),
  [undefined, 3 * 4 + 8 * 4], // cr5 to cr7, debugreg
  [undefined, 4 * 4 + 4], // callbacks, vm_assist
]);

function layoutOf(members: readonly Member[]): ContextLayout {
  return { members, size: members.reduce((sum, [, size]) => sum + size, 0) };
}

/**
 * Registers of one virtual CPU.
 *
 * The tools of a 64-bit Xen store 32-bit guests in the room of a 64-bit context; a CPU without CR0 (protection is
 * always on) is none, so that tells them apart.
 *
 * @returns the registers and the CPU's bits; `undefined` if neither layout fits.
 */
export function parseVcpu(
  fields: Fields,
): { readonly bits: 32 | 64; readonly registers: Registers } | undefined {
  const { length } = fields.bytes;
  const wide = length >= X86_64.size ? registersOf(fields, X86_64) : undefined;
  if (wide !== undefined && (wide.cr0 as bigint) !== 0n) return { bits: 64, registers: wide };
  const narrow = length >= X86_32.size ? registersOf(fields, X86_32) : undefined;
  if (narrow !== undefined && (narrow.cr0 as bigint) !== 0n) return { bits: 32, registers: narrow };
  return undefined;
}

/** Bytes of a context, smallest first. */
export const VCPU_SIZES: readonly number[] = [X86_32.size, X86_64.size];

function registersOf(fields: Fields, { members }: ContextLayout): Registers {
  const registers: Registers = {};
  let at = 0;
  for (const [name, size] of members) {
    if (name !== undefined) {
      registers[name] = size === 8 ? fields.u64(at) : BigInt(size === 4 ? fields.u32(at) : fields.u16(at));
    }
    at += size;
  }
  return registers;
}
