/** A kprobe made by hand in a dump's kernel, and text of functions to put it in. */
import type { LinuxKernel } from "../../src/linux/index.js";
import { offsetOf } from "../../src/linux/objects/record.js";
import type { PatchedKernel } from "./patched-kernel.js";

/** Puts an optimized kprobe into a kernel's table, made in the log's buffer. Its text is left as it is. @param code Five bytes. */
export async function registerKprobe(
  patched: PatchedKernel,
  at: bigint,
  code: Uint8Array,
  slot: bigint,
): Promise<void> {
  const { kernel } = patched;
  const types = await kernel.types();
  const probe = (await kernel.symbol("__log_buf")).address;
  const place = (path: string) => probe + BigInt(offsetOf(types, "optimized_kprobe", path));
  await patched.set(probe, new Uint8Array(0xa8));
  await patched.setPointer(place("kp.addr"), at);
  await patched.set(place("kp.opcode"), code.subarray(0, 1));
  await patched.set(place("kp.flags"), Uint8Array.of(4));
  await patched.setPointer(place("optinsn.insn"), slot);
  await patched.set(place("optinsn.copied_insn"), code.subarray(1, 5));
  await patched.setPointer((await kernel.symbol("kprobe_table")).address, probe);
}

/** The functions of modules whose text the fixture has: the first, or that behind so many. */
export async function presentText(kernel: LinuxKernel, skip = 0): Promise<{ address: bigint; name: string }> {
  const { all } = await kernel.moduleSymbols();
  let left = skip;
  for (const { address, name, module, type } of all) {
    if (module === undefined || module === "bpf" || !/^t$/i.test(type)) continue;
    const { holes } = await kernel.memory.readPartial(address, 32);
    if (holes.length > 0 || address % 4096n >= 4000n) continue;
    if (left-- === 0) return { address, name: `${module}:${name}` };
  }
  throw new Error("the fixture has no text of a module");
}
