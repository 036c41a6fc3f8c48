/**
 * Sections of a loaded module: what /sys/module/NAME/sections shows. Sizes are kept nowhere: a section goes on to where the next one, or the
 * module's memory of its kind, ends.
 *
 * Facts: kernel/module/sysfs.c (`struct module_sect_attrs`; `add_sect_attrs` takes those that are allocated and not empty), until 6.13
 * with `struct module_sect_attr`, since 6.14 (4b2c11e4aaf7) as `bin_attribute`s whose `private` is the address; include/linux/sysfs.h.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { int, maybe, place, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import type { ModuleRow } from "./module-parts.js";

const SECTIONS = record("module_sect_attrs", {
  count: maybe(int("nsections")),
  first: place("attrs"),
  // Ends with a null pointer.
  pointers: maybe(word("grp.bin_attrs", "grp.bin_attrs_new")),
});
const OLD_SECTION = record("module_sect_attr", {
  // Since 5.8 (ed66f991bb19) the name is the attribute's.
  name: word("name", "battr.attr.name"),
  address: word("address"),
});
const SECTION = record("bin_attribute", { name: word("attr.name"), address: word("private") });

/** More sections than any module has. */
const MAX_SECTIONS = 1 << 13;
const MAX_NAME = 256;
/** Pointers that are read at once. */
const PIECE = 64;

/** Where a section begins. */
export interface SectionPlace {
  readonly name: string;
  readonly address: bigint;
}

/** In the kernel's order; none if the kernel does not keep them (no CONFIG_KALLSYMS), or they can't be read. @internal */
export function* readSections(data: KernelData, row: ModuleRow, report: OnDamage): Routine<SectionPlace[]> {
  const { memory, types } = data;
  const what = `sections of module ${row.partial.name ?? "?"}`;
  const layout = SECTIONS.onIf(types);
  const at = row.partial.sections;
  if (layout === undefined || at === undefined || at === 0n) return [];
  const [head] = yield* layout.read(memory, [at]);
  if (head?.value === undefined) {
    report(damage(what, at, "unreadable", head?.fault ?? 0));
    return [];
  }
  const { count, first, pointers } = head.value;
  const old = count === undefined ? undefined : OLD_SECTION.onIf(types);
  let addresses: bigint[];
  if (old !== undefined && count !== undefined) {
    if (count > MAX_SECTIONS) report(damage(what, at, "too long", 0, `${count}`));
    addresses = Array.from({ length: Math.min(count, MAX_SECTIONS) }, (_, i) => first + BigInt(i * old.size));
  } else {
    addresses = yield* untilNull(data, pointers ?? 0n, what, report);
  }
  const rows = yield* (old ?? SECTION.on(types)).read(memory, addresses);
  const names = yield* readStrings(
    memory,
    rows.map(({ value }) => value?.name),
    `a name of ${what}`,
    report,
    MAX_NAME,
  );
  const found: SectionPlace[] = [];
  let isTold = false;
  for (const [i, { address, value, fault }] of rows.entries()) {
    if (value !== undefined) found.push({ name: names[i] ?? `section-${i}`, address: value.address });
    else if (!isTold) report(damage(what, address, "unreadable", fault));
    isTold ||= value === undefined;
  }
  return found;
}

function* untilNull(data: KernelData, at: bigint, what: string, report: OnDamage): Routine<bigint[]> {
  const found: bigint[] = [];
  for (let from = at; at !== 0n && found.length < MAX_SECTIONS; ) {
    // (Not across a page's end: behind the null pointer, nothing may be mapped.)
    const size = data.memory.pointerSize;
    const room = Math.floor((4096 - Number(from & 0xfffn)) / size);
    const count = Math.max(1, Math.min(PIECE, room));
    const pointers = yield* pointersAt(data.memory, from, count);
    if (typeof pointers === "number") {
      report(damage(what, from, "unreadable", pointers));
      return found;
    }
    const end = pointers.indexOf(0n);
    found.push(...(end < 0 ? pointers : pointers.slice(0, end)));
    if (end >= 0) return found;
    from += BigInt(count * size);
  }
  if (at !== 0n) report(damage(what, at, "too long", 0, `more than ${MAX_SECTIONS}`));
  return found;
}
