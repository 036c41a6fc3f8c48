/**
 * Timers of the wheel: those that expire with a tick.
 *
 * Facts: kernel/time/timer.c (`struct timer_base`, since 4.8; per-CPU variable `timer_bases`: since 6.9 one for local, global and
 * deferrable timers each, before one for deferrable ones and one for others, and without CONFIG_NO_HZ_COMMON only one; `vectors`: chains by
 * when they expire), include/linux/timer.h (`struct timer_list`, `flags`), include/linux/list.h (`hlist_node`: `pprev` is where
 * the pointer to it is).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { isWild } from "../objects/list.js";
import { pointersIn } from "../objects/pointers.js";
import { hasStruct, int, maybe, needStruct, offsetOf, record, word } from "../objects/record.js";
import type { PerCpu } from "../per-cpu.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { needPlace } from "../types/member-path.js";
import { TypesError } from "../types/type-table.js";

const TIMER = record("timer_list", {
  next: word("entry.next"),
  back: word("entry.pprev"),
  expires: word("expires"),
  function: word("function"),
  flags: int("flags"),
});

const BASE = record("timer_base", { clock: word("clk"), cpu: maybe(int("cpu")) });

/** What the bases are for, by how many a CPU has. */
const BASES: readonly (readonly string[])[] = [
  [],
  ["standard"],
  ["standard", "deferrable"],
  ["local", "global", "deferrable"],
];
/** More chains are not believed: WHEEL_SIZE is 576 (9 levels of 64). */
const MAX_VECTORS = 4096;
/** Nor more timers. */
const MAX_TIMERS = 1 << 20;
/** Timers that are read at a time. */
const PIECE = 4096;

/** A timer as it was read. */
export interface WheelTimer {
  readonly cpu: number;
  /** Number of its base, and what that is for. */
  readonly index: number;
  readonly name: string;
  /** Of its `struct timer_base`. */
  readonly base: bigint;
  readonly address: bigint;
  readonly expires: bigint | undefined;
  readonly function: bigint | undefined;
  readonly flags: number | undefined;
}

interface Pending {
  readonly timer: bigint;
  /** Where the pointer to it is. */
  readonly from: bigint;
}

/** All timers of all bases of all CPUs, each base's by the place in the wheel. */
export function* readWheel(data: KernelData, perCpu: PerCpu, report: OnDamage): Routine<WheelTimer[]> {
  const { types, memory } = data;
  if (!hasStruct(types, "timer_base")) {
    throw new TypesError(
      "NO_TYPE",
      "timer_base",
      "this kernel has no struct timer_base (before 4.8, another wheel)",
    );
  }
  const copies = yield* perCpu.copies("timer_bases");
  const base = needStruct(types, "timer_base");
  const vectors = needPlace(base, "vectors");
  const array = stripped(vectors.type);
  const length = array.kind === "array" ? Math.min(array.count, MAX_VECTORS) : 0;
  const found: WheelTimer[] = [];
  for (const copy of copies) {
    const { cpu, address } = copy;
    const count = yield* basesOf(data, copy);
    for (let index = 0; index < count; index++) {
      const at = BigInt.asUintN(64, address + BigInt(index * sizeOf(base)));
      const name = BASES[count]?.[index] ?? `${index}`;
      const what = `the ${name} wheel of CPU ${cpu}`;
      const [row] = yield* BASE.on(types).read(memory, [at]);
      const own = row?.partial.cpu;
      if (own !== undefined && own !== cpu) {
        report(damage(what, at, "mismatch", 0, `it is CPU ${own}'s`));
        continue;
      }
      const heads = BigInt.asUintN(64, at + BigInt(vectors.bitOffset / 8));
      const { bytes, holes } = yield* memory.readPartial(heads, length * memory.pointerSize);
      for (const hole of holes) {
        report(damage(what, heads + BigInt(hole.start), "unreadable", hole.fault));
        bytes.fill(0, hole.start, hole.end);
      }
      const first = pointersIn(memory, bytes).map((timer, i) => ({
        timer,
        from: heads + BigInt(i * memory.pointerSize),
      }));
      for (const timer of yield* chained(data, first, what, MAX_TIMERS - found.length, report)) {
        found.push({ cpu, index, name, base: at, ...timer });
      }
    }
  }
  return found;
}

/** Follows all chains of a base side by side, each timer behind the one that leads to it. */
function* chained(
  { types, memory }: KernelData,
  first: readonly Pending[],
  what: string,
  limit: number,
  report: OnDamage,
): Routine<Omit<WheelTimer, "cpu" | "index" | "name" | "base">[]> {
  const layout = TIMER.on(types);
  const entry = BigInt(offsetOf(types, "timer_list", "entry"));
  const next = BigInt(offsetOf(types, "hlist_node", "next"));
  const found: Omit<WheelTimer, "cpu" | "index" | "name" | "base">[] = [];
  const seen = new Set<bigint>();
  let level = first.filter(({ timer }) => timer !== 0n);
  while (level.length > 0) {
    const more: Pending[] = [];
    for (let from = 0; from < level.length; from += PIECE) {
      const piece = level.slice(from, from + PIECE);
      const rows = yield* layout.read(
        memory,
        piece.map(({ timer }) => BigInt.asUintN(64, timer - entry)),
      );
      for (const [i, { address, partial, fault }] of rows.entries()) {
        const pending = piece[i] as Pending;
        if (fault !== 0) report(damage(what, address, "unreadable", fault));
        // (The first pointer to a timer is the only one: each leads back to where that is.)
        if (partial.back !== undefined && partial.back !== pending.from) {
          report(damage(what, address, "mismatch", 0, "it does not point back to where it was come from"));
          continue;
        }
        if (fault !== 0 && isWild(fault)) continue;
        if (seen.has(address)) {
          report(damage(what, address, "loop"));
          continue;
        }
        if (found.length >= limit) {
          report(damage(what, address, "too long"));
          return found;
        }
        seen.add(address);
        found.push({
          address,
          expires: partial.expires,
          function: partial.function,
          flags: partial.flags,
        });
        if (partial.next !== undefined && partial.next !== 0n) {
          more.push({ timer: partial.next, from: BigInt.asUintN(64, pending.timer + next) });
        }
      }
    }
    level = more;
  }
  return found;
}

/** How many bases a CPU has: by the variable's type, or else (BTF before 5.10 has no variables) as many as look like ones of its. */
function* basesOf(
  { types, memory }: KernelData,
  { cpu, address }: { readonly cpu: number; readonly address: bigint },
): Routine<number> {
  const type = types.variable("timer_bases");
  const array = type === undefined ? undefined : stripped(type);
  if (array?.kind === "array") return Math.min(array.count, BASES.length - 1);
  const layout = BASE.on(types);
  const rows = yield* layout.read(
    memory,
    BASES.slice(1).map((_, i) => BigInt.asUintN(64, address + BigInt(i * layout.size))),
  );
  const none = rows.findIndex(({ partial }) => partial.cpu !== cpu || partial.clock === 0n);
  return none < 0 ? rows.length : none;
}
