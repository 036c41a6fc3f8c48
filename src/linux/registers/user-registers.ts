/**
 * The registers that threads have in user mode: of most, what they saved when they entered the kernel; of those that a CPU was
 * running there, the CPU's.
 *
 * Facts: include/asm-generic/vmlinux.lds.h (INIT_TASK_DATA: the first task's stack has THREAD_SIZE bytes), include/linux/sched/task_stack.h.
 */
import type { Routine } from "../../io/index.js";
import type { Cpu } from "../cpus/cpu.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { Row } from "../objects/record.js";
import type { Task } from "../tasks/task.js";
import { frameOf, type NamedRegisters, type SavedFrame } from "./saved-frames.js";
import { THREAD, type ThreadFields } from "./thread-fields.js";

/** The registers of a thread, and where they are from. */
export interface UserRegisters {
  /** By the names of `CpuState.registers`. */
  readonly values: NamedRegisters;
  /** `stack`: saved at the top of the thread's kernel stack. `cpu`: the dump's, of the CPU that was running it in user mode. */
  readonly from: "stack" | "cpu";
  /** Whether a CPU was running the thread, so that what is not saved at each entry (vector registers) was only there. */
  readonly running: boolean;
  /** Whether they may be older than the dump: it was running, and the dump does not have its CPU's registers. */
  readonly stale: boolean;
}

/** A thread's registers beside what else its structure tells. @internal */
export interface ThreadState {
  readonly fields: ThreadFields;
  /** `undefined` if they can't be read; it was told why. */
  readonly registers: UserRegisters | undefined;
}

/** Bytes of a kernel's stack: by architecture, where no symbol tells (THREAD_SIZE of each). */
const STACK_BYTES = { x86_64: 16_384, i386: 8192, aarch64: 16_384, riscv64: 16_384 } as const;
/** No kernel has larger ones. */
const MAX_STACK = 1 << 20;

/** Reads the registers of these threads. @param cpus Those that were running something, with the dump's registers. @internal */
export function* readThreadStates(
  data: KernelData,
  tasks: readonly Task[],
  cpus: readonly Cpu[],
  report: OnDamage,
): Routine<ThreadState[]> {
  const { memory, types, kernel } = data;
  const rows = yield* THREAD.on(types).read(
    memory,
    tasks.map(({ address }) => address),
  );
  const frame = frameOf(kernel, types);
  const saved = frame === undefined ? [] : yield* readFrames(data, frame, rows);
  const running = new Map(
    cpus.flatMap((cpu) => (cpu.current === undefined ? [] : [[cpu.current.address, cpu] as const])),
  );
  return rows.map(({ partial: fields, address }, i) => {
    const cpu = running.get(address);
    const state = cpu?.registers;
    const isRunning = cpu !== undefined || fields.onCpu === 1;
    if (frame !== undefined && state !== undefined && frame.isUser(state))
      return { fields, registers: { values: state, from: "cpu", running: true, stale: false } };
    const found = saved[i];
    if (found?.values === undefined) {
      const { pid } = tasks[i] as Task;
      report(
        damage(
          `the registers of thread ${pid ?? "?"}`,
          found?.address ?? address,
          found?.fault ? "unreadable" : "invalid",
          found?.fault ?? 0,
          frame === undefined
            ? `where ${kernel.architecture} saves them is not known`
            : "what lies at the top of its kernel stack is not what a thread saves that comes from user mode",
        ),
      );
      return { fields, registers: undefined };
    }
    return {
      fields,
      registers: {
        values: { ...found.values, ...(state === undefined ? {} : basesOf(state)) },
        from: "stack",
        running: isRunning,
        stale: isRunning && state === undefined,
      },
    };
  });
}

/** x86-64: in the kernel, the user's base of gs is the one that is swapped out, and that of fs is the user's own. */
function basesOf(state: NamedRegisters): NamedRegisters {
  const { fs_base, kernel_gs_base } = state;
  return fs_base === undefined || kernel_gs_base === undefined ? {} : { fs_base, gs_base: kernel_gs_base };
}

interface ReadFrame {
  readonly address: bigint;
  readonly values: NamedRegisters | undefined;
  readonly fault: number;
}

/** What each thread saved; of the places where that may be, the first that holds registers. */
function* readFrames(
  data: KernelData,
  frame: SavedFrame,
  rows: readonly Row<unknown>[],
): Routine<(ReadFrame | undefined)[]> {
  const size = BigInt(frame.size(data.types));
  const stackSize = BigInt(yield* stackBytes(data));
  const threads = rows.map(({ partial }) => partial as ThreadFields);
  const found: (ReadFrame | undefined)[] = rows.map(() => undefined);
  for (const padding of frame.padding) {
    const places = threads.map(({ stack, stackTop }) => {
      if (stackTop !== undefined && stackTop !== 0n) return BigInt.asUintN(64, stackTop - size);
      return stack === undefined ? undefined : BigInt.asUintN(64, stack + stackSize - BigInt(padding) - size);
    });
    const left = rows.flatMap((_, i) =>
      found[i]?.values === undefined && places[i] !== undefined ? [i] : [],
    );
    const plan = frame.plan.on(data.types);
    const read = yield* plan.read(
      data.memory,
      left.map((i) => places[i] as bigint),
    );
    for (const [k, i] of left.entries()) {
      const { address, value, fault } = read[k] as Row<Record<string, unknown>>;
      const values = value === undefined ? undefined : frame.decode(value, threads[i] as ThreadFields);
      if (values !== undefined || found[i] === undefined) found[i] = { address, values, fault };
    }
  }
  return found;
}

/** THREAD_SIZE: what the first task's stack has. */
function* stackBytes(data: KernelData): Routine<number> {
  // Since 6.10 (2b3d5988ae2c) as the first ones are called.
  const start = yield* symbolAddress(data, "__start_init_stack", "__start_init_task", "init_stack");
  const end = yield* symbolAddress(data, "__end_init_stack", "__end_init_task");
  const size = start === undefined || end === undefined ? 0 : Number(end - start);
  const isSize = size >= 4096 && size <= MAX_STACK && Number.isInteger(Math.log2(size));
  return isSize ? size : STACK_BYTES[data.kernel.architecture];
}
