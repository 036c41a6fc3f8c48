/**
 * The packet core beside the Rust original: every row of mfio's own benchmark (marks.ts has the workloads and its
 * figures), written against the public API only.
 *
 * A row's name begins with mfio's. The same workload may have several rows, by how a caller drives it: `await` of each
 * operation, which costs a promise and some turns of the microtask queue each; `.sync()`; one routine for many packets;
 * and what a caller with many operations would use, `all` or `gather`.
 */
import {
  AddressSpace,
  all,
  fragments,
  Io,
  MemoryIo,
  Packet,
  type PacketIo,
  type Routine,
  Scheduler,
  send,
  u64,
  type VirtualMemory,
  withSplitting,
} from "../../../src/index.js";
import { gatherYardstick, pagesYardstick, sumWords } from "../limits.js";
import { MFIO, type MfioName, mfioMarks } from "../marks.js";
import { memorySpace } from "../memory-space.js";
import type { Group, Measured, Ready, Row } from "../row.js";
import { SAMPLE_BYTES, sampleBytes, sampleIo } from "../sample-io.js";

/** How a row drives its operations. `one`: each is awaited. `many`: what a caller with many of them would use. */
type Way = "one" | "many";
const ways = new Map<string, { readonly mfio: MfioName; readonly way: Way }>();

/** Operations of the rows S and W. */
const N = 500_000;
/** Operations in one `all`. */
const SIDE_BY_SIDE = 1000;

const byteAt = (i: number) => i & (SAMPLE_BYTES - 1);
const wordAt = (i: number) => (i * 8) & (SAMPLE_BYTES - 8);

/** What the rows must give, by loops over the array itself. */
function sumOf(count: number, address: (i: number) => number, size: number): number {
  const bytes = sampleBytes();
  const words = new Uint32Array(bytes.buffer);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const at = address(i);
    if (size === 1) sum += bytes[at] as number;
    else for (let j = 0; j < size; j += 4) sum += words[(at + j) / 4] as number;
  }
  return sum;
}

function row(
  mfio: MfioName,
  how: string,
  way: Way,
  operations: number,
  prepare: () => Ready,
  yardsticks: readonly ("gather" | "pages")[] = ["gather"],
): Row {
  const name = `${mfio}  ${how}`;
  ways.set(name, { mfio, way });
  return { name, operations, against: yardsticks.map((yardstick) => mfioMarks(mfio, yardstick)), prepare };
}

/** Sends reused packets, and waits for each. */
function* sendAllAwaitEach(
  io: PacketIo<number>,
  packets: readonly Packet[],
  stride: number,
): Routine<number> {
  for (let i = 0; i < packets.length; i++) {
    io.sendIo((i * stride) & (SAMPLE_BYTES - 1), (packets[i] as Packet).view().bind());
  }
  return yield* awaitEach(packets);
}

function* awaitEach(packets: readonly Packet[]): Routine<number> {
  let sum = 0;
  for (let i = 0; i < packets.length; i++) {
    const packet = packets[i] as Packet;
    if (!packet.complete) yield packet;
    sum += packet.byteAt(0) as number;
  }
  return sum;
}

/** Makes packets and sends each at once; then waits for each. */
function* sendFreshAwaitEach(io: PacketIo<number>, from: number, count: number): Routine<number> {
  const packets: Packet[] = [];
  for (let i = 0; i < count; i++) {
    const packet = Packet.reading(1);
    io.sendIo((from + i) & (SAMPLE_BYTES - 1), packet.view().bind());
    packets.push(packet);
  }
  return yield* awaitEach(packets);
}

const reusedPackets = (count: number, size = 1) => Array.from({ length: count }, () => Packet.reading(size));

const yardsticks: Row[] = [
  {
    name: "yardstick gather",
    operations: 2e7,
    isLimit: true,
    prepare: () => ({ run: () => gatherYardstick(2e7), expected: 4e7 }),
  },
  {
    name: "yardstick pages",
    operations: 2e5,
    isLimit: true,
    prepare: () => ({ run: () => pagesYardstick(2e5), expected: 2e5 }),
  },
];

