/**
 * Which mapping of QEMU's process is which memory backend, where nobody can be asked.
 *
 * By what QEMU leaves in /proc/PID/maps (util/mmap-alloc.c, backends/hostmem-*.c): a block is a mapping of exactly its size with a page
 * without rights behind it. One of a file has that file's path, one of a memfd the name `memory-backend-memfd`, and a file that
 * QEMU made in a folder is called `qemu_back_mem.ID.XXXXXX`.
 */
import { hex } from "../../src/io/index.js";
import type { ProcessMap } from "../proc/maps.js";
import type { QemuCommandLine } from "./command-line.js";
import type { Block } from "./ram-layout.js";

/** Where a block is: one or more mappings that follow each other. */
export interface HostBlock extends Block {
  /** Address of its first byte in the process. */
  readonly address: number;
}

/** More than one mapping could be a block, or none. */
export class NoSuchMapping extends Error {}

/** A stretch of the process's memory that could be a block's. */
interface Candidate {
  readonly start: number;
  readonly size: number;
  readonly path: string;
  /** Whether a page without rights follows, as behind every block. */
  readonly guarded: boolean;
}

const NAMES_LIMIT = 12;

/**
 * Finds every block.
 *
 * @param pathOf Makes a path of the command line one of `maps`: absolute, without links.
 * @throws {NoSuchMapping} for a block that no mapping or several could be, with those that there are.
 */
export function findBlocks(
  blocks: readonly Block[],
  line: QemuCommandLine,
  maps: readonly ProcessMap[],
  pathOf: (path: string) => string,
): HostBlock[] {
  const found = blocks.map((block) => {
    const fitting = fittingOf(block, line, maps, pathOf);
    const guarded = fitting.filter((one) => one.guarded);
    const best = guarded.length > 0 ? guarded : fitting;
    const [only] = best;
    if (only !== undefined && best.length === 1) return { ...block, address: only.start };
    throw new NoSuchMapping(
      `${blockName(block)} (${hex(block.size)} bytes) ${
        only === undefined
          ? `is none of the process's mappings; of its size or larger there are ${listText(largeOf(maps, block.size))}`
          : `could be any of ${best.length} mappings: ${listText(best)}`
      }`,
    );
  });
  for (const [i, { address }] of found.entries()) {
    const other = found.findIndex((block) => block.address === address);
    if (other !== i) {
      throw new NoSuchMapping(
        `${blockName(found[other] as Block)} and ${blockName(found[i] as Block)} could both be the mapping at ${hex(address)}`,
      );
    }
  }
  return found;
}

function blockName({ backend }: Block): string {
  return backend === undefined ? "RAM" : `the memory backend ${backend}`;
}

function fittingOf(
  block: Block,
  line: QemuCommandLine,
  maps: readonly ProcessMap[],
  pathOf: (path: string) => string,
): Candidate[] {
  const backend = block.backend === undefined ? undefined : line.backends.get(block.backend);
  if (backend?.kind === "other") {
    throw new NoSuchMapping(`${blockName(block)} is of a kind that memtool can't find in the process`);
  }
  if (backend?.kind === "memfd") return runsOf(maps, block.size, isMemfd);
  const folder = backend?.kind === "file" ? backend.path : backend === undefined ? line.ramPath : undefined;
  if (folder === undefined) return runsOf(maps, block.size, isAnonymous);
  const path = pathOf(folder);
  const ofId = `${path}/qemu_back_mem.`;
  const id = block.backend?.replaceAll("/", "_");
  return runsOf(maps, block.size, (map) => {
    const own = map.path.replace(/ \(deleted\)$/, "");
    if (own === path) return true;
    return own.startsWith(ofId) && (id === undefined || own.slice(ofId.length).includes(id));
  });
}

function isMemfd({ path }: ProcessMap): boolean {
  return path.startsWith("/memfd:memory-backend-memfd");
}

function isAnonymous({ path, executable, shared }: ProcessMap): boolean {
  // (`share=on` of a backend in RAM is an anonymous shared mapping, which the system calls /dev/zero.)
  return !executable && (shared ? path.startsWith("/dev/zero") : path === "" || path.startsWith("[anon:"));
}

/** Every run of mappings, each beginning where the one before ends, of exactly that size. */
function runsOf(maps: readonly ProcessMap[], size: number, is: (map: ProcessMap) => boolean): Candidate[] {
  const found: Candidate[] = [];
  for (let first = 0; first < maps.length; first++) {
    const map = maps[first] as ProcessMap;
    if (!isUsable(map) || !is(map)) continue;
    for (let last = first; last < maps.length; last++) {
      const end = maps[last] as ProcessMap;
      if (last > first && !(isUsable(end) && is(end) && continues(maps[last - 1] as ProcessMap, end))) break;
      const length = Number(end.end - map.start);
      if (length > size) break;
      if (length < size) continue;
      const next = maps[last + 1];
      const guarded = next !== undefined && next.start === end.end && !next.readable && !next.writable;
      found.push({ start: Number(map.start), size, path: map.path, guarded });
    }
  }
  return found;
}

function isUsable({ readable, writable }: ProcessMap): boolean {
  return readable && writable;
}

function continues(before: ProcessMap, map: ProcessMap): boolean {
  if (before.end !== map.start || before.path !== map.path || before.shared !== map.shared) return false;
  return map.path === "" || map.offset === before.offset + (before.end - before.start);
}

function largeOf(maps: readonly ProcessMap[], size: number): Candidate[] {
  return maps
    .filter((map) => isUsable(map) && Number(map.end - map.start) >= size)
    .map((map) => ({
      start: Number(map.start),
      size: Number(map.end - map.start),
      path: map.path,
      guarded: false,
    }));
}

function listText(candidates: readonly Candidate[]): string {
  if (candidates.length === 0) return "none";
  const shown = candidates
    .slice(0, NAMES_LIMIT)
    .map(({ start, size, path }) => `${hex(start)} (${hex(size)} bytes${path === "" ? "" : `, ${path}`})`);
  const more = candidates.length - shown.length;
  return shown.join(", ") + (more > 0 ? ` and ${more} more` : "");
}
