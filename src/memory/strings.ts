/** Strings that end at a NUL. */
import { type ByteRange, type Hole, hex, hole, PartialReadError } from "../io/errors.js";
import { OUTSIDE } from "../io/fault.js";
import { Packet } from "../io/packet.js";
import type { Address } from "../io/packet-io.js";
import type { RequestOptions } from "../io/request.js";
import { sendRoutine } from "../io/requests.js";
import type { Routine } from "../io/wait.js";
import type { Space } from "./space.js";
import { decodeText, type TextEncoding } from "./text.js";

/** Pieces of a string are read up to the end of a page of this size, so that no page that holds none of it is. */
const PAGE_SIZE = 4096;
/** The first piece of a string; few are longer. */
const FIRST_PIECE = 256;

/** Options of {@link AddressSpace.readString}. */
export interface StringOptions extends RequestOptions {
  readonly encoding?: TextEncoding | undefined;
}

/** The routine of `AddressSpace.readString`. */
export function* readStringRoutine<P extends Address>(
  space: Space<P>,
  param: P,
  limit: number,
  options: StringOptions | undefined,
): Routine<string> {
  let bytes = new Uint8Array(Math.min(limit, FIRST_PIECE));
  let length = 0;
  let most = FIRST_PIECE;
  while (length < limit) {
    const at = space.plus(param, length);
    if (at === undefined) {
      throw stringError(param, bytes.slice(0, length + 1), length, [], [hole(0, 1, OUTSIDE)], undefined);
    }
    const inPage = typeof at === "number" ? at % PAGE_SIZE : Number(BigInt.asUintN(12, at));
    const want = Math.min(limit - length, PAGE_SIZE - inPage, most);
    most = PAGE_SIZE;
    if (length + want > bytes.length) {
      const longer = new Uint8Array(Math.min(limit, Math.max(2 * bytes.length, length + want)));
      longer.set(bytes);
      bytes = longer;
    }
    const packet = Packet.reading(bytes.subarray(length, length + want));
    yield* sendRoutine(space.io, at, packet, undefined, options);
    const end = length + packet.clamp;
    const nul = bytes.indexOf(0, length);
    if (nul >= 0 && nul < end) return decodeText(bytes, 0, nul, options?.encoding);
    if (packet.firstFault !== 0) {
      const read = bytes.slice(0, length + want);
      throw stringError(param, read, length, packet.good(), packet.holes(), packet.cause);
    }
    length = end;
  }
  return decodeText(bytes, 0, length, options?.encoding);
}

/** The error of a string whose last piece has holes; `good` and `holes` are relative to that piece. */
function stringError(
  param: Address,
  bytes: Uint8Array,
  before: number,
  good: readonly ByteRange[],
  holes: readonly Hole[],
  cause: unknown,
): PartialReadError {
  const ranges: ByteRange[] = before > 0 ? [{ start: 0, end: before }] : [];
  for (const { start, end } of good) {
    if (start === 0 && before > 0) ranges[0] = { start: 0, end: before + end };
    else ranges.push({ start: before + start, end: before + end });
  }
  const missing = holes.map(({ start, end, fault }) => hole(before + start, before + end, fault));
  return new PartialReadError("read", ` of a string at ${hex(param)}`, bytes, ranges, missing, cause);
}
