/** From physical memory back: every virtual address that maps it, in one address space or in many. */
import type { Routine, Sink } from "../../io/index.js";
import type { CompiledMmu } from "../formats/mmu.js";
import { type Rights, rightsFields } from "../formats/rights.js";
import type { PageTableIo } from "../page-table-io.js";
import type { Root } from "../tables/root.js";
import { findTargets } from "./find-targets.hot.js";
import { RunPass, Visits } from "./maps.js";
import type { Targets } from "./reverse-targets.js";
import { type BrokenRun, RUN_ROWS, RunColumns } from "./run-columns.js";
import { kindOfRow, SWAPPED_OUT } from "./run-pages.js";
import { sharedParts } from "./shared-parts.js";

/** Which address spaces a result holds for. */
export interface InRoots {
  /** Physical address of the top table (or of both); of several spaces, the first one's. */
  readonly root: Root;
  /** All of them, in the order in which the spaces were given. */
  readonly roots: readonly Root[];
}

/** Virtual memory that maps what was asked for. */
export interface ReverseMapping extends Rights, InRoots {
  /** Of the first byte. */
  readonly virtual: bigint;
  /** Of the first byte: an address that was asked for, or where (a part of) a range begins. */
  readonly physical: number;
  /** Bytes: 1 for an address; for a range, as far as it is contiguous in both and of one page size and set of rights. */
  readonly length: number;
  readonly pageSize: number;
  readonly state?: undefined;
}

/** A result of `VirtualMemory.reverse`: a mapping, or a range of virtual addresses of which it can't be told. */
export type ReverseResult = ReverseMapping | (BrokenRun & InRoots);

/** The routine of `VirtualMemory.reverse`. @param from First page number. @param to Last one, exclusive. */
export function* reverseRoutine(
  sink: Sink<ReverseResult>,
  io: PageTableIo,
  targets: Targets,
  from: number,
  to: number,
): Routine<void> {
  const pass = new RunPass(io, from, to, new RunColumns(io.mmu, RUN_ROWS));
  yield* search(sink, pass, targets, [io.root]);
}

/** The routine of `findMappings`. */
export function* findMappingsRoutine(
  sink: Sink<ReverseResult>,
  spaces: readonly PageTableIo[],
  targets: Targets,
): Routine<void> {
  const columns = new Map<CompiledMmu, RunColumns>();
  let before: PageTableIo | undefined;
  let visits = new Visits();
  for (const { from, to, members } of yield* sharedParts(spaces)) {
    const io = spaces[members[0] as number] as PageTableIo;
    // (All parts that are visited through one space follow each other.)
    if (io !== before) visits = new Visits();
    before = io;
    const runs = columns.get(io.mmu) ?? new RunColumns(io.mmu, RUN_ROWS);
    columns.set(io.mmu, runs);
    const roots = members.map((member) => (spaces[member] as PageTableIo).root);
    yield* search(sink, new RunPass(io, from, to, runs, visits), targets, roots);
  }
}

/** One pass, for all that is looked for. */
function* search(
  sink: Sink<ReverseResult>,
  pass: RunPass,
  targets: Targets,
  roots: readonly Root[],
): Routine<void> {
  const { runs } = pass;
  const { starts, ends } = targets;
  const root = roots[0] as Root;
  while (yield* pass.next()) {
    for (
      let row = findTargets(runs, 0, targets);
      row < runs.length;
      row = findTargets(runs, row + 1, targets)
    ) {
      const start = runs.physical[row] as number;
      if (start < 0) {
        // What is swapped out has no physical address.
        if (kindOfRow(runs, row) === SWAPPED_OUT) continue;
        yield sink.emit({ ...(runs.row(row) as BrokenRun), root, roots });
        continue;
      }
      const end = start + (runs.lengths[row] as number);
      const virtual = runs.starts[row] as bigint;
      const pageSize = runs.pageSize(row);
      const rights = rightsFields(runs.rights[row] as number);
      for (let i = targets.indexAfter(start); i < targets.length && (starts[i] as number) < end; i++) {
        const physical = Math.max(start, starts[i] as number);
        const length = Math.min(end, ends[i] as number) - physical;
        yield sink.emit({
          virtual: virtual + BigInt(physical - start),
          physical,
          length,
          pageSize,
          ...rights,
          root,
          roots,
        });
      }
    }
  }
}
