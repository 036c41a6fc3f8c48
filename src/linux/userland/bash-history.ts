/** The command history of shells, out of their memory. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { memoryOfTask, needTasks } from "../tasks/task.js";
import { readVmas } from "../tasks/vma.js";
import { findHistory, type HeapBlock } from "./history-entries.js";

/** A command that a shell remembers. */
export interface ShellCommand {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  /** When it was entered, or read from a file of history that has no times: seconds since 1970. */
  readonly time: number;
  /** As it was typed; of several lines, with their line feeds. */
  readonly command: string;
  /** Whether its end could not be read. */
  readonly partial: boolean;
  /** Its place in the shell's list, 0 for the oldest; `undefined` for what is on no list: deleted, or the list is not in memory. */
  readonly index: number | undefined;
  /** Of its `HIST_ENTRY`, in the process. */
  readonly address: bigint;
}

/** Options of {@link listBashHistory}. */
export interface BashHistoryOptions extends DamageOptions {
  /** Only this process's, whatever it is called; default every process called "bash". */
  readonly pid?: number | undefined;
}

/** VM_WRITE, include/linux/mm.h. */
const WRITE = 0x2n;
/** Bytes of a process's memory that are looked at: a shell's heap has some MiB. */
const MAX_BYTES = 1 << 26;

/**
 * The commands that bash (and what else uses GNU's history library: 4.0 and newer, with times) has in memory, by process, then by
 * time. What was typed and not yet entered is none; other shells (busybox, dash, zsh) keep none of this form.
 *
 * A shell keeps a command as a pair of pointers: to its text, and to a text of its time ("#1700000000"). These pairs are looked
 * for in the process's writable memory that is no file's; the kernel's part in it is where that memory is. So commands are found
 * also where symbols of the shell are not; one whose memory was freed is not.
 */
export function listBashHistory(
  kernel: LinuxKernel,
  options: BashHistoryOptions = {},
): IoSequence<ShellCommand> {
  return IoSequence.of(kernel.memory.scheduler, historyRoutine, kernel, options);
}

function* historyRoutine(
  sink: Sink<ShellCommand>,
  kernel: LinuxKernel,
  options: BashHistoryOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const tasks = (yield* needTasks(data, options.pid, log.report)).filter(
    ({ comm, root, mm }) =>
      root !== undefined && mm !== undefined && mm !== 0n && (options.pid !== undefined || comm === "bash"),
  );
  for (const { task, rows } of yield* readVmas(data, tasks, log.report)) {
    const ranges = rows.flatMap(({ value }) => (value === undefined ? [] : [value]));
    // (A program of 32 bits has nothing above 4 GiB; one of 64 has its stack there.)
    const pointerSize = ranges.every(({ end }) => end <= 1n << 32n) ? 4 : 8;
    const heap = ranges.filter(({ file, flags }) => file === 0n && (flags & WRITE) !== 0n);
    const what = `memory of process ${task.tgid}`;
    const blocks = yield* readHeap(memoryOfTask(kernel, task), heap, what, log.report);
    const onCut = (at: bigint, more: string) =>
      log.report(damage(`the history of process ${task.tgid}`, at, "too long", 0, more));
    for (const { line, ...entry } of findHistory(blocks, pointerSize, onCut))
      yield sink.emit({ pid: task.tgid, comm: task.comm, command: line, ...entry });
  }
  log.end();
}

/** What is there of some ranges, side by side where it is. */
function* readHeap(
  memory: VirtualMemory,
  ranges: readonly { readonly start: bigint; readonly end: bigint }[],
  what: string,
  report: OnDamage,
): Routine<HeapBlock[]> {
  const blocks: HeapBlock[] = [];
  let left = MAX_BYTES;
  for (const range of ranges) {
    const areas = memory.areas(range).cursor();
    try {
      for (;;) {
        const next = yield* areas.next();
        if (next.done === true) break;
        let { start: from, end: to } = next.value;
        if (from < range.start) from = range.start;
        if (to > range.end) to = range.end;
        if (from >= to) continue;
        const isTooLong = to - from > BigInt(left);
        if (isTooLong) {
          report(
            damage(what, from, "too long", 0, `more than ${MAX_BYTES >> 20} MiB: the rest is not looked at`),
          );
          to = from + BigInt(left);
        }
        left -= Number(to - from);
        const { bytes, good, holes } = yield* memory.readPartial(from, Number(to - from));
        for (const each of holes) report(damage(what, from + BigInt(each.start), "unreadable", each.fault));
        for (const each of good)
          blocks.push({ address: from + BigInt(each.start), bytes: bytes.subarray(each.start, each.end) });
        if (isTooLong) return joined(blocks);
      }
    } finally {
      yield* areas.end();
    }
  }
  return joined(blocks);
}

/** Blocks that touch as one: a line may lie across them. */
function joined(blocks: readonly HeapBlock[]): HeapBlock[] {
  const list: HeapBlock[] = [];
  for (let i = 0; i < blocks.length; ) {
    const { address } = blocks[i] as HeapBlock;
    let end = address;
    let next = i;
    while (blocks[next]?.address === end) end += BigInt((blocks[next++] as HeapBlock).bytes.length);
    const bytes = new Uint8Array(Number(end - address));
    for (; i < next; i++) {
      const block = blocks[i] as HeapBlock;
      bytes.set(block.bytes, Number(block.address - address));
    }
    list.push({ address, bytes });
  }
  return list;
}
