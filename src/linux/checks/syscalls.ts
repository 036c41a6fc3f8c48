/**
 * Tables of system calls: every entry must be a function of the kernel that is named like a system call.
 *
 * Facts: arch/x86/entry/syscall_64.c and syscall_32.c (`sys_call_table`, `ia32_sys_call_table`, `x32_sys_call_table`; since 6.9 and in
 * stable kernels that have 1e3ad78334a6, calls are dispatched by the switch of `x64_sys_call`, and the table serves tracing only),
 * arch/arm64/kernel/sys.c and sys32.c (`compat_sys_call_table`), include/linux/syscalls.h and arch's syscall_wrapper.h for the names.
 */
import type { Routine } from "../../io/index.js";
import { symbolAddress } from "../kernel-data.js";
import { damage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { SymbolError } from "../symbols/symbol.js";
import type { Check, Examination } from "./check.js";
import { patchText, readPatches } from "./patched-text.js";

const TABLES = ["sys_call_table", "ia32_sys_call_table", "x32_sys_call_table", "compat_sys_call_table"];
/** More numbers than any architecture has. */
const MAX_CALLS = 1024;
const CALL =
  /^(__(x64|ia32|x32|arm64|riscv|se|do)_)?(ia32_|compat_|ia32_compat_)?(ksys|sys|compat_sys|old|ppc|stub)_\w+$|^(__\w+_)?sys_ni_syscall$/;

/** @internal */
export const SYSCALLS: Check = {
  name: "syscalls",
  description: "tables of system calls: entries outside of the kernel, other functions, patched entries",
  run: function* (examination) {
    let tables = 0;
    for (const name of TABLES) {
      const at = yield* symbolAddress(examination.data, name);
      if (at === undefined) continue;
      tables++;
      yield* examineTable(examination, name, at);
    }
    if (tables === 0)
      throw new SymbolError("NO_SYMBOL", "sys_call_table", [], "--symbols System.map names it");
    const { kernel } = examination.data;
    if ((yield* kernel.findAddress("x64_sys_call")) !== undefined) {
      examination.untold(
        "this kernel dispatches calls by a switch in its text (x64_sys_call): the tables serve tracing only, and a hook of " +
          "the dispatch would be in the text",
      );
    }
  },
};

function* examineTable(examination: Examination, name: string, at: bigint): Routine<void> {
  const { data } = examination;
  const { memory } = data;
  const size = memory.pointerSize;
  const room = Math.min(MAX_CALLS, yield* entriesAt(examination, at));
  const { bytes, holes } = yield* memory.readPartial(at, room * size);
  const pointers = pointersIn(memory, bytes);
  const isGone = (i: number) => holes.some(({ start, end }) => start < (i + 1) * size && end > i * size);
  for (const { start, fault } of holes)
    examination.report(damage(name, at + BigInt(start), "unreadable", fault));
  // (What follows the last entry is padding.)
  let count = pointers.length;
  while (count > 0 && (pointers[count - 1] === 0n || isGone(count - 1))) count--;
  const numbers = new Map<bigint, number>();
  const patches = yield* readPatches(data, pointers.slice(0, count));
  let outside = 0;
  let gone = 0;
  for (let i = 0; i < count; i++) {
    if (isGone(i)) {
      gone++;
      continue;
    }
    const found = pointers[i] as bigint;
    const code = yield* examination.code(found);
    const evidence = [...code.evidence];
    if (code.owner !== null) outside++;
    if (code.owner !== undefined && code.owner !== null) evidence.push("it is not the kernel's own function");
    const bare = code.symbol?.replace(/\..*$/, "") ?? "";
    const isCall = CALL.test(bare);
    if (code.owner === null && code.exact && !isCall) evidence.push("no system call has such a name");
    const first = numbers.get(found);
    // (Compatible tables have honest aliases.)
    if (first !== undefined && name === "sys_call_table" && size === 8 && !bare.endsWith("sys_ni_syscall")) {
      evidence.push(`number ${first} has the same function`);
    }
    if (first === undefined) numbers.set(found, i);
    const patch = patches.at(i);
    if (patch !== undefined) evidence.push(patchText(patch));
    yield* examination.see({ what: `${name}[${i}]`, address: at + BigInt(i * size), found, evidence }, code);
  }
  const read = count - gone;
  if (read > 0) {
    examination.examined(
      `${name}: ${read} entries, ${outside === 0 ? "all in the kernel's text" : `${outside} outside of the kernel's text`}`,
    );
  }
  if (holes.length > 0)
    examination.untold(`${name}: entries of it are not in the dump, or could not be read`);
  if (patches.unread > 0) {
    examination.untold(
      `${name}: the code of ${patches.unread} functions is not in the dump, or could not be read`,
    );
  }
}

/** How many pointers there is room for up to the next symbol. */
function* entriesAt({ data }: Examination, at: bigint): Routine<number> {
  const { addresses } = yield* data.kernel.loadKallsyms();
  let next: bigint | undefined;
  for (const each of addresses) if (each > at && (next === undefined || each < next)) next = each;
  return next === undefined ? MAX_CALLS : Number((next - at) / BigInt(data.memory.pointerSize));
}
