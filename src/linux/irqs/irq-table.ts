/**
 * Where a kernel keeps the descriptors of its interrupts.
 *
 * Facts: kernel/irq/irqdesc.c: `sparse_irqs`, a maple tree since 6.5 (721255b9826b); before, `irq_desc_tree`, a radix tree; with
 * CONFIG_SPARSE_IRQ=n an array `irq_desc` of `nr_irqs`. include/linux/irq.h (`struct irq_data`: `irq`, its number, and `common`, which
 * is in the same descriptor).
 */
import type { Routine } from "../../io/index.js";
import { findTree } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, listsFunctionsOnly, needSymbol, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { mapleMark, walkMapleRanges } from "../objects/maple-tree.js";
import { hasStruct, int, needStruct, place, record, word } from "../objects/record.js";
import { walkXarray, xarrayMark } from "../objects/xarray.js";
import { sizeOf } from "../types/c-type.js";

/** More are not believed: `IRQ_BITMAP_BITS`, or NR_IRQS, is some hundred thousand in the largest kernels. */
const MAX_IRQS = 1 << 20;

const IDENTITY = record("irq_desc", {
  irq: int("irq_data.irq"),
  common: word("irq_data.common"),
  ownCommon: place("irq_common_data"),
});

/** A descriptor's place. */
export interface IrqPlace {
  readonly irq: number;
  readonly address: bigint;
}

/** Descriptors by number; those that say that they are another's are told, and left out. @throws {SymbolError} `NO_SYMBOL`. */
export function* irqPlaces(data: KernelData, report: OnDamage): Routine<IrqPlace[]> {
  const what = "the table of interrupts";
  const claimed = yield* claimedPlaces(data, what, report);
  if (claimed.length > MAX_IRQS) {
    report(damage(what, claimed[0]?.address ?? 0n, "too long", 0, `${claimed.length} interrupts can't be`));
  }
  const places = claimed.slice(0, MAX_IRQS);
  const rows = yield* IDENTITY.on(data.types).read(
    data.memory,
    places.map(({ address }) => address),
  );
  return places.filter(({ irq, address }, i) => {
    const row = rows[i];
    const { irq: own, common, ownCommon } = row?.partial ?? {};
    // (One that can't be read is told by whoever reads on; nothing says that it is none.)
    if (own === undefined || common === undefined) return true;
    if (own === irq && common === ownCommon) return true;
    report(
      damage(`the descriptor of interrupt ${irq}`, address, "mismatch", 0, "it is not that interrupt's"),
    );
    return false;
  });
}

/** A table that was found, and what it is. */
interface Table {
  readonly kind: "maple" | "radix";
  readonly address: bigint;
}

function* claimedPlaces(data: KernelData, what: string, report: OnDamage): Routine<IrqPlace[]> {
  const table = (yield* namedTable(data)) ?? (yield* searchedTable(data));
  if (table !== undefined) return yield* entriesOf(data, table, what, report);
  const array = yield* needSymbol(data, "sparse_irqs", "irq_desc_tree", "irq_desc");
  const size = sizeOf(needStruct(data.types, "irq_desc"));
  const count = yield* countOfArray(data, report);
  return Array.from({ length: count }, (_, irq) => ({ irq, address: array + BigInt(irq * size) }));
}

function* namedTable(data: KernelData): Routine<Table | undefined> {
  const maple = yield* symbolAddress(data, "sparse_irqs");
  if (maple !== undefined) return { kind: "maple", address: maple };
  const radix = yield* symbolAddress(data, "irq_desc_tree");
  return radix === undefined ? undefined : { kind: "radix", address: radix };
}

function* entriesOf(
  { memory, types }: KernelData,
  { kind, address }: Table,
  what: string,
  report: OnDamage,
): Routine<IrqPlace[]> {
  if (kind === "radix") {
    const entries = yield* walkXarray(memory, types, address, what, report);
    return entries.map(({ index, entry }) => ({ irq: index, address: entry }));
  }
  const [entries = []] = yield* walkMapleRanges(memory, types, [address], what, report);
  return entries.map(({ first, entry }) => ({ irq: Number(first), address: entry }));
}

function* countOfArray(data: KernelData, report: OnDamage): Routine<number> {
  // Since 6.13 private, by another name.
  const at = yield* needSymbol(data, "total_nr_irqs", "nr_irqs");
  const { bytes, holes } = yield* data.memory.readPartial(at, 4);
  const hole = holes[0];
  if (hole !== undefined) {
    report(damage("nr_irqs", at, "unreadable", hole.fault));
    return 0;
  }
  const count = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, data.memory.littleEndian);
  if (count > MAX_IRQS) report(damage("nr_irqs", at, "invalid", 0, `${count}`));
  return Math.min(count, MAX_IRQS);
}

const tables = new WeakMap<LinuxKernel, Table>();

/** The table, where kallsyms list functions only: it holds what says of itself to be an interrupt of its number. */
function* searchedTable(data: KernelData): Routine<Table | undefined> {
  const { kernel, memory, types } = data;
  const known = tables.get(kernel);
  if (known !== undefined) return known;
  if (!(yield* listsFunctionsOnly(data))) return undefined;
  const radix = xarrayMark(types);
  const maple = hasStruct(types, "maple_tree") ? mapleMark(types) : undefined;
  const marks = [radix, maple].filter((each) => each !== undefined);
  let found: Table | undefined;
  yield* findTree(memory, kernel.searchRanges, marks, function* (mark, address) {
    const table: Table = { kind: marks[mark] === radix ? "radix" : "maple", address };
    const [first] = yield* entriesOf(data, table, "", () => {});
    if (first === undefined) return false;
    const [row] = yield* IDENTITY.on(types).read(memory, [first.address]);
    const value = row?.value;
    if (value?.irq !== first.irq || value.common !== value.ownCommon) return false;
    found = table;
    return true;
  });
  if (found !== undefined) tables.set(kernel, found);
  return found;
}
