/**
 * An address space that is a list of ranges, without page tables: a process through its system, a guest's RAM inside a
 * process. What has page tables is `VirtualMemory`; both list what is mapped with `maps()`, and say where an address leads.
 */
import {
  type Address,
  Io,
  IoSequence,
  type PacketIo,
  type Routine,
  type Sink,
  toVirtual,
} from "../io/index.js";
import { AddressSpace, type AddressSpaceOptions } from "./address-space.js";
import { RangeIo, type SpaceRange, settleRanges, sortRanges } from "./range-io.js";

/** An address that a range holds. */
export interface RangeAddress<R extends SpaceRange = SpaceRange> {
  readonly virtual: bigint;
  /** Where the byte is in the layer below. */
  readonly target: bigint;
  readonly range: R;
  readonly state?: undefined;
}

/** An address that no range holds. */
export interface OutsideAddress {
  readonly virtual: bigint;
  readonly state: "outside";
}

/** What {@link RangeSpace.translate} gives; `state` tells which. */
export type RangeTranslation<R extends SpaceRange = SpaceRange> = RangeAddress<R> | OutsideAddress;

const END = 1n << 64n;

/**
 * See the module's comment.
 *
 * @example
 * // The first GiB of a guest's RAM, as it is mapped in its QEMU process.
 * const ram = new RangeSpace(process, [{ start: 0n, end: 1n << 30n, target: 0x7f0000000000n }]);
 * await ram.read(u64, 0x1000n);
 */
export class RangeSpace<R extends SpaceRange = SpaceRange> extends AddressSpace<Address> {
  readonly #ranges: readonly R[] | (() => Iterable<R>);

  /**
   * @param io What holds the bytes. Addresses below 2^53 come to it as a `number`.
   * @param ranges A list, in any order: reads are split by it, what lies between is `outside`. Or, for what changes by
   * itself, a function that lists them at the moment: addresses are then those of `io`, which refuses what isn't there.
   * @throws {RangeError} for a list of ranges that are none or overlap.
   */
  constructor(
    io: PacketIo<Address> | PacketIo<number>,
    ranges: Iterable<R> | (() => Iterable<R>),
    options: AddressSpaceOptions = {},
  ) {
    const sorted = typeof ranges === "function" ? ranges : sortRanges(ranges);
    super(typeof sorted === "function" ? (io as PacketIo<Address>) : new RangeIo(io, sorted), options);
    this.#ranges = sorted;
  }

  /** The ranges, ascending and disjoint; those of the moment where they change (clipped, if they overlap then). */
  ranges(): readonly R[] {
    const ranges = this.#ranges;
    return typeof ranges === "function" ? settleRanges(ranges()) : ranges;
  }

  /**
   * The ranges, ascending, as `VirtualMemory.maps` gives its runs.
   *
   * @param range Clips them; `end` may be 2^64.
   * @throws {RangeError} for a range that is none.
   */
  maps(range?: { readonly start: Address; readonly end: Address }): IoSequence<R> {
    const start = toVirtual(range?.start ?? 0n);
    const end = BigInt(range?.end ?? END);
    if (end < start || end > END) {
      throw new RangeError(`not a range of virtual addresses: ${String(start)} to ${String(end)}`);
    }
    return IoSequence.of(this.scheduler, mapsRoutine<R>, this as RangeSpace<R>, start, end);
  }

  /** Where an address leads. @throws {RangeError} for what is no address. */
  translate(address: Address): Io<RangeTranslation<R>> {
    return Io.of(this.scheduler, translateRoutine<R>, this as RangeSpace<R>, toVirtual(address));
  }
}

function* mapsRoutine<R extends SpaceRange>(
  sink: Sink<R>,
  space: RangeSpace<R>,
  start: bigint,
  end: bigint,
): Routine<void> {
  for (const range of space.ranges()) {
    const from = range.start > start ? range.start : start;
    const to = range.end < end ? range.end : end;
    if (from >= to) continue;
    const target = range.target === undefined ? {} : { target: BigInt(range.target) + from - range.start };
    yield sink.emit({ ...range, start: from, end: to, ...target });
  }
}

// biome-ignore lint/correctness/useYield: what it needs is there, and callers drive it as any other.
function* translateRoutine<R extends SpaceRange>(
  space: RangeSpace<R>,
  virtual: bigint,
): Routine<RangeTranslation<R>> {
  const ranges = space.ranges();
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ranges[middle] as R).end > virtual) high = middle;
    else low = middle + 1;
  }
  const range = ranges[low];
  if (range === undefined || range.start > virtual) return { virtual, state: "outside" };
  return { virtual, target: BigInt(range.target ?? range.start) + virtual - range.start, range };
}
