/** The memory map that a guest's processors see, as QEMU's monitor prints it: `info mtree -f` (softmmu/memory.c, mtree_print_flatview). */

/** A stretch of physical addresses that QEMU's memory stands behind. */
export interface FlatRange {
  /** Physical address. */
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** `romd` is memory that is read as memory, and written through a device: flash. */
  readonly kind: "ram" | "rom" | "romd";
  /** Of the memory region: `pc.ram`, the id of a memory backend. */
  readonly name: string;
  /** In the region, bytes. */
  readonly offset: number;
}

const LINE =
  /^ {2}([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (ram|rom|romd|[^)]*)\): (.*?)(?: @([0-9a-f]{16}))?(?: KVM)?(?: \[[^\]]*\])?$/;
const SPACE = /^ AS "(.*)", root: /;
/** More ranges than a guest has; a text with more is not read on. */
const MAX_RANGES = 100_000;

/**
 * The ranges of the processors' address space (`AS "memory"`) that memory stands behind, ascending.
 *
 * @returns `undefined` for a text that holds no such address space. Lines of another form are skipped, and so are ranges that are
 *          before one that was there already, or that no physical address can be in.
 */
export function parseFlatView(text: string): FlatRange[] | undefined {
  const lines = text.split(/\r?\n/);
  const from = lines.findIndex((line) => SPACE.exec(line)?.[1] === "memory");
  if (from < 0) return undefined;
  const ranges: FlatRange[] = [];
  let end = 0;
  for (let i = from; i < lines.length && ranges.length < MAX_RANGES; i++) {
    const line = lines[i] as string;
    if (line === "" || line.startsWith("FlatView")) break;
    const match = LINE.exec(line);
    if (match === null) continue;
    const [, first = "", last = "", kind = "", name = "", offset = "0"] = match;
    const range = {
      start: Number(`0x${first}`),
      end: Number(`0x${last}`) + 1,
      offset: Number(`0x${offset}`),
    };
    if (range.start < end || range.end <= range.start || range.end > Number.MAX_SAFE_INTEGER) continue;
    if (!Number.isSafeInteger(range.offset)) continue;
    end = range.end;
    if (kind === "ram" || kind === "rom" || kind === "romd") ranges.push({ ...range, kind, name });
  }
  return ranges;
}

/** Where the monitor's `gpa2hva` says that a physical address is in QEMU's memory; `undefined` where it says no such thing. */
export function parseGpa2hva(text: string): bigint | undefined {
  const digits = /^Host virtual address for 0x[0-9a-f]+ \(.*\) is 0x([0-9a-f]{1,16})\s*$/.exec(
    text.trim(),
  )?.[1];
  return digits === undefined ? undefined : BigInt(`0x${digits}`);
}
