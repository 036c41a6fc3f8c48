/**
 * What mapped ranges are of: paths of files, and the names that /proc/PID/maps makes up.
 *
 * Facts: fs/proc/task_mmu.c (`show_map_vma`, `get_vma_name`), mm/mmap.c (`special_mapping_vmops`), include/linux/mm_inline.h
 * (`anon_vma_name`).
 */
import type { Routine } from "../../io/index.js";
import { readFiles } from "../files/file-paths.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, offsetOf, type Row, record, type Values, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import type { TaskVmas, VMA } from "./vma.js";

const OPERATIONS = record("vm_operations_struct", { name: word("name") });
const SPECIAL_MAPPING = record("vm_special_mapping", { name: word("name") });

/** A range under its name. @internal */
export interface NamedVma {
  readonly address: bigint;
  readonly value: Values<typeof VMA.fields>;
  readonly path: string | undefined;
  readonly inode: bigint | undefined;
  readonly device: string | undefined;
}

/** Longest name of a range: ANON_VMA_NAME_MAX_LEN is 80 (include/linux/mm.h); special ones are shorter. */
const MAX_NAME = 80;

/** Names all ranges; what can't be read of a name is `undefined`. @internal */
export function* nameVmas(
  data: KernelData,
  processes: readonly TaskVmas[],
  report: OnDamage,
): Routine<NamedVma[][]> {
  const rows = processes.flatMap(({ rows }) => rows.map(({ value }) => value as Values<typeof VMA.fields>));
  const files = yield* readFiles(
    data,
    rows.map(({ file }) => file),
    report,
  );
  const special = yield* specialNames(data, rows, report);
  const anonymous = yield* anonymousNames(data, rows, report);
  const gate = yield* symbolAddress(data, "gate_vma");
  let at = 0;
  return processes.map((process) =>
    process.rows.map((row) => {
      const value = row.value as Values<typeof VMA.fields>;
      const i = at++;
      const file = value.file === 0n ? undefined : files[i];
      const path =
        value.file !== 0n
          ? file?.path
          : row.address === gate
            ? "[vsyscall]"
            : (special[i] ?? ofMemory(process, value) ?? anonymous[i] ?? nameless(process));
      const none = value.file === 0n ? 0n : undefined;
      return {
        address: row.address,
        value,
        path,
        inode: file?.inode ?? none,
        device: file?.device ?? (none === undefined ? undefined : "0:0"),
      };
    }),
  );
}

/** Ranges of the kernel's own, by the operations that all of them have. */
function* specialNames(
  data: KernelData,
  rows: readonly Values<typeof VMA.fields>[],
  report: OnDamage,
): Routine<(string | undefined)[]> {
  if (!hasStruct(data.types, "vm_special_mapping")) return rows.map(() => undefined);
  const special = yield* specialOperations(data, rows, report);
  const mappings = yield* readEach(
    data,
    SPECIAL_MAPPING,
    rows.map((row) => (row.file === 0n && special.has(row.ops) ? row.privateData : 0n)),
    "a vm_special_mapping",
    report,
  );
  return yield* readStrings(
    data.memory,
    mappings.map((mapping) => mapping?.name),
    "the name of a vm_special_mapping",
    report,
    MAX_NAME,
  );
}

/**
 * The operations of which `special_mapping_name` gives the names of ranges. By that function: kallsyms always list those, and
 * variables such as `special_mapping_vmops` not always.
 */
function* specialOperations(
  data: KernelData,
  rows: readonly Values<typeof VMA.fields>[],
  report: OnDamage,
): Routine<ReadonlySet<bigint>> {
  const pointers = [...new Set(rows.map((row) => (row.file === 0n ? row.ops : 0n)))];
  const operations = yield* readEach(data, OPERATIONS, pointers, "a vm_operations_struct", report);
  const name = yield* symbolAddress(data, "special_mapping_name");
  return new Set(pointers.filter((_, i) => name !== undefined && operations[i]?.name === name));
}

/** The heap and the first stack. (The heap's range since 6.7, 11250fd12eb8: it may begin above `start_brk`.) */
function ofMemory(
  { mm }: TaskVmas,
  { start, end }: Row<Values<typeof VMA.fields>>["value"] & object,
): string | undefined {
  const { brk, startBrk, startStack } = mm;
  if (brk !== undefined && startBrk !== undefined) {
    if (start < brk && end > startBrk) return "[heap]";
    if (start <= startBrk && end >= brk && brk !== startBrk) return "[heap]";
  }
  return startStack !== undefined && start <= startStack && end >= startStack ? "[stack]" : undefined;
}

/** What a range is called that is none of these; `undefined` where it can't be told that it is none. */
function nameless({ mm: { brk, startBrk, startStack } }: TaskVmas): "" | undefined {
  return [brk, startBrk, startStack].includes(undefined) ? undefined : "";
}

/** Names that processes gave with prctl(PR_SET_VMA_ANON_NAME). */
function* anonymousNames(
  data: KernelData,
  rows: readonly Values<typeof VMA.fields>[],
  report: OnDamage,
): Routine<(string | undefined)[]> {
  // (Of a file's ranges, it may share its place with what they are linked by.)
  const pointers = rows.map(({ anonName, file }) => (file === 0n ? (anonName ?? 0n) : 0n));
  if (pointers.every((pointer) => pointer === 0n)) return pointers.map(() => undefined);
  const offset = BigInt(offsetOf(data.types, "anon_vma_name", "name"));
  const names = yield* readStrings(
    data.memory,
    pointers.map((pointer) => (pointer === 0n ? 0n : BigInt.asUintN(64, pointer + offset))),
    "the name of a mapped range",
    report,
    MAX_NAME,
  );
  return names.map((name) => (name === undefined ? undefined : `[anon:${name}]`));
}
