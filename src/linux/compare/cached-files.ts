/** Which cached files' pages are not what they were. */
import { all, IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import type { CachedFile, FileRange } from "../pagecache/cached-file.js";
import { cachedFileMemory } from "../pagecache/file-bytes.js";
import { listCachedFiles } from "../pagecache/list-cached-files.js";
import { type CompareOptions, changedFields, type Difference, onSide } from "./difference.js";
import { KernelPair } from "./pair.js";

const PAGE = 4096;
/** Bytes that are compared at a time. */
const PIECE = 1 << 18;
/** Ranges of a file that are told. */
const SHOWN = 64;

/** A cached file whose pages are not the same. */
export interface ChangedFile {
  readonly file: CachedFile;
  /** Bytes of it whose pages are not the same, ascending; those of the first 64 runs of pages. */
  readonly ranges: readonly FileRange[];
  /** Pages of 4 KiB that differ, and that both have. */
  readonly pages: number;
  readonly compared: number;
}

/**
 * Files that are cached in both, and of which a page is not the same, or the size. A page that only one has in memory is not compared:
 * that it is cached says nothing of the file. A file is known by its inode; in two boots, by its path.
 */
export function diffCachedFiles(
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions = {},
): IoSequence<Difference<ChangedFile>> {
  return IoSequence.of(before.memory.scheduler, cachedRoutine, before, after, options);
}

function* cachedRoutine(
  sink: Sink<Difference<ChangedFile>>,
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions,
): Routine<void> {
  const pair = yield* KernelPair.of(before, after, options);
  yield* cachedFilesOf(sink, pair);
  pair.damage.end();
}

/** @internal */
export function* cachedFilesOf(sink: Sink<Difference<ChangedFile>>, pair: KernelPair): Routine<void> {
  const [first, second] = pair.kernels;
  const known = new Map<string, CachedFile>();
  const list = listCachedFiles(first, { onDamage: pair.damage.of("first") });
  const files = yield* onSide("first", list.toArray());
  for (const file of files) {
    const key = keyOf(pair, file);
    if (key !== undefined) known.set(key, file);
  }
  let compared = 0;
  let onlyOne = 0;
  let unread = 0;
  const others = listCachedFiles(second, { onDamage: pair.damage.of("second") }).cursor();
  try {
    for (;;) {
      const next = yield* onSide("second", others.next());
      if (next.done === true) break;
      const after = next.value;
      const key = keyOf(pair, after);
      const before = key === undefined ? undefined : known.get(key);
      if (key === undefined || before === undefined) {
        onlyOne += pagesOf(after.ranges);
        continue;
      }
      known.delete(key);
      const { unread: missing, ...found } = yield* compareFile(pair, before, after);
      compared += found.compared;
      unread += missing;
      onlyOne += pagesOf(before.ranges) + pagesOf(after.ranges) - 2 * (found.compared + missing);
      const fields = changedFields(
        { size: before.size, deleted: before.deleted },
        { size: after.size, deleted: after.deleted },
      );
      const { pages } = found;
      if (fields.length === 0 && pages === 0) continue;
      yield sink.emit({
        kind: "cached-file",
        change: "changed",
        what: after.path ?? `inode ${after.inode ?? "?"} of ${after.device ?? "?"}`,
        pid: null,
        before: { ...found, file: before },
        after: { ...found, file: after },
        fields,
        note: pages === 0 ? null : `${pages} of ${found.compared} pages that both have: ${textOf(found)}`,
      });
    }
  } finally {
    yield* others.end();
  }
  for (const file of known.values()) onlyOne += pagesOf(file.ranges);
  const why = [
    ...(onlyOne > 0 ? [`${onlyOne} are in memory in only one`] : []),
    ...(unread > 0 ? [`${unread} are missing in a dump`] : []),
  ].join(", ");
  pair.options.onPart?.({ kind: "cached-file", compared, notCompared: onlyOne + unread, why });
}

function keyOf(
  pair: KernelPair,
  { address, inode, device, path, blockDevice }: CachedFile,
): string | undefined {
  if (pair.sameBoot) return `${address} ${inode} ${device}`;
  if (typeof blockDevice === "string") return `block device ${blockDevice}`;
  return path === undefined ? undefined : `${path} ${device}`;
}

/** Compares the pages that both have; those of which the bytes are missing in one are `unread`. */
function* compareFile(
  pair: KernelPair,
  before: CachedFile,
  after: CachedFile,
): Routine<{ ranges: FileRange[]; pages: number; compared: number; unread: number }> {
  const memories = [
    cachedFileMemory(pair.kernels[0], before),
    cachedFileMemory(pair.kernels[1], after),
  ] as const;
  const ranges: { start: number; end: number }[] = [];
  let pages = 0;
  let compared = 0;
  let unread = 0;
  for (const range of shared(before.ranges, after.ranges)) {
    for (let at = range.start; at < range.end; ) {
      const end = Math.min(range.end, at - (at % PIECE) + PIECE);
      const [one, other] = yield* all([
        memories[0].readPartial(at, end - at),
        memories[1].readPartial(at, end - at),
      ]);
      const holes = [...one.holes, ...other.holes];
      for (let page = at; page < end; ) {
        const next = Math.min(end, page - (page % PAGE) + PAGE);
        const [from, to] = [page - at, next - at];
        const [start, stop] = [page, next];
        page = next;
        if (holes.some((hole) => hole.start < to && hole.end > from)) {
          unread++;
          continue;
        }
        compared++;
        if (isSame(one.bytes, other.bytes, from, to)) continue;
        pages++;
        const last = ranges.at(-1);
        if (last?.end === start) last.end = stop;
        else if (ranges.length < SHOWN) ranges.push({ start, end: stop });
      }
      at = end;
    }
  }
  return { ranges, pages, compared, unread };
}

function isSame(a: Uint8Array, b: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** What lies in both lists of ranges. */
function* shared(a: readonly FileRange[], b: readonly FileRange[]): Generator<FileRange, void, void> {
  for (let i = 0, k = 0; i < a.length && k < b.length; ) {
    const one = a[i] as FileRange;
    const other = b[k] as FileRange;
    const start = Math.max(one.start, other.start);
    const end = Math.min(one.end, other.end);
    if (start < end) yield { start, end };
    if (one.end < other.end) i++;
    else k++;
  }
}

function pagesOf(ranges: readonly FileRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / PAGE), 0);
}

/** Ranges that a sentence tells. */
const LISTED = 4;

function textOf({ ranges }: { readonly ranges: readonly FileRange[] }): string {
  const shown = ranges
    .slice(0, LISTED)
    .map(({ start, end }) => `0x${start.toString(16)}-0x${end.toString(16)}`);
  return ranges.length > LISTED ? `${shown.join(", ")} …` : shown.join(", ");
}
