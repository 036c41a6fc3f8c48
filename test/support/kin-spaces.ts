/**
 * Address spaces of one machine that share some of their tables and differ in others, for questions about whole spaces;
 * and what the reference walker says of them, page by page.
 */
import { Scheduler } from "../../src/io/index.js";
import { VirtualMemory } from "../../src/paging/index.js";
import { DummyMachine } from "./dummy-machine.js";
import { type ReferenceRun, maps as referenceMaps } from "./reference-walker.js";

/** A machine, and the roots in it. */
export interface KinSpaces {
  readonly machine: DummyMachine;
  readonly roots: readonly number[];
  readonly spaces: readonly VirtualMemory[];
}

/** Where pages are put: close to each other, so that runs touch, and around the places where words carry. */
const BASES = [0n, 0x1f_f000n, 0x7fff_ffe0_0000n, 0xffff_8880_0000_0000n, 0xffff_ffff_ffe0_0000n];

/**
 * `count` roots. The upper half comes from the first one, entry by entry, but for a few that are changed; the lower half
 * is each one's own, with many pages like those of the first. Some tables are lost, and some entries malformed.
 */
export function kinSpaces(seed: number, count: number): KinSpaces {
  const machine = new DummyMachine({ seed, frames: 400, base: 0x1_0000_0000 });
  const { random } = machine;
  const roots = [machine.root, ...Array.from({ length: count - 1 }, () => machine.frame())];
  const frames = Array.from({ length: 12 }, (_, i) => 2 ** 32 - 6 * 4096 + i * 4096);
  const rights = () => [1n, 3n, 5n, 7n, 0x107n][random() % 5] as bigint;
  const noExecute = () => (random() % 3 === 0 ? 1n << 63n : 0n);
  /** Where the entry of an address belongs, unless a large page or a lost table is there. */
  const slot = (at: bigint, level: number, root: number): number | undefined => {
    const above = machine.readEntry(machine.entryAt(at, 2, root));
    if (level === 1 && (above & 0x81n) === 0x81n) return undefined;
    if (level === 2 && (above & 1n) === 1n) return undefined;
    return machine.entryAt(at, level, root);
  };
  const put = (root: number, base: bigint) => {
    let at = base + 4096n * BigInt(random() % 16);
    let frame = random() % frames.length;
    let bits = rights() | noExecute();
    for (let i = random() % 24; i > 0; i--) {
      if (random() % 6 === 0) bits = rights() | noExecute();
      if (random() % 4 === 0) frame = random();
      const level = random() % 16 === 0 && at % 0x20_0000n === 0n ? 2 : 1;
      const entry = slot(at, level, root);
      if (entry === undefined) break;
      if (level === 2) machine.writeEntry(entry, 0x4000_0000n * BigInt(random() % 2) + 0x80n + bits);
      else if (random() % 8 !== 0)
        machine.writeEntry(entry, BigInt(frames[frame++ % frames.length] as number) | bits);
      at += level === 2 ? 0x20_0000n : 4096n;
      if (at >= base + 0x20_0000n) break;
    }
  };
  for (const base of BASES) put(machine.root, base);
  for (const root of roots.slice(1)) {
    for (let index = 256; index < 512; index++) {
      if (random() % 128 !== 0)
        machine.writeEntry(root + 8 * index, machine.readEntry(machine.root + 8 * index));
    }
    for (const base of BASES) {
      if (base >= 1n << 63n) {
        // A kernel half of its own, of which the rest is the first one's.
        if (random() % 4 === 0) {
          machine.writeEntry(root + 8 * 300, 0n);
          put(root, 0xffff_9600_0000_0000n);
        }
        continue;
      }
      // Like the first one's, but for what is put there afterwards.
      for (let page = 0n; page < 40n; page++) {
        const at = base + page * 4096n;
        const large = machine.entryAt(at, 2);
        const level = (machine.readEntry(large) & 0x81n) === 0x81n ? 2 : 1;
        const to = slot(at, level, root);
        if (to === undefined) break;
        machine.writeEntry(to, machine.readEntry(machine.entryAt(at, level)));
      }
      if (random() % 2 === 0) put(root, base);
    }
  }
  if (random() % 3 === 0)
    machine.writeEntry(machine.entryAt(0x8000_0000n, 2, roots[random() % count]), 0x2083n);
  if (random() % 3 === 0) {
    const table = machine.frame();
    machine.writeEntry(machine.entryAt(0x9000_0000n, 2, roots[random() % count]), BigInt(table) | 7n);
    machine.lose(table);
  }
  if (random() % 12 === 0) machine.lose(roots[random() % count] as number, random() % 2 === 0 ? 4096 : 512);
  const physical = machine.inlineIo(new Scheduler());
  return { machine, roots, spaces: roots.map((root) => new VirtualMemory(physical, { root })) };
}

/** The reference's runs of a root. */
export function referenceRuns({ machine }: KinSpaces, root: number): ReferenceRun[] {
  return referenceMaps(machine.reader(), BigInt(root));
}

/** A page of 4 KiB, or a part of a larger one, as the reference says. */
export interface ReferencePage {
  readonly physical: number;
  readonly pageSize: number;
  readonly writable: boolean;
  readonly user: boolean;
  readonly executable: boolean;
}

/** Page by page: what is mapped, or the run that is broken there. Broken runs of 512 pages at most are taken apart. */
export function referencePages(runs: readonly ReferenceRun[]): Map<bigint, ReferencePage | ReferenceRun> {
  const pages = new Map<bigint, ReferencePage | ReferenceRun>();
  for (const run of runs) {
    for (let at = run.start; at < run.end; at += 4096n) {
      if ("state" in run) {
        pages.set(at, run);
        if (run.end - run.start > 0x20_0000n) break;
        continue;
      }
      const { writable, user, executable } = run;
      const physical = Number(run.physical + at - run.start);
      pages.set(at, { physical, pageSize: Number(run.pageSize), writable, user, executable });
    }
  }
  return pages;
}
