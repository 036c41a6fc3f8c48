/** What is read, by size and order, and the names of the limits that do the same. */
import { fixture, type Mapping, randomAddresses } from "../fixture.js";
import { copyPlain } from "../limits.js";
import { randomBelow } from "../random.js";
import { lazy } from "../work-folder.js";

export const KIB = 1024;
export const MIB = 1024 * KIB;
const SIZES = [
  { size: 8, label: "8 B", count: 20_000 },
  { size: 4 * KIB, label: "4 KiB", count: 8192 },
  { size: 64 * KIB, label: "64 KiB", count: 512 },
  { size: 4 * MIB, label: "4 MiB", count: 16 },
] as const;
const ORDERS = ["random", "sequential"] as const;

/** What is read: `count` reads of `size` bytes somewhere in the direct map. */
export interface Pattern {
  readonly label: string;
  readonly size: number;
  readonly count: number;
  /** Where the reads begin, and where that lies in RAM. */
  readonly places: () => Promise<{ readonly virtual: bigint[]; readonly physical: Float64Array }>;
}

const directPatterns: readonly Pattern[] = SIZES.flatMap(({ size, label, count }) =>
  ORDERS.map((order): Pattern => {
    const places = lazy(async () => {
      const { direct } = await fixture();
      const room = Number(direct.end - direct.start);
      const random = randomBelow();
      const align = Math.min(size, 4096);
      const offsets = Float64Array.from({ length: count }, (_, i) =>
        order === "random" ? random((room - size) / align + 1) * align : (i * size) % (room - (room % size)),
      );
      return {
        virtual: Array.from(offsets, (offset) => direct.start + BigInt(offset)),
        physical: offsets.map((offset) => direct.physical + offset),
      };
    });
    return { label: `${order} ${label}`, size, count, places };
  }),
);

/** Pages of the program: each in a frame of its own somewhere, by way of a table of 4 KiB pages. */
const userPages: Pattern = {
  label: "random 4 KiB of user pages",
  size: 4 * KIB,
  count: 8192,
  places: lazy(async () => {
    const small = (await fixture()).user.filter(({ pageSize }) => pageSize === 4096);
    const virtual = [...randomAddresses(small, 8192, 4096)];
    const physical = Float64Array.from(virtual, (at) => {
      const range = small.find(({ start, end }) => start <= at && at < end) as Mapping;
      return range.physical + Number(at - range.start);
    });
    return { virtual, physical };
  }),
};

export const patterns: readonly Pattern[] = [...directPatterns, userPages];

/** The sum that every way to read a pattern gives: a byte of each read. */
export async function expectedOf({ size, places }: Pattern): Promise<number> {
  const { ram } = await fixture();
  const { physical } = await places();
  return copyPlain(ram, physical, size, new Uint8Array(size));
}

export const memcpyOf = ({ label }: Pattern) => `memcpy in C, ${label}`;
export const mappedOf = ({ label }: Pattern) => `memcpy in C from the mapped file, ${label}`;
export const preadOf = ({ label }: Pattern) => `pread in C, ${label}`;

/** C programs do a pattern so often that a repetition takes some tens of milliseconds. */
export const loopsOf = ({ size, count }: Pattern, bytesASecond: number) =>
  Math.max(1, Math.round((bytesASecond * 0.03) / (count * Math.max(size, 512))));

export const isSequential = ({ label }: Pattern) => label.startsWith("sequential");
