/** Two kernels that are compared, and what names mean the same thing in both. */
import type { IoSequence, Routine } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import type { DamageOptions } from "../objects/damage.js";
import { listTasks, type Task } from "../tasks/task.js";
import { bootsRoutine } from "./boots.js";
import { type CompareOptions, onSide, type ReadList, SideDamage } from "./difference.js";

/** The first and the second. @internal */
export type Sides<T> = readonly [before: T, after: T];

/** A comparison under way. @internal */
export class KernelPair {
  readonly kernels: Sides<LinuxKernel>;
  /** Whether addresses and numbers mean the same in both. */
  readonly sameBoot: boolean;
  readonly damage: SideDamage;
  readonly options: CompareOptions;
  #tasks: Sides<ReadList<Task>> | undefined;

  private constructor(
    kernels: Sides<LinuxKernel>,
    sameBoot: boolean,
    damage: SideDamage,
    options: CompareOptions,
  ) {
    this.kernels = kernels;
    this.sameBoot = sameBoot;
    this.damage = damage;
    this.options = options;
  }

  /** Finds out what both have in common, unless the options say it. */
  static *of(before: LinuxKernel, after: LinuxKernel, options: CompareOptions): Routine<KernelPair> {
    const sameBoot = options.sameBoot ?? (yield* bootsRoutine(before, after)).sameBoot === true;
    return new KernelPair([before, after], sameBoot, new SideDamage(options), options);
  }

  /** The same list of both. */
  *read<T>(
    list: (kernel: LinuxKernel, options: Required<DamageOptions>) => IoSequence<T>,
  ): Routine<Sides<ReadList<T>>> {
    const [before, after] = this.kernels;
    return [yield* this.#readOne(before, "first", list), yield* this.#readOne(after, "second", list)];
  }

  *#readOne<T>(
    kernel: LinuxKernel,
    side: "first" | "second",
    list: (kernel: LinuxKernel, options: Required<DamageOptions>) => IoSequence<T>,
  ): Routine<ReadList<T>> {
    const known = this.damage.count(side);
    const items = yield* onSide(side, list(kernel, { onDamage: this.damage.of(side) }).toArray());
    return { items, isWhole: this.damage.count(side) === known };
  }

  /** Processes of both, read once. */
  *tasks(): Routine<Sides<ReadList<Task>>> {
    this.#tasks ??= yield* this.read((kernel, options) => listTasks(kernel, options));
    return this.#tasks;
  }

  /**
   * What a process is called in both: by its number and when it began, so that one that has another's number is another one; of two
   * boots, by its name. By its number in its own kernel.
   */
  *processKeys(): Routine<Sides<ReadonlyMap<number, string>>> {
    const [before, after] = yield* this.tasks();
    const keys = ({ items }: ReadList<Task>) =>
      new Map(
        items.flatMap((task) => (task.pid === undefined ? [] : [[task.pid, this.processKey(task) ?? "?"]])),
      );
    return [keys(before), keys(after)];
  }

  /** As `processKeys`, of one. */
  processKey({ pid, comm, raw }: Task): string | undefined {
    if (!this.sameBoot) return comm;
    // (A kernel that does not say when its processes began has their numbers only.)
    return pid === undefined ? undefined : `${pid} ${raw.start ?? ""}`;
  }
}
