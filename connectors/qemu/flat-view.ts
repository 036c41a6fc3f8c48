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

const LINE = /^ {2}([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ([^)]*)\): /;
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
  const ranges: FlatRange[] = [];
  let isInside = false;
  let end = 0;
  for (const line of linesOf(text)) {
    if (!isInside) isInside = SPACE.exec(line)?.[1] === "memory";
    else if (line === "" || line.startsWith("FlatView") || ranges.length === MAX_RANGES) break;
    else {
      const range = parseLine(line);
      if (range === undefined || range.start < end) continue;
      end = range.end;
      const { kind } = range;
      if (kind === "ram" || kind === "rom" || kind === "romd") ranges.push({ ...range, kind });
    }
  }
  return isInside ? ranges : undefined;
}

/** (A monitor that lies may send millions of lines, so they are not kept.) */
function* linesOf(text: string): Generator<string, void, void> {
  for (let from = 0; from <= text.length; ) {
    const newline = text.indexOf("\n", from);
    const end = newline < 0 ? text.length : newline;
    yield text.slice(from, text[end - 1] === "\r" && end > from ? end - 1 : end);
    from = end + 1;
  }
}

function parseLine(line: string): (Omit<FlatRange, "kind"> & { readonly kind: string }) | undefined {
  const match = LINE.exec(line);
  if (match === null) return undefined;
  const [head, first, last, kind = ""] = match;
  const { name, offset } = parseRegion(line.slice(head.length));
  const range = { start: Number(`0x${first}`), end: Number(`0x${last}`) + 1, kind, name, offset };
  if (range.end <= range.start || range.end > Number.MAX_SAFE_INTEGER) return undefined;
  return Number.isSafeInteger(offset) ? range : undefined;
}

/**
 * `pc.ram @00000000000c0000 KVM [owner]`, where all but the name may be missing. From its end, each part once: a name may hold what
 * looks like any of the others.
 */
function parseRegion(text: string): { readonly name: string; readonly offset: number } {
  let rest = text;
  if (rest.endsWith("]")) {
    const owner = rest.indexOf(" [", rest.lastIndexOf("]", rest.length - 2) + 1);
    if (owner >= 0) rest = rest.slice(0, owner);
  }
  if (rest.endsWith(" KVM")) rest = rest.slice(0, -4);
  const offset = /^ @([0-9a-f]{16})$/.exec(rest.slice(-18))?.[1];
  return offset === undefined
    ? { name: rest, offset: 0 }
    : { name: rest.slice(0, -18), offset: Number(`0x${offset}`) };
}

/** Where the monitor's `gpa2hva` says that a physical address is in QEMU's memory; `undefined` where it says no such thing. */
export function parseGpa2hva(text: string): bigint | undefined {
  const digits = /^Host virtual address for 0x[0-9a-f]+ \(.*\) is 0x([0-9a-f]{1,16})\s*$/.exec(
    text.trim(),
  )?.[1];
  return digits === undefined ? undefined : BigInt(`0x${digits}`);
}
