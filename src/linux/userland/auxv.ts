/**
 * What the kernel told a program about itself when it started it.
 *
 * Facts: fs/binfmt_elf.c (`create_elf_tables` keeps it in `mm->saved_auxv`), fs/compat_binfmt_elf.c (of 32-bit programs it is of 32-bit
 * words, in the same place), include/uapi/linux/auxvec.h.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { raw, record } from "../objects/record.js";
import type { Task } from "../tasks/task.js";

const MM = record("mm_struct", { vector: raw("saved_auxv") });

/** Where its program headers are, and how many; where its linker is loaded; where it begins; its name as it was given; where the vDSO is. */
export const AT_PHDR = 3n;
export const AT_PHNUM = 5n;
export const AT_BASE = 7n;
export const AT_ENTRY = 9n;
export const AT_EXECFN = 31n;
export const AT_SYSINFO_EHDR = 33n;

/** Numbers of entries are below that. */
const MAX_NUMBER = 1000n;

/** What is read of a process's memory descriptor. */
export interface Auxv {
  readonly values: ReadonlyMap<bigint, bigint>;
}

/** Of each task; those without memory have nothing. */
export function* readAuxv(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<(Auxv | undefined)[]> {
  const rows = yield* readEach(
    data,
    MM,
    tasks.map(({ mm }) => mm),
    "an mm_struct",
    report,
  );
  const { pointerSize, littleEndian } = data.memory;
  return rows.map((row) => {
    if (row === undefined) return undefined;
    const values = row.vector === undefined ? new Map() : parseAuxv(row.vector, pointerSize, littleEndian);
    return { values };
  });
}

/** Entries by number, up to the first AT_NULL. Of words of 4 bytes, where words of 8 make no sense. */
export function parseAuxv(
  bytes: Uint8Array,
  pointerSize: 4 | 8,
  littleEndian: boolean,
): ReadonlyMap<bigint, bigint> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = pointerSize === 8 && bytes.length >= 8 && view.getBigUint64(0, littleEndian) < MAX_NUMBER;
  const width = wide ? 8 : 4;
  const word = (at: number) =>
    wide ? view.getBigUint64(at, littleEndian) : BigInt(view.getUint32(at, littleEndian));
  const values = new Map<bigint, bigint>();
  for (let at = 0; at + 2 * width <= bytes.length; at += 2 * width) {
    const number = word(at);
    if (number === 0n || number >= MAX_NUMBER) break;
    if (!values.has(number)) values.set(number, word(at + width));
  }
  return values;
}