const single: Row[] = [
  row("S1", "await readInto", "one", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const one = new Uint8Array(1);
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += (await memory.readInto(100, one))[0] as number;
      return sum;
    };
    return { run, expected: sumOf(N, () => 100, 1) };
  }),
  row("S1", "gather of 500,000, awaited", "many", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const addresses = new Float64Array(N).fill(100);
    const into = new Uint8Array(N);
    const run = async () => {
      const { bytes } = await memory.gather(addresses, 1, into);
      let sum = 0;
      for (let i = 0; i < N; i++) sum += bytes[i] as number;
      return sum;
    };
    return { run, expected: sumOf(N, () => 100, 1) };
  }),
  row("S1", "await all of 1,000 readInto", "many", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const cells = Array.from({ length: SIDE_BY_SIDE }, () => new Uint8Array(1));
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i += SIDE_BY_SIDE) {
        for (const bytes of await all(cells.map((cell) => memory.readInto(100, cell))))
          sum += bytes[0] as number;
      }
      return sum;
    };
    return { run, expected: sumOf(N, () => 100, 1) };
  }),
  row("S3", "await send", "one", N, () => {
    const { io } = sampleIo(sampleBytes());
    const packet = Packet.reading(1);
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += (await send(io, byteAt(i), packet)).bytes[0] as number;
      return sum;
    };
    return { run, expected: sumOf(N, byteAt, 1) };
  }),
  row("S3", "send().sync()", "many", N, () => {
    const { io } = sampleIo(sampleBytes());
    const packet = Packet.reading(1);
    const run = () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += send(io, byteAt(i), packet).sync().bytes[0] as number;
      return sum;
    };
    return { run, expected: sumOf(N, byteAt, 1) };
  }),
  row("S3", "await all of 1,000 send", "many", N, () => {
    const { io } = sampleIo(sampleBytes());
    const packets = reusedPackets(SIDE_BY_SIDE);
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i += SIDE_BY_SIDE) {
        const sent = await all(packets.map((packet, j) => send(io, byteAt(i + j), packet)));
        for (const packet of sent) sum += packet.bytes[0] as number;
      }
      return sum;
    };
    return { run, expected: sumOf(N, byteAt, 1) };
  }),
  row("S5", "readInto().sync()", "many", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const one = new Uint8Array(1);
    const run = () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += memory.readInto(100, one).sync()[0] as number;
      return sum;
    };
    return { run, expected: sumOf(N, () => 100, 1) };
  }),
  row("S6", "await read(u64)", "one", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += Number(await memory.read(u64, wordAt(i)));
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
  row("S6", "read(u64).sync()", "many", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const run = () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += Number(memory.read(u64, wordAt(i)).sync());
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
  row("S6", "await all of 1,000 read(u64)", "many", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i += SIDE_BY_SIDE) {
        const reads = Array.from({ length: SIDE_BY_SIDE }, (_, j) => memory.read(u64, wordAt(i + j)));
        for (const value of await all(reads)) sum += Number(value);
      }
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
  row("S6", "gather of 500,000 u64, awaited", "many", N, () => {
    const { memory } = sampleIo(sampleBytes());
    const addresses = Float64Array.from({ length: N }, (_, i) => wordAt(i));
    const into = new Uint8Array(8 * N);
    const run = async () => {
      const { bytes } = await memory.gather(addresses, 8, into);
      return sumWords(new Uint32Array(bytes.buffer));
    };
    return { run, expected: sumOf(N, wordAt, 8) % 2 ** 32 };
  }),
  ...writes(),
];

/** W1: the value changes with every pass over the memory; what it holds at the end is the proof. */
function writes(): Row[] {
  const VALUES = [0x1111n, 0x2222n, 0x3333n];
  const value = (i: number) => VALUES[(i >>> 17) % VALUES.length] as bigint;
  const after = new Uint32Array(SAMPLE_BYTES / 4);
  for (let i = 0; i < N; i++) after[wordAt(i) / 4] = Number(value(i));
  const expected = sumWords(after);
  const prepared = (make: (memory: AddressSpace<number>) => () => void | Promise<void>): Ready => {
    const bytes = sampleBytes();
    const run = make(sampleIo(bytes).memory);
    const sum = () => sumWords(new Uint32Array(bytes.buffer));
    return {
      run: () => {
        bytes.fill(0);
        const done = run();
        return done === undefined ? sum() : done.then(sum);
      },
      expected,
    };
  };
  return [
    row("W1", "await write(u64)", "one", N, () =>
      prepared((memory) => async () => {
        for (let i = 0; i < N; i++) await memory.write(u64, wordAt(i), value(i));
      }),
    ),
    row("W1", "write(u64).sync()", "many", N, () =>
      prepared((memory) => () => {
        for (let i = 0; i < N; i++) memory.write(u64, wordAt(i), value(i)).sync();
      }),
    ),
    row("W1", "await all of 1,000 write(u64)", "many", N, () =>
      prepared((memory) => async () => {
        for (let i = 0; i < N; i += SIDE_BY_SIDE) {
          await all(
            Array.from({ length: SIDE_BY_SIDE }, (_, j) => memory.write(u64, wordAt(i + j), value(i + j))),
          );
        }
      }),
    ),
  ];
}

const FLOOD = 16_384;
const FLOODS = 122;
const flooded = FLOOD * FLOODS;
const ROUNDS = 2000;

const many: Row[] = [
  row("Q1", "one routine, awaited", "many", flooded, () => {
    const { io } = sampleIo(sampleBytes());
    const run = async () => {
      let sum = 0;
      for (let from = 0; from < flooded; from += FLOOD) {
        sum += await Io.of(io.scheduler, sendFreshAwaitEach, io, from, FLOOD);
      }
      return sum;
    };
    return { run, expected: sumOf(flooded, byteAt, 1) };
  }),
  row("Q1", "one routine, .sync()", "many", flooded, () => {
    const { io } = sampleIo(sampleBytes());
    const run = () => {
      let sum = 0;
      for (let from = 0; from < flooded; from += FLOOD) {
        sum += Io.of(io.scheduler, sendFreshAwaitEach, io, from, FLOOD).sync();
      }
      return sum;
    };
    return { run, expected: sumOf(flooded, byteAt, 1) };
  }),
  ...([1, 4096] as const).flatMap((size) => {
    const name = size === 1 ? "B256" : "B256p";
    const rounds = size === 1 ? ROUNDS : ROUNDS / 4;
    const expected = sumOf(256 * rounds, (i) => ((i % 256) * size) & (SAMPLE_BYTES - 1), 1);
    const limits = size === 1 ? (["gather"] as const) : (["gather", "pages"] as const);
    return [
      row(
        name,
        "one routine, awaited",
        "many",
        256 * rounds,
        () => {
          const { io } = sampleIo(sampleBytes());
          const packets = reusedPackets(256, size);
          const run = async () => {
            let sum = 0;
            for (let i = 0; i < rounds; i++) {
              sum += await Io.of(io.scheduler, sendAllAwaitEach, io, packets, size);
            }
            return sum;
          };
          return { run, expected };
        },
        limits,
      ),
      row(
        name,
        "one routine, .sync()",
        "many",
        256 * rounds,
        () => {
          const { io } = sampleIo(sampleBytes());
          const packets = reusedPackets(256, size);
          const run = () => {
            let sum = 0;
            for (let i = 0; i < rounds; i++) {
              sum += Io.of(io.scheduler, sendAllAwaitEach, io, packets, size).sync();
            }
            return sum;
          };
          return { run, expected };
        },
        limits,
      ),
    ];
  }),
  ...([256, 16_384] as const).flatMap((count) => {
    const name = count === 256 ? "J 256" : "J 16384";
    const rounds = Math.floor(524_288 / count);
    const expected = rounds * sumOf(count, byteAt, 1);
    const prepared = (
      join: (
        io: PacketIo<number>,
        packets: readonly Packet[],
      ) => readonly Packet[] | Promise<readonly Packet[]>,
    ): Ready => {
      const { io } = sampleIo(sampleBytes());
      const packets = reusedPackets(count);
      const sumUp = (sent: readonly Packet[]) => {
        let sum = 0;
        for (let i = 0; i < sent.length; i++) sum += (sent[i] as Packet).bytes[0] as number;
        return sum;
      };
      const run = async () => {
        let sum = 0;
        for (let i = 0; i < rounds; i++) {
          const sent = join(io, packets);
          sum += sumUp(sent instanceof Promise ? await sent : sent);
        }
        return sum;
      };
      return { run, expected };
    };
    return [
      row(name, "await Promise.all of send", "one", count * rounds, () =>
        prepared((io, packets) => Promise.all(packets.map((packet, i) => send(io, byteAt(i), packet)))),
      ),
      row(name, "await all of send", "many", count * rounds, () =>
        prepared((io, packets) => all(packets.map((packet, i) => send(io, byteAt(i), packet))).promise()),
      ),
      row(name, "all of send, .sync()", "many", count * rounds, () =>
        prepared((io, packets) => all(packets.map((packet, i) => send(io, byteAt(i), packet))).sync()),
      ),
    ];
  }),
];

const SPLIT_READS = 10_000;
const STREAMS = 100_000;

const layers: Row[] = [
  row("F", "await send, split by 16", "many", 64 * SPLIT_READS, () => {
    const { io } = sampleIo(sampleBytes());
    const split = withSplitting(io, 16);
    const packet = Packet.reading(1024);
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < SPLIT_READS; i++) sum += (await send(split, 0, packet)).bytes[1016] as number;
      return sum;
    };
    return { run, expected: sumOf(SPLIT_READS, () => 1016, 1) };
  }),
  row("F", "send().sync(), split by 16", "many", 64 * SPLIT_READS, () => {
    const { io } = sampleIo(sampleBytes());
    const split = withSplitting(io, 16);
    const packet = Packet.reading(1024);
    const run = () => {
      let sum = 0;
      for (let i = 0; i < SPLIT_READS; i++) sum += send(split, 0, packet).sync().bytes[1016] as number;
      return sum;
    };
    return { run, expected: sumOf(SPLIT_READS, () => 1016, 1) };
  }),
  row("P", "for await of fragments", "many", STREAMS, () => {
    const { io } = sampleIo(sampleBytes(200));
    const packet = Packet.reading(200);
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < STREAMS; i++) {
        for await (const { length, fault } of fragments(io, 199, packet))
          sum += fault === 0 ? length : 1000 * length;
      }
      return sum;
    };
    return { run, expected: STREAMS * (1 + 199_000) };
  }),
  row("P", "for of fragments().sync()", "many", STREAMS, () => {
    const { io } = sampleIo(sampleBytes(200));
    const packet = Packet.reading(200);
    const run = () => {
      let sum = 0;
      for (let i = 0; i < STREAMS; i++) {
        for (const { length, fault } of fragments(io, 199, packet).sync())
          sum += fault === 0 ? length : 1000 * length;
      }
      return sum;
    };
    return { run, expected: STREAMS * (1 + 199_000) };
  }),
];

