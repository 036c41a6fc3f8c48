/** Which processes map pages, and as what. */
import type { Routine } from "../../io/index.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readTasks, type Task } from "../tasks/task.js";
import { readVmas, vmaRights } from "../tasks/vma.js";
import { nameVmas } from "../tasks/vma-names.js";
import { Intervals } from "./intervals.js";

/** A range of a process. @internal */
export interface ProcessRange {
  readonly start: bigint;
  readonly end: bigint;
  readonly rights: string;
  readonly path: string | undefined;
}

/** An address space, and the process whose it is. @internal */
export interface ProcessSpace {
  readonly task: Task;
  readonly memory: VirtualMemory;
}

/** Processes with an address space of their own: one for each, that of its first process. @internal */
export class Processes {
  readonly spaces: readonly ProcessSpace[];
  readonly #data: KernelData;
  readonly #report: OnDamage;
  readonly #ranges = new Map<Task, Intervals<ProcessRange>>();

  private constructor(data: KernelData, spaces: readonly ProcessSpace[], report: OnDamage) {
    this.#data = data;
    this.spaces = spaces;
    this.#report = report;
  }

  static *read(data: KernelData, report: OnDamage): Routine<Processes> {
    const spaces: ProcessSpace[] = [];
    const roots = new Set<number>();
    for (const task of yield* readTasks(data, {}, report)) {
      const { root } = task;
      if (root === undefined || roots.has(root)) continue;
      roots.add(root);
      spaces.push({ task, memory: data.kernel.addressSpace(root) });
    }
    return new Processes(data, spaces, report);
  }

  /** Reads the ranges of some processes, if they are not known yet. */
  *load(tasks: Iterable<Task>): Routine<void> {
    const wanted = [...new Set(tasks)].filter((task) => !this.#ranges.has(task));
    if (wanted.length === 0) return;
    const found = yield* readVmas(this.#data, wanted, this.#report);
    const named = yield* nameVmas(this.#data, found, this.#report);
    for (const task of wanted) this.#ranges.set(task, new Intervals<ProcessRange>([]));
    for (const [i, { task }] of found.entries()) {
      const ranges = (named[i] ?? []).map(({ value, path }) => ({
        start: value.start,
        end: value.end,
        rights: vmaRights(value.flags),
        path,
      }));
      this.#ranges.set(task, new Intervals(ranges));
    }
  }

  /** The range around an address of a process that was loaded. */
  rangeOf(task: Task, address: bigint): ProcessRange | undefined {
    return this.#ranges.get(task)?.at(address);
  }
}
