/**
 * Pages of a kdump dump that are marked as zero: makedumpfile and QEMU write one body of zeros, in front of all others,
 * and have the descriptors of all pages of zeros name it (`pd_zero` in makedumpfile.c and in QEMU's dump/dump.c).
 *
 * So a body that several pages share is looked at, wherever it lies; a page of zeros with a body of its own is a page
 * like any other. Writers append: a body that lies in front of the end of what came before it is shared.
 */
import { type Routine, readPartial } from "../../io/index.js";
import { type PageBitmap, PageBitmapBuilder } from "../bitmap.hot.js";
import type { KdumpLayout, KdumpPart } from "./kdump-layout.js";
import { DESCRIPTOR_SIZE, flagsOf, offsetOf, sizeOf, visitDescriptors } from "./kdump-page-desc.js";

/** Shared bodies of a file that are looked at. */
const MAX_BODIES = 256;

/** The bytes of a page in the file, as descriptors name them. */
interface Body {
  readonly size: number;
  readonly flags: number;
  /** Whether they are zeros; `undefined`: not looked at yet. */
  zero: boolean | undefined;
}

/** Bodies by file offset. */
type Bodies = Map<number, Body>;

/**
 * Whether the first body of a file is one of zeros: pages of zeros are then in the file, not left out of it. The first
 * page's body is that one or the next; if it is elsewhere, zeros behind the descriptors are only room that a writer left
 * for more of them.
 */
export function* storesZeros(layout: KdumpLayout, part: KdumpPart): Routine<boolean> {
  const { blockSize, littleEndian } = layout;
  const at = part.bodiesAt;
  const { bytes, holes } = yield* readPartial(part.file, part.descriptorsAt, DESCRIPTOR_SIZE);
  if (holes.length > 0) return false;
  const first = offsetOf(bytes, 0, littleEndian);
  if (first !== at && first !== at + blockSize) return false;
  return yield* isFirstBodyZero(layout, part);
}

function* isFirstBodyZero(layout: KdumpLayout, part: KdumpPart): Routine<boolean> {
  const body = { size: layout.blockSize, flags: 0, zero: undefined };
  return yield* isZeroBody(layout, part, part.bodiesAt, body);
}

/**
 * Finds pages that are marked as zero. Reads all descriptors, and again if there are shared bodies of zeros besides the
 * first one.
 *
 * @param lost Pages without data.
 */
export function* findZeroPages(layout: KdumpLayout, lost: PageBitmap | undefined): Routine<PageBitmap> {
  const { parts, stored } = layout;
  const zeros = new PageBitmapBuilder(stored.length);
  const found = new Map<KdumpPart, Bodies>();
  let again = false;
  for (const part of parts.list) {
    const bodies: Bodies = new Map();
    const first: Body = { size: layout.blockSize, flags: 0, zero: undefined };
    bodies.set(part.bodiesAt, first);
    first.zero = yield* isFirstBodyZero(layout, part);
    yield* markZeros(layout, part, bodies, lost, zeros, true);
    for (const [offset, body] of bodies) {
      if (body.zero !== undefined) continue;
      body.zero = yield* isZeroBody(layout, part, offset, body);
      again ||= body.zero;
    }
    found.set(part, bodies);
  }
  if (!again) return zeros.build();
  const all = new PageBitmapBuilder(stored.length);
  for (const [part, bodies] of found) yield* markZeros(layout, part, bodies, lost, all, false);
  return all.build();
}

/** Marks pages of a file whose bodies are known to be zeros. @param collect Takes down other bodies that are shared. */
function* markZeros(
  layout: KdumpLayout,
  part: KdumpPart,
  bodies: Bodies,
  lost: PageBitmap | undefined,
  zeros: PageBitmapBuilder,
  collect: boolean,
): Routine<void> {
  const { littleEndian, blockSize } = layout;
  let top = 0;
  yield* visitDescriptors(layout, part, (pfn, bytes, at) => {
    const offset = offsetOf(bytes, at, littleEndian);
    const size = sizeOf(bytes, at, littleEndian);
    const flags = flagsOf(bytes, at, littleEndian);
    const body = bodies.get(offset);
    if (body?.zero === true && body.size === size && body.flags === flags && lost?.has(pfn) !== true) {
      zeros.set(pfn);
    }
    if (!collect) return;
    if (offset >= top) {
      top = offset + size;
    } else if (body === undefined && bodies.size < MAX_BODIES && offset > 0 && size <= blockSize) {
      bodies.set(offset, { size, flags, zero: undefined });
    }
  });
}

function* isZeroBody(layout: KdumpLayout, { file }: KdumpPart, offset: number, body: Body): Routine<boolean> {
  const { blockSize } = layout;
  const { size, flags } = body;
  const codec = layout.codec(flags);
  if (size === 0 || size > blockSize || offset + size > file.size) return false;
  if (codec === undefined && (flags !== 0 || size !== blockSize)) return false;
  const { bytes, holes } = yield* readPartial(file, offset, size);
  if (holes.length > 0) return false;
  let page: Uint8Array = bytes;
  if (codec !== undefined) {
    try {
      page = codec.decode(bytes, blockSize);
    } catch {
      return false;
    }
  }
  return page.length === blockSize && page.every((byte) => byte === 0);
}
