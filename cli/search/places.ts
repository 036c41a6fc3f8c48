/** Where `memtool search` and its likes look: physical memory, a range, a process, or every process. */

import type { Address } from "../../src/io/index.js";
import {
  type LinuxKernel,
  listTasks,
  memoryOfTask,
  type OnDamage,
  type Task,
} from "../../src/linux/index.js";
import { userEnd } from "../../src/linux/tasks/user-end.js";
import type { AddressSpace } from "../../src/memory/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";
import type { VirtualMemory } from "../../src/paging/index.js";
import type { ScanRanges } from "../../src/search/index.js";
import { UsageError } from "../errors.js";
import { END_OF_SPACE, parseAddress, parseSize } from "../parse.js";
import type { Session } from "../session.js";
import { type Mappings, mappingsOf, memoryIn } from "./mappings.js";
import type { PlaceOptions } from "./place-options.js";

/** One space that is searched. */
export interface Place {
  readonly name: string;
  readonly space: AddressSpace<Address> | AddressSpace<number>;
  /** The same, where it has page tables. */
  readonly virtual?: VirtualMemory | undefined;
  /** Whose it is, where it is a process's. */
  readonly task?: Task | undefined;
  /** Where the process's own part of it ends: the kernel's lies above. */
  readonly ownEnd?: bigint | undefined;
  /** Where a live process is searched, what its system says of it. */
  readonly mappings?: Mappings | undefined;
  readonly ranges?: ScanRanges | undefined;
  /** Where it ends, for the progress bar; 0 if that says nothing. */
  readonly end: number;
}

/** An `onProgress` that draws a bar, where it is known how far there is to go. */
export function barOf(session: Session, { end }: Place, what: string): (at: bigint) => void {
  return (at) => {
    if (end > 0) session.progress(what, at, end);
  };
}

/** The spaces that the options name, one after the other. @throws {UsageError} */
export async function* placesOf(
  session: Session,
  options: PlaceOptions,
  onDamage: OnDamage,
): AsyncGenerator<Place> {
  const { machine, space, pid } = session;
  if (options.allProcesses === true) {
    yield* everyProcess(await machine.linux(), onDamage);
    return;
  }
  const asked = options.from === undefined ? undefined : await rangeOf(session, options);
  if (pid !== undefined && space.virtual !== undefined) {
    const kernel = await machine.linux();
    const [task] = await listTasks(kernel, { pid, onDamage: () => {} }).toArray();
    // (Its page tables have the kernel too, which `--from` reaches.)
    const ownEnd = userEnd(kernel);
    const ranges = asked ?? { start: 0n, end: ownEnd };
    yield { name: space.name, space: space.virtual, virtual: space.virtual, task, ownEnd, ranges, end: 0 };
    return;
  }
  const chosen = session.options.root !== undefined || asked !== undefined ? space.virtual : undefined;
  const whole = chosen ?? machine.physical ?? machine.ranges;
  if (whole === undefined) throw new UsageError(`${machine.name}: nothing tells what memory there is`);
  const name = whole === chosen ? space.name : whole === machine.physical ? "physical memory" : machine.name;
  const end = whole instanceof PhysicalMemory ? whole.map.end : 0;
  const mappings = whole === machine.ranges ? mappingsOf(session) : undefined;
  const ranges = mappings === undefined ? asked : memoryIn(mappings, asked);
  yield { name, space: whole, virtual: chosen, mappings, ranges, end };
}

/** The own part of each address space, once: a process that was just forked by vfork has its parent's. */
async function* everyProcess(kernel: LinuxKernel, onDamage: OnDamage): AsyncGenerator<Place> {
  const seen = new Set<number>();
  for (const task of await listTasks(kernel, { onDamage }).toArray()) {
    if (task.root === undefined || seen.has(task.root)) continue;
    seen.add(task.root);
    const virtual = memoryOfTask(kernel, task);
    const ownEnd = userEnd(kernel);
    const ranges = { start: 0n, end: ownEnd };
    yield { name: `process ${task.pid ?? "?"}`, space: virtual, virtual, task, ownEnd, ranges, end: 0 };
  }
}

async function rangeOf(session: Session, { from, length }: PlaceOptions) {
  const start = await session.resolve(parseAddress(from as string));
  const end = length === undefined ? END_OF_SPACE : start + parseSize(length);
  if (end > END_OF_SPACE) throw new UsageError(`--length ${length}: beyond the end of the address space`);
  return { start, end };
}
