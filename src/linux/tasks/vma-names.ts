/**
 * What mapped ranges are of: paths of files, and the names that /proc/PID/maps makes up.
 *
 * Facts: fs/proc/task_mmu.c (`show_map_vma`, `get_vma_name`), mm/mmap.c (`special_mapping_vmops`), include/linux/mm_inline.h
 * (`anon_vma_name`). Debian's kernels are built without names of anonymous ranges (CONFIG_ANON_VMA_NAME).
 */
import type { Routine } from "../../io/index.js";
import { readFiles } from "../files/file-paths.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, needStruct, offsetOf, type Row, record, type Values, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { sizeOf } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
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
  const { anonymous, shared } = yield* anonymousNames(data, rows, report);
  const gate = yield* symbolAddress(data, "gate_vma");
  let at = 0;
  return processes.map((process) =>
    process.rows.map((row) => {
      const value = row.value as Values<typeof VMA.fields>;
      const i = at++;
      const file = value.file === 0n ? undefined : files[i];
      const path =
        value.file !== 0n
          ? (shared[i] ?? file?.path)
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

/** Names that processes gave with prctl(PR_SET_VMA_ANON_NAME), of memory without a file, and of memory that is shared. */
function* anonymousNames(
  data: KernelData,
  rows: readonly Values<typeof VMA.fields>[],
  report: OnDamage,
): Routine<{ anonymous: readonly (string | undefined)[]; shared: readonly (string | undefined)[] }> {
  // Shared memory is a file. Until 6.2 (d09e8ca6cb93), a file's range is linked there by what then is no name.
  const ofFiles = !isSharedPlace(data);
  const pointers = rows.map(({ anonName, file }) => (file === 0n || ofFiles ? (anonName ?? 0n) : 0n));
  if (pointers.every((pointer) => pointer === 0n)) return { anonymous: [], shared: [] };
  const offset = BigInt(offsetOf(data.types, "anon_vma_name", "name"));
  const names = yield* readStrings(
    data.memory,
    pointers.map((pointer) => (pointer === 0n ? 0n : BigInt.asUintN(64, pointer + offset))),
    "the name of a mapped range",
    report,
    MAX_NAME,
  );
  const shown = (kind: string) => names.map((name) => (name === undefined ? undefined : `[${kind}:${name}]`));
  return { anonymous: shown("anon"), shared: shown("anon_shmem") };
}

/** Whether a range's name lies where others are linked to their file. */
function isSharedPlace({ types }: KernelData): boolean {
  const vma = needStruct(types, "vm_area_struct");
  const [name, link] = [findPlace(vma, "anon_name"), findPlace(vma, "shared")];
  if (name === undefined || link === undefined) return true;
  const end = link.bitOffset + 8 * sizeOf(link.type);
  return name.bitOffset >= link.bitOffset && name.bitOffset < end;
}
