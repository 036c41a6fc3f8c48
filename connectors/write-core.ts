/** Writes a process of a machine as a core file. */
import { writeSparse } from "../src/formats/write/sink.js";
import { type AbortSignalLike, MemtoolError } from "../src/io/index.js";
import type { CoreOptions, CoreSummary, ProcessCore } from "../src/linux/index.js";
import { OutputFile } from "./convert/output-file.js";
import type { Machine } from "./machine.js";

/** Options of {@link writeCore}. */
export interface WriteCoreOptions extends Omit<CoreOptions, "registers"> {
  /** Replaces a file of that name. */
  readonly force?: boolean | undefined;
  /** Once it fires, writing stops, and nothing of the file is left. */
  readonly signal?: AbortSignalLike | undefined;
  /** Bytes of memory that were written. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** What {@link writeCore} did. */
export interface WrittenCore extends CoreSummary {
  readonly path: string;
  /** Bytes of the disk that the file takes: pages of zeros take none where the file system can. */
  readonly allocated: number;
  readonly core: ProcessCore;
}

/** Bytes that may wait to be written. */
const QUEUED = 16 << 20;
/** Tables that repeat may map many times what there is of RAM; programs do so a few times at most. */
const REPEATS = 16;
const LEAST_LIMIT = 16 * 2 ** 30;

/**
 * Writes a process of the machine's Linux as a core file, streaming, in bounded memory. The file has a temporary name beside its own
 * until it is complete; when anything fails, nothing is left of it.
 *
 * @example
 * const machine = await open("vmcore");
 * await writeCore(machine, 97, "core.97");
 *
 * @throws {MemtoolError} as `readCore`; `ABORTED`. {OutputError} for what can't be written. {KernelNotFoundError}
 */
export async function writeCore(
  machine: Machine,
  pid: number,
  path: string,
  options: WriteCoreOptions = {},
): Promise<WrittenCore> {
  const { force, signal, onProgress, ...own } = options;
  const linux = await machine.linux();
  // What swap entries of a process mean, the kernel's symbols tell.
  await machine.swapTypes();
  const process = await linux.process(pid, { onDamage: own.onDamage ?? (() => {}) });
  const core = await process.core({
    maxBytes: Math.max(LEAST_LIMIT, REPEATS * (machine.physical?.map.bytesPresent ?? 0)),
    ...own,
    registers: machine.notes?.cpus,
  });
  const file = OutputFile.create(path, { force, sources: machine.paths });
  try {
    let queued = 0;
    let done = 0;
    for await (const { offset, bytes } of core.pieces()) {
      if (signal?.aborted === true) throw new MemtoolError("ABORTED", "interrupted");
      writeSparse(file, offset, bytes);
      queued += bytes.length;
      done += bytes.length;
      if (queued < QUEUED) continue;
      await file.settle();
      queued = 0;
      onProgress?.(done);
    }
    const { summary } = core;
    await file.complete(summary.size);
    const { allocated } = file;
    await file.commit();
    return { path, allocated, core, ...summary };
  } catch (error) {
    await file.discard();
    throw error;
  }
}
