/** What the compiler knows: `tsc` is what runs most of this. */
import { describe, expectTypeOf, it } from "vitest";
import type { Io, IoSequence } from "../../../src/io/index.js";
import { type KernelObject, type LinuxKernel, readAll, type StructOf } from "../../../src/linux/index.js";

declare module "../../../src/linux/objects/schema.js" {
  interface KernelStructs {
    a_drivers_own: { state: number; owner: Ptr<StructOf<"task_struct">> };
  }
}

type Task = KernelObject<StructOf<"task_struct">>;

/** Never called: its types are what is tested. */
function uses(kernel: LinuxKernel, task: Task): void {
  expectTypeOf(kernel.object("init_task")).toEqualTypeOf<Io<Task>>();
  expectTypeOf(kernel.object<"task_struct">("some_task")).toEqualTypeOf<Io<Task>>();
  expectTypeOf(kernel.object("some_task", "task_struct")).toEqualTypeOf<Io<Task>>();
  expectTypeOf(kernel.object("some_task", "struct task_struct")).toEqualTypeOf<Io<Task>>();
  expectTypeOf(kernel.objectAt(0n, "u64")).toEqualTypeOf<Io<KernelObject<bigint>>>();
  expectTypeOf(kernel.object("anything")).toEqualTypeOf<Io<KernelObject>>();
  expectTypeOf(kernel.objectAt(0n, "unknown_struct")).toEqualTypeOf<Io<KernelObject>>();

  expectTypeOf(task.pid.$.read()).toEqualTypeOf<Io<number>>();
  expectTypeOf(task.comm.$.read()).toEqualTypeOf<Io<string>>();
  expectTypeOf(task.mm.pgd.$.read()).toEqualTypeOf<Io<bigint>>();
  expectTypeOf(task.mm.exe_file.f_path.dentry.d_name.len.$.read()).toEqualTypeOf<Io<number>>();
  expectTypeOf(task.start_time.$.read()).toEqualTypeOf<Io<bigint>>();
  expectTypeOf(task.no_member_that_is_known).toBeAny();
  expectTypeOf(task.signal.pids.$.read()).toEqualTypeOf<Io<bigint[]>>();

  expectTypeOf(task.$.fields("pid", "comm", "mm.pgd", "cred.uid.val", "unknown")).toExtend<
    Io<{ pid: number; comm: string; "mm.pgd": bigint; "cred.uid.val": number }>
  >();
  expectTypeOf(task.tasks.$.list("task_struct", "tasks")).toEqualTypeOf<IoSequence<Task>>();
  expectTypeOf(task.mm.mm_mt.$.mapleTree("vm_area_struct")).toEqualTypeOf<
    IoSequence<KernelObject<StructOf<"vm_area_struct">>>
  >();
  expectTypeOf(readAll([task], "pid", "mm.map_count")).toExtend<
    Io<{ value: { pid: number; "mm.map_count": number } | undefined }[]>
  >();
  expectTypeOf(kernel.objectAt(0n, "a_drivers_own")).toExtend<Io<{ owner: { pid: KernelObject<number> } }>>();
  // @ts-expect-error: members can't be written.
  task.pid = task.tgid;
}

describe("the schema of common structures", () => {
  it("gives members and values their types, and lets others add to it", () => {
    expectTypeOf(uses).toBeFunction();
    expectTypeOf<Awaited<Task>>().toEqualTypeOf<Task>();
  });
});
