/** The walk to one address with every entry on the way, for people. */
import { HIGH, joinAddress } from "../../io/address.js";
import type { Address, Routine } from "../../io/index.js";
import type { AbsentEntry } from "../formats/absent-entries.js";
import { LEAF, MISSING, NOT_PRESENT } from "../formats/entry-kinds.js";
import { attributesOf, restoreEntry } from "../formats/mmu.js";
import { ALL_RIGHTS, type Rights, rightsFields } from "../formats/rights.js";
import type { PageTableIo } from "../page-table-io.js";
import { fetchTable } from "../tables/fetch-tables.js";
import { wordsOf } from "./translate.js";
import { type Translation, unmapped } from "./translation.js";
import {
  faultOfStep,
  indexAt,
  isCanonical,
  kindOf,
  leafRights,
  NON_CANONICAL,
  Step,
  tableMissing,
  tableRights,
  walkFrom,
} from "./walk.hot.js";

const step = new Step();

/** One page-table entry on the way of a walk. */
export interface WalkStep {
  /** 1 is the last table, counting up to the root. */
  readonly level: number;
  /** What the format calls an entry of this level: "PML4E" … "PTE". */
  readonly name: string;
  /** Index in its table. */
  readonly index: number;
  /** Physical address of the entry; `undefined` for one that is a register (AArch64's TTBR0 and TTBR1). */
  readonly entryAddress: number | undefined;
  /** As it is stored. */
  readonly entry: bigint;
  /** For the processor. */
  readonly present: boolean;
  /** What else it says (of accesses, memory types, protection keys), by name; flags are 0 or 1. */
  readonly attributes: Readonly<Record<string, number>>;
  /** Not present, and the operating system means something by it. */
  readonly absent?: AbsentEntry;
  /** What this entry alone says. Without meaning unless present. */
  readonly flags: Rights & {
    /** It maps memory (and is not malformed). */
    readonly leaf: boolean;
    readonly malformed: boolean;
  };
}

/** Every entry that could be read on the way to an address, root first, and the outcome. */
export interface Walk {
  readonly steps: readonly WalkStep[];
  readonly result: Translation;
}

/** The routine of `VirtualMemory.walk`. */
export function* walkRoutine(io: PageTableIo, address: Address): Routine<Walk> {
  const { lo, hi } = wordsOf(address);
  const { mmu, cache } = io;
  const virtual = joinAddress(lo, hi);
  const steps: WalkStep[] = [];
  io.beginRequest();
  if (!isCanonical(mmu, hi)) return { steps, result: unmapped(mmu, virtual, NON_CANONICAL, 0n) };
  let table = io.rootKey;
  let rights = ALL_RIGHTS;
  let entry = 0n;
  for (let level = mmu.levels; ; level--) {
    const index = indexAt(mmu, level, lo, hi);
    const slot = cache.find(table);
    let words = cache.arena;
    let base = slot * mmu.tableWords;
    if (slot < 0) {
      const fetch = yield* fetchTable(io, table);
      const fault = fetch.faultOf(index);
      if (fault !== 0)
        return {
          steps,
          result: unmapped(mmu, virtual, tableMissing(level, fault), fetch.fault === 0 ? 0n : entry),
        };
      words = fetch.words;
      base = 0;
    }
    const entryLo = words[base + 2 * index] as number;
    const entryHi = words[base + 2 * index + 1] as number;
    entry = joinAddress(entryLo, entryHi);
    const kind = kindOf(mmu, level, entryLo, entryHi);
    const isTable = kind === MISSING;
    const own = isTable ? tableRights(mmu, level, entryLo, entryHi) : leafRights(mmu, entryLo, entryHi);
    const absent =
      kind === NOT_PRESENT && entry !== 0n ? mmu.def.absentEntries?.describe(level, entry) : undefined;
    const entryAddress = io.entryAddress(table, index);
    steps.push({
      level,
      // (Beside a half whose root is a short table of this level, another may have a whole one of the next.)
      name: entryAddress === undefined ? "TTBR" : (mmu.def.entryNames[mmu.levels - level] as string),
      index,
      entryAddress,
      entry: restoreEntry(mmu, entry),
      present: kind !== NOT_PRESENT,
      attributes: kind === LEAF || isTable ? attributesOf(mmu, entry, !isTable) : {},
      ...(absent === undefined ? {} : { absent }),
      flags: {
        ...rightsFields(own),
        leaf: kind === LEAF,
        malformed: kind !== NOT_PRESENT && kind !== LEAF && kind !== MISSING,
      },
    });
    if (kind !== MISSING) {
      // What remains is decided by this entry: the walker makes the result of it.
      walkFrom(step, cache, mmu, words, base, -1, undefined, level, rights, lo, hi);
      if (step.kind !== LEAF) return { steps, result: unmapped(mmu, virtual, faultOfStep(step), entry) };
      const low = step.addressLo | (lo & (mmu.offsetLo[level] as number));
      const high = step.addressHi | (hi & (mmu.offsetHi[level] as number));
      return {
        steps,
        result: {
          virtual,
          physical: (high >>> 0) * HIGH + (low >>> 0),
          pageSize: mmu.size[level] as number,
          ...rightsFields(step.rights),
        },
      };
    }
    rights &= own;
    table = ((entryHi & mmu.tableAddressHi) >>> 0) * HIGH + ((entryLo & mmu.tableAddressLo) >>> 0);
  }
}
