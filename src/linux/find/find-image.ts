/**
 * Finds a kernel's image in an address space of which nothing is known but its page tables: for kernels without VMCOREINFO.
 *
 * An image is mapped where the architecture has it, its text may be executed by the kernel, and it holds the banner
 * (init/version.c, `linux_banner`).
 */
import type { Routine } from "../../io/index.js";
import { decodeLatin1 } from "../../memory/text.js";
import { KERNEL_EXECUTABLE, USER } from "../../paging/formats/rights.js";
import type { RunColumns } from "../../paging/maps/run-columns.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import { findBytes, type ImageRange } from "./image-search.js";

/** An image, as page tables map it. */
export interface FoundImage {
  /** Where it is mapped; what lies between its parts is not mapped, or no part of it. */
  readonly range: ImageRange;
  /** Virtual addresses of its banner, ascending: one, or a second that nothing uses (a weak symbol's, since 6.1). */
  readonly banners: readonly bigint[];
  /** Such as "6.1.0-56-cloud-amd64". */
  readonly release: string;
}

/** Parts of an image are no further from each other: what is thrown away once a kernel has started is unmapped (arm64). */
const GAP = 16n << 20n;
/** Less text than this is no kernel's, but a module's. */
const LEAST_TEXT = 1n << 20n;
/** Runs of mappings that are looked at: those of a kernel's vmalloc area may be many. */
const MAX_RUNS = 1 << 20;
/** Groups of mappings in which the banner is looked for. */
const MAX_GROUPS = 8;
/** Places where its text is; copies of it may be in the log. */
const MAX_BANNERS = 8;
const BANNER_BYTES = Uint8Array.from("Linux version ", (letter) => letter.charCodeAt(0));
/** The banner's beginning: the longest releases have 64 characters (include/linux/utsname.h). */
const BANNER_LENGTH = 512;

/** Mappings near to each other. */
interface Group {
  readonly start: bigint;
  end: bigint;
  /** Bytes that the kernel may execute. */
  text: bigint;
}

/** Finds it. @param area Where the architecture has images. */
export function* findImage(memory: VirtualMemory, area: ImageRange): Routine<FoundImage | undefined> {
  const groups = yield* groupsIn(memory, area);
  const likely = groups.filter(({ text }) => text >= LEAST_TEXT).sort((a, b) => (a.text > b.text ? -1 : 1));
  for (const { start, end } of likely.slice(0, MAX_GROUPS)) {
    const banners: bigint[] = [];
    let release: string | undefined;
    let from = start;
    // (The text also begins messages that are no banner.)
    for (let tries = 0; tries < MAX_BANNERS; tries++) {
      const at = yield* findBytes(memory, [{ start: from, end }], BANNER_BYTES);
      if (at === undefined) break;
      const found = releaseOf(yield* readText(memory, at));
      if (found !== undefined) banners.push(at);
      release ??= found;
      from = at + 1n;
    }
    if (release !== undefined) return { range: { start, end }, banners, release };
  }
  return undefined;
}

function* groupsIn(memory: VirtualMemory, { start, end }: ImageRange): Routine<Group[]> {
  const groups: Group[] = [];
  let columns: RunColumns | undefined;
  let looked = 0;
  for (let at = start; at < end && looked < MAX_RUNS; at = columns.end) {
    columns = yield* memory.runs({ start: at, end }, columns);
    looked += columns.length;
    for (let i = 0; i < columns.length; i++) {
      const rights = columns.rights[i] as number;
      if (columns.faults[i] !== 0 || (rights & USER) !== 0) continue;
      const first = columns.starts[i] as bigint;
      const behind = first + BigInt(columns.lengths[i] as number);
      let group = groups.at(-1);
      if (group === undefined || first - group.end > GAP) {
        group = { start: first, end: behind, text: 0n };
        groups.push(group);
      }
      group.end = behind;
      if ((rights & KERNEL_EXECUTABLE) !== 0) group.text += behind - first;
    }
    if (columns.end <= at) break;
  }
  return groups;
}

/** A text's beginning; "" where it can't be read. */
export function* readText(memory: VirtualMemory, at: bigint): Routine<string> {
  const { bytes, holes } = yield* memory.readPartial(at, BANNER_LENGTH);
  return decodeLatin1(bytes, 0, holes[0]?.start ?? bytes.length);
}

/** The release of a banner: "Linux version 6.1.0 (user@host) (compiler) #1 SMP …". */
export function releaseOf(text: string): string | undefined {
  return /^Linux version (\d+\.[!-~]{1,62}) \(/.exec(text)?.[1];
}
