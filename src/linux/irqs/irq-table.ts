/**
 * Where a kernel keeps the descriptors of its interrupts.
 *
 * Facts: kernel/irq/irqdesc.c: `sparse_irqs`, a maple tree since 6.5 (721255b9826b); before, `irq_desc_tree`, a radix tree; with
 * CONFIG_SPARSE_IRQ=n an array `irq_desc` of `nr_irqs`. include/linux/irq.h (`struct irq_data`: `irq`, its number, and `common`, which
 * is in the same descriptor).
 */
import type { Routine } from "../../io/index.js";
import { findMutual } from "../image-search.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, listsFunctionsOnly, needSymbol, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkMapleRanges } from "../objects/maple-tree.js";
import { int, needStruct, place, record, word } from "../objects/record.js";
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

function* claimedPlaces(data: KernelData, what: string, report: OnDamage): Routine<IrqPlace[]> {
  const { types, memory } = data;
  const maple = yield* symbolAddress(data, "sparse_irqs");
  if (maple !== undefined) {
    const [entries = []] = yield* walkMapleRanges(memory, types, [maple], what, report);
    return entries.map(({ first, entry }) => ({ irq: Number(first), address: entry }));
  }
  const radix = (yield* symbolAddress(data, "irq_desc_tree")) ?? (yield* searchedTree(data));
  if (radix !== undefined) {
    const entries = yield* walkXarray(memory, types, radix, what, report);
    return entries.map(({ index, entry }) => ({ irq: index, address: entry }));
  }
  const array = yield* needSymbol(data, "sparse_irqs", "irq_desc_tree", "irq_desc");
  const size = sizeOf(needStruct(types, "irq_desc"));
  const count = yield* countOfArray(data, report);
  return Array.from({ length: count }, (_, irq) => ({ irq, address: array + BigInt(irq * size) }));
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

const trees = new WeakMap<LinuxKernel, bigint>();

/** The radix tree, where kallsyms list functions only: it holds what says of itself to be an interrupt of its number. */
function* searchedTree(data: KernelData): Routine<bigint | undefined> {
  const { kernel, memory, types } = data;
  const known = trees.get(kernel);
  if (known !== undefined) return known;
  if (!(yield* listsFunctionsOnly(data))) return undefined;
  const mark = xarrayMark(types);
  if (mark === undefined) return undefined;
  const head = BigInt(mark.head);
  const found = yield* findMutual(
    memory,
    kernel.searchRanges,
    mark.target,
    (pointer, at) => pointer === at - head,
    function* (at) {
      const entries = yield* walkXarray(memory, types, at - head, "", () => {});
      const first = entries[0];
      if (first === undefined) return false;
      const [row] = yield* IDENTITY.on(types).read(memory, [first.entry]);
      const value = row?.value;
      return value !== undefined && value.irq === first.index && value.common === value.ownCommon;
    },
  );
  if (found === undefined) return undefined;
  trees.set(kernel, found - head);
  return found - head;
}
