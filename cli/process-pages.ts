/** Where the pages of a process are, as its system tells them. */
import type { Machine, PageFrame, ProcessPage, ProcessSource } from "../connectors/connectors.js";
import { hex } from "./render/numbers.js";

/** How many pages of a mapping are what. */
export interface PageCounts {
  present: number;
  swapped: number;
  /** Of the present ones: no other process maps them. */
  exclusive: number;
  softDirty: number;
}

/** The process that is open; `undefined` where the target is something else. */
export function processOf(machine: Machine): ProcessSource | undefined {
  const { source } = machine.source;
  return "pages" in source && "threads" in source ? (source as ProcessSource) : undefined;
}

/** Counts the pages of a range. @throws {ConnectorError} where the system does not tell. */
export function countPages(
  process: ProcessSource,
  range: { readonly start: bigint; readonly end: bigint },
): PageCounts {
  const counts = { present: 0, swapped: 0, exclusive: 0, softDirty: 0 };
  for (const page of process.pages(range)) {
    if (page.state === "present") counts.present++;
    if (page.state === "swapped") counts.swapped++;
    if (page.exclusive && page.state === "present") counts.exclusive++;
    if (page.softDirty && page.state !== "none") counts.softDirty++;
  }
  return counts;
}

/** The page at an address, and what is known of its frame. */
export interface PageAt {
  readonly page: ProcessPage;
  /** Of the byte; `undefined` where it is not in memory or nobody tells. */
  readonly physical: number | undefined;
  readonly frame: PageFrame | undefined;
}

/** @returns `undefined` where nothing is mapped, or the system does not tell. */
export function pageAt(process: ProcessSource, address: bigint): PageAt | undefined {
  try {
    for (const page of process.pages({ start: address, end: address + 1n })) {
      const { physical } = page;
      if (physical === undefined) return { page, physical, frame: undefined };
      return { page, physical: physical + Number(address - page.address), frame: process.frame(physical) };
    }
  } catch {
    // It may be told of no page; the mapping is known all the same.
  }
  return undefined;
}

/** What comes behind a translated address. */
export function pageText({ page, physical, frame }: PageAt): string {
  if (page.state === "none") return page.guard ? "guard region" : "not in memory yet";
  if (page.swap !== undefined) return `swapped out: area ${page.swap.area}, slot ${hex(page.swap.slot)}`;
  if (page.state === "swapped") return "swapped out";
  if (physical === undefined) return "in memory";
  const words = [...(frame?.flags ?? [])];
  if (frame?.mapCount !== undefined) words.push(`map count ${frame.mapCount}`);
  return `physical ${hex(physical)}${words.length === 0 ? "" : ` (${words.join(", ")})`}`;
}

/** The same for programs. */
export function pageJson({ page, physical, frame }: PageAt): Record<string, unknown> {
  const { state, swap, softDirty, exclusive, file, writeProtected, guard } = page;
  return {
    page: state,
    ...(physical === undefined ? {} : { physical: hex(physical) }),
    ...(swap === undefined ? {} : { swapArea: swap.area, swapSlot: hex(swap.slot) }),
    softDirty,
    exclusive,
    ofFile: file,
    ...(writeProtected ? { writeProtected } : {}),
    ...(guard ? { guard } : {}),
    ...(frame === undefined ? {} : { flags: frame.flags, mapCount: frame.mapCount }),
  };
}
