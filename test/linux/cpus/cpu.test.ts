/** CPUs of the committed dump's kernel, with things that are damaged, and registers that are not theirs. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Cpu, type CpuRegisters, type Damage, listCpus } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { functionsOnly } from "../../support/functions-only.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const WILD = 0xffff_dead_0000_0000n;

describe("CPUs", () => {
  let patched: PatchedKernel;
  let whole: Cpu;
  let told: Damage[];
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    [whole] = (await listCpus(patched.kernel).toArray()) as [Cpu];
    told = [];
  });
  afterEach(() => patched?.close());

  const list = (registers?: CpuRegisters[]) =>
    listCpus(patched.kernel, { registers, onDamage: (each) => told.push(each) }).toArray();
  const offset = async (struct: string, path: string) =>
    BigInt(offsetOf(await patched.kernel.types(), struct, path));
  /** Address of the CPU's own variable. */
  const own = async (name: string) =>
    BigInt.asUintN(64, (await patched.kernel.symbol(name)).address + (whole.perCpuOffset as bigint));

  it("are the same where symbols list functions only, but for what only variables of their own tell", async () => {
    patched.kernel.useSymbols(await functionsOnly(patched.kernel));
    const processor = { ...whole.processor, features: undefined, bugs: undefined };
    expect(await list()).toEqual([{ ...whole, present: undefined, processor }]);
    expect(told).toEqual([]);
  });

  it("that are not online run no task but that of their queue, and say nothing of a processor if they never came up", async () => {
    await patched.setPointer((await patched.kernel.symbol("__cpu_online_mask")).address, 0n);
    await patched.setPointer(await own("current_task"), (await patched.kernel.symbol("init_task")).address);
    const info = await own("cpu_info");
    await patched.set(info + (await offset("cpuinfo_x86", "x86")), new Uint8Array(1));
    expect(await list()).toEqual([{ ...whole, online: false, processor: undefined }]);
    expect(whole.current?.comm).not.toBe("swapper/0");
    expect(told).toEqual([]);
  });

  it("whose task is wild have its address, and that is told", async () => {
    await patched.setPointer(await own("current_task"), WILD);
    const current = { address: WILD, pid: undefined, comm: undefined };
    expect(await list()).toEqual([{ ...whole, current, idle: false }]);
    expect(told).toMatchObject([{ what: "the task of a CPU", address: WILD, reason: "unreadable" }]);
    await expect(listCpus(patched.kernel).toArray()).rejects.toMatchObject({ code: "DAMAGED" });
  });

  it("that say no task of their own have that of their queue", async () => {
    const at = await own("current_task");
    await patched.remove(at);
    const [cpu] = await list();
    expect(cpu).toMatchObject({ number: 0, current: whole.current, idle: false });
    expect(told).toContainEqual(expect.objectContaining({ what: "the current task of a CPU", address: at }));
  });

  it("without their description have the rest, and that is told", async () => {
    const at = await own("cpu_info");
    await patched.remove(at);
    const [cpu] = await list();
    expect(cpu).toMatchObject({ number: 0, online: true, processor: undefined });
    expect(told).toContainEqual(expect.objectContaining({ what: "cpu_info", address: at }));
  });

  it("without names of features have none, and that is told", async () => {
    const at = (await patched.kernel.symbol("x86_cap_flags")).address;
    await patched.remove(at);
    const [cpu] = await list();
    expect(cpu?.processor).toMatchObject({ kind: "x86", features: undefined });
    expect(told).toContainEqual(expect.objectContaining({ what: "the names of features", address: at }));
  });

  it("that there are not are none: a count and a set of them that lie are told", async () => {
    const count = (await patched.kernel.symbol("nr_cpu_ids")).address;
    const mask = (await patched.kernel.symbol("__cpu_possible_mask")).address;
    await patched.set(count, new Uint8Array(4).fill(0xff));
    await patched.set(mask, new Uint8Array(64).fill(0xff));
    expect(await list()).toEqual([whole]);
    expect(told[0]).toMatchObject({ what: "nr_cpu_ids", reason: "invalid" });
    expect(told.length).toBeGreaterThan(100);
  });

  it("are told by what each says of itself: another one's variables are not its own", async () => {
    const at = (await own("runqueues")) + (await offset("rq", "cpu"));
    await patched.set(at, new Uint8Array([7, 0, 0, 0]));
    expect(await list()).toEqual([]);
    expect(told).toMatchObject([{ what: "the run queue of CPU 0", reason: "mismatch" }]);
  });

  it("have the registers of a note whose gs is theirs, in the kernel or in a program", async () => {
    const gs = whole.perCpuOffset as bigint;
    for (const registers of [
      { rip: 1n, rsp: 2n, gs_base: gs, kernel_gs_base: 0n },
      { rip: 1n, rsp: 2n, gs_base: 0x7000n, kernel_gs_base: gs },
    ]) {
      const [cpu] = await list([{ registers }]);
      // (No function of the kernel's is there.)
      expect(cpu).toEqual({ ...whole, registers, pc: 1n, sp: 2n });
    }
    expect(told).toEqual([]);
  });

  it("have no registers where there are more notes than CPUs and nothing says whose they are, which is told", async () => {
    const registers = { rip: 1n, gs_base: WILD };
    expect(await list([{ registers }, { registers }])).toEqual([whole]);
    expect(told).toMatchObject([{ what: "the registers of CPUs", reason: "mismatch" }]);
    told.length = 0;
    // A note that names the process has them, whatever comes before it.
    const [cpu] = await list([{ registers }, { registers, pid: whole.current?.pid }]);
    expect(cpu?.pc).toBe(1n);
    expect(told).toMatchObject([{ what: "the registers of CPUs", reason: "mismatch" }]);
  });
});
