/**
 * In which order RAM is scanned for VMCOREINFO: likely places first, everything in the end.
 *
 * The kernel takes the pages of the text and of the note late in its boot (crash_save_vmcoreinfo_init, a subsys_initcall in
 * kernel/vmcore_info.c, before in kernel/crash_core.c), by get_zeroed_page(GFP_KERNEL) and alloc_pages_exact: from the highest
 * zone that has room. Since Linux 5.10 (7fef431be9c9, "mm/page_alloc: place pages to tail in __free_pages_core()"), the
 * allocator begins with the lowest addresses of a zone; before, with its highest. A page above 4 GiB is of the zone Normal of a
 * 64-bit machine, one below of DMA32 or of the only zone there is.
 *
 * Where the first of the two pages lay, of the machines of `fixtures/vm` (distances in MiB from the start of that zone's RAM):
 *
 * | machine | RAM | page |
 * | --- | --- | --- |
 * | x86-64, 6.1 | 112 MiB | 69 |
 * | x86-64, 6.1 | 256 MiB | 25 |
 * | x86-64, 6.1 | 1 GiB | 19 |
 * | x86-64, 6.1 | 3 GiB and 1 GiB from 4 GiB on | 8 from 4 GiB on |
 * | i386, with and without PAE, 6.1 | 128 MiB | 18 |
 * | arm64, 6.1 | 160 MiB, 1 GiB | 35, 131 |
 * | arm64 with pages of 16 KiB, 6.12 | 320 MiB | 134 |
 * | riscv64, 6.12 | 192 MiB | 190: 2 from its end |
 */
import type { PhysicalMap } from "../../memory/physical-map.js";

/** A range of physical addresses, `end` exclusive. */
export interface ScanWindow {
  readonly start: number;
  readonly end: number;
}

/** Where the zone Normal of a 64-bit machine begins: MAX_DMA32_PFN (arch/x86/include/asm/dma.h), zone_sizes_init of arm64. */
const ABOVE_DMA32 = 2 ** 32;
/**
 * How far from both ends of a zone to look, one round after the other: so a text at a distance `d` of 16 MiB to 1 GiB is found
 * before `16 * d` bytes are read, however large the memory is.
 */
const ROUNDS: readonly number[] = [2 ** 26, 2 ** 28, 2 ** 30];

/**
 * The parts of memory in the order in which they are scanned: disjoint, and together all that a map has. There are no more than
 * 14 of them.
 *
 * @param unit Bytes, a power of two: all of them begin and end at its multiples.
 */
export function scanWindows(map: PhysicalMap, unit: number): ScanWindow[] {
  const zones = zonesOf(map, unit);
  const windows: ScanWindow[] = [];
  for (const size of ROUNDS) {
    for (const { start, end } of zones) add(windows, start, Math.min(start + size, end));
    for (const { start, end } of zones) add(windows, Math.max(end - size, start), end);
  }
  for (const { start, end } of zones) add(windows, start, end);
  return windows;
}

/** From the first byte to the last that the two zones have, the higher zone first. One without RAM is left out. */
function zonesOf(map: PhysicalMap, unit: number): ScanWindow[] {
  const first = map.nextInside(0);
  if (first === undefined) return [];
  const down = (address: number) => address - (address % unit);
  const up = (address: number) => down(address + unit - 1);
  const zones: ScanWindow[] = [];
  const above = map.nextInside(ABOVE_DMA32);
  if (above !== undefined) zones.push({ start: down(above), end: up(map.end) });
  if (first < ABOVE_DMA32) {
    let end = 0;
    for (const range of map.ranges()) {
      if (range.start >= ABOVE_DMA32) break;
      if (range.state === "present") end = Math.min(range.end, ABOVE_DMA32);
    }
    if (end > 0) zones.push({ start: down(first), end: up(end) });
  }
  return zones;
}

/** Adds what of a range none of the windows has yet. */
function add(windows: ScanWindow[], start: number, end: number): void {
  const known = [...windows].sort((a, b) => a.start - b.start);
  let at = start;
  for (const window of known) {
    if (window.end <= at || window.start >= end) continue;
    if (window.start > at) windows.push({ start: at, end: window.start });
    at = window.end;
  }
  if (at < end) windows.push({ start: at, end });
}

/** A part of a window that is present. */
export interface ScanPiece extends ScanWindow {
  /** Whether it is known to be zero: then it may be longer than a piece is. */
  readonly zero: boolean;
}

/**
 * The pieces of a window that are present, ascending, none of which goes across a multiple of `unit`.
 *
 * @param from Where the map is taken from. It may be exchanged, for one of the same memory, between two pieces.
 */
export function* scanPieces(
  from: { readonly map: PhysicalMap },
  window: ScanWindow,
  unit: number,
): Generator<ScanPiece, void, void> {
  let at = window.start;
  again: while (at < window.end) {
    const { map } = from;
    for (const range of map.ranges()) {
      if (range.start >= window.end) break;
      if (range.end <= at || range.state !== "present") continue;
      const stop = Math.min(range.end, window.end);
      let start = Math.max(range.start, at);
      while (start < stop) {
        const end = range.zero === true ? stop : Math.min(stop, start - (start % unit) + unit);
        yield { start, end, zero: range.zero === true };
        start = end;
        at = end;
        if (from.map !== map) continue again;
      }
    }
    return;
  }
}