/** The inline backend: it answers within `sendIo`. Packets hold 8 bytes. */
const inline: Row[] = [
  row("V1", "read(u64).sync()", "many", N, () => {
    const memory = new AddressSpace(new MemoryIo(sampleBytes(), { scheduler: new Scheduler() }));
    const run = () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += Number(memory.read(u64, wordAt(i)).sync());
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
  row("V1", "await read(u64)", "one", N, () => {
    const memory = new AddressSpace(new MemoryIo(sampleBytes(), { scheduler: new Scheduler() }));
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i++) sum += Number(await memory.read(u64, wordAt(i)));
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
  row("V2", "send().sync()", "many", N, () => {
    const io = new MemoryIo(sampleBytes(), { scheduler: new Scheduler() });
    const words = new Uint32Array(2);
    const packet = Packet.reading(words);
    const run = () => {
      let sum = 0;
      for (let i = 0; i < N; i++) {
        send(io, wordAt(i), packet).sync();
        sum += words[0] as number;
      }
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
  row("V2", "await send", "one", N, () => {
    const io = new MemoryIo(sampleBytes(), { scheduler: new Scheduler() });
    const words = new Uint32Array(2);
    const packet = Packet.reading(words);
    const run = async () => {
      let sum = 0;
      for (let i = 0; i < N; i++) {
        await send(io, wordAt(i), packet);
        sum += words[0] as number;
      }
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
  row("V3", "sendIo", "many", N, () => {
    const io = new MemoryIo(sampleBytes(), { scheduler: new Scheduler() });
    const words = new Uint32Array(2);
    const packet = Packet.reading(words);
    const run = () => {
      let sum = 0;
      for (let i = 0; i < N; i++) {
        io.sendIo(wordAt(i), packet.view().bind());
        sum += words[0] as number;
      }
      return sum;
    };
    return { run, expected: sumOf(N, wordAt, 8) };
  }),
];

/** Page tables: 4,096 pages over 16 MiB, page i in the frame (i * 2654435761) & 0xfff. The tables lie behind them. */
const TABLES = { bytes: 16 << 20, pages: 4096, root: (16 << 20) + 0, tables: 11 };

function pagedMemory(without?: (page: number) => boolean): {
  readonly memory: VirtualMemory;
  readonly words: Uint32Array;
} {
  const { bytes: size, pages, root, tables } = TABLES;
  const bytes = new Uint8Array(size + tables * 4096);
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < size / 4; i += 2) words[i] = i + 1;
  const put = (at: number, target: number) => {
    words[at / 4] = target + 0x67; // present, writable, user, accessed, dirty
  };
  const pointers = root + 4096;
  const directory = pointers + 4096;
  put(root, pointers);
  put(pointers, directory);
  for (let i = 0; i < pages; i++) {
    const table = directory + 4096 * (1 + (i >>> 9));
    put(directory + 8 * (i >>> 9), table);
    if (without?.(i) !== true) put(table + 8 * (i & 511), frameOf(i));
  }
  return { memory: memorySpace(bytes, root), words };
}

const frameOf = (page: number) => ((page * 2654435761) & 0xfff) << 12;

/** Places at random, such that `size` bytes from there lie in the 16 MiB. */
function placesAtRandom(count: number, size: number, align: number): Float64Array {
  let state = 88172645;
  return Float64Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) % (TABLES.bytes - size + 1)) / align) * align;
  });
}

/** One word of each page of a read; the rows and the loop over the array add up the same. */
function sumOfPages(
  words: Uint32Array,
  places: Float64Array,
  size: number,
  missing?: (page: number) => boolean,
): number {
  let sum = 0;
  for (const place of places) {
    for (let at = place; at < place + size; at = (Math.floor(at / 4096) + 1) * 4096) {
      const page = Math.floor(at / 4096);
      if (missing?.(page) !== true) sum += words[(frameOf(page) + (at % 4096)) / 4] as number;
    }
  }
  return sum;
}

/** The same over what a read gave. */
function sumOfRead(into: Uint32Array, place: number, size: number): number {
  let sum = 0;
  for (let at = 0; at < size; at += 4096 - ((place + at) % 4096)) sum += into[at / 4] as number;
  return sum;
}

function tableRow(
  mfio: MfioName,
  how: string,
  way: Way,
  count: number,
  size: number,
  align: number,
  without?: (page: number) => boolean,
): Row {
  const prepare = (): Ready => {
    const { memory, words } = pagedMemory(without);
    const places = placesAtRandom(count, size, align);
    const into = new Uint32Array(size / 4);
    const expected = sumOfPages(words, places, size, without);
    if (way === "one") {
      const run = async () => {
        let sum = 0;
        for (let i = 0; i < count; i++) {
          await memory.readInto(places[i] as number, into);
          sum += sumOfRead(into, places[i] as number, size);
        }
        return sum;
      };
      return { run, expected };
    }
    if (without === undefined) {
      const run = () => {
        let sum = 0;
        for (let i = 0; i < count; i++) {
          memory.readInto(places[i] as number, into).sync();
          sum += sumOfRead(into, places[i] as number, size);
        }
        return sum;
      };
      return { run, expected };
    }
    const run = () => {
      let sum = 0;
      for (let i = 0; i < count; i++) {
        // The holes keep what an earlier read left there: only the good ranges count.
        const { good } = memory.readPartial(places[i] as number, into).sync();
        for (const { start, end } of good)
          for (let at = start; at < end; at += 4096) sum += into[at / 4] as number;
      }
      return sum;
    };
    return { run, expected };
  };
  return row(mfio, how, way, count, prepare, size >= 4096 ? ["gather", "pages"] : ["gather"]);
}

const everySeventh = (page: number) => page % 7 === 0;

const paging: Row[] = [
  tableRow("T3", "readInto of 8 B .sync()", "many", 200_000, 8, 8),
  tableRow("T3", "await readInto of 8 B", "one", 200_000, 8, 8),
  row("T3", "gather of 200,000, awaited", "many", 200_000, () => {
    const { memory, words } = pagedMemory();
    const places = placesAtRandom(200_000, 8, 8);
    const into = new Uint8Array(8 * places.length);
    const run = async () => {
      const { bytes } = await memory.gather(places, 8, into);
      return sumWords(new Uint32Array(bytes.buffer));
    };
    return { run, expected: sumOfPages(words, places, 8) % 2 ** 32 };
  }),
  tableRow("T4", "readInto of a page .sync()", "many", 50_000, 4096, 4096),
  tableRow("T4", "readInto of 4 KiB anywhere .sync()", "many", 50_000, 4096, 8),
  tableRow("T1", "readInto of 16 pages .sync()", "many", 5000, 65_536, 4096),
  tableRow("T1", "readInto of 64 KiB anywhere .sync()", "many", 5000, 65_536, 8),
  tableRow("T2", "readPartial of 16 pages .sync()", "many", 5000, 65_536, 4096, everySeventh),
];

/** One line for each of mfio's rows: awaited one by one against its `block_on`, the best other way against its best. */
function summary(measured: readonly Measured[]): string[] {
  const lines: string[] = [];
  for (const mfio of Object.keys(MFIO) as MfioName[]) {
    const rows = measured.filter(({ name }) => ways.get(name)?.mfio === mfio);
    if (rows.length === 0) continue;
    const said = (["one", "many"] as const).flatMap((way) => {
      const candidates = rows
        .filter(({ name }) => ways.get(name)?.way === way)
        .flatMap(({ name, against }) => {
          const [first] = against;
          return first === undefined ? [] : [{ name, ratio: first.ratio, goals: first.goals }];
        });
      const [best] = candidates.sort((a, b) => b.ratio - a.ratio);
      if (best === undefined) return [];
      const marks = best.goals.map(
        (goal) => `${goal.name} ${(best.ratio / goal.ratio).toFixed(2)}${goal.met ? "" : " (missed)"}`,
      );
      const what = way === "one" ? "one by one" : best.name.slice(mfio.length).trim();
      return [`${what}: ${marks.join(", ")}`];
    });
    lines.push(`${mfio.padEnd(8)} ${said.join("; ")}`);
  }
  return lines.length === 0 ? lines : ["Times as fast as mfio, by the ratios to the yardstick:", ...lines];
}

export const packets: Group = {
  name: "packets",
  title: "Packets, beside mfio",
  rows: [...yardsticks, ...single, ...many, ...layers, ...inline, ...paging],
  summary,
};
