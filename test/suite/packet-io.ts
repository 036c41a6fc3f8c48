/**
 * The conformance suite: what every `PacketIo` of addresses must do, whatever is behind it. Authors of connectors
 * and layers run it over theirs (`memtool/testing`); it needs vitest.
 */
import { describe, expect, it } from "vitest";
import {
  type Address,
  all,
  type BoundView,
  defaultScheduler,
  exchange,
  type Fragment,
  fragments,
  Io,
  offsetAddress,
  Packet,
  type PacketIo,
  PartialReadError,
  PartialWriteError,
  type Routine,
  readInto,
  readPartial,
  send,
  toCallback,
  WouldBlockError,
  write,
} from "../../src/io/index.js";

/** One layer under test, with the truth beside it. */
export interface Subject {
  readonly io: PacketIo<Address> | PacketIo<number>;
  /** Address of the first of `truth`'s bytes. At least 64 of them must be there. */
  readonly base: Address;
  /** What is there, got by other means than `io`. */
  readonly truth: () => Uint8Array | Promise<Uint8Array>;
  /** Whether writes land (they must show in `truth`) or are refused. */
  readonly writable?: boolean;
  /** Whether exchanges are atomic, or refused. */
  readonly exchangeable?: boolean;
  /** Whether `.sync()` works (default), or must throw `WouldBlockError`. */
  readonly asyncOnly?: boolean;
  /** A range right behind `truth` that can't be read: how many bytes of it to touch, and the state it must report. */
  readonly missing?: { readonly bytes: number; readonly state: string };
  /** Called after each test. */
  readonly close?: () => void | Promise<void>;
}

function* waitFor(packet: Packet): Routine<void> {
  yield packet;
}

/** Runs the suite over what `make` gives; a fresh subject for each test. */
export function packetIoSuite(name: string, make: () => Subject | Promise<Subject>): void {
  const using = (
    body: (subject: Subject, io: PacketIo<Address>, at: (offset: number) => Address) => Promise<void>,
  ) => {
    return async () => {
      const subject = await make();
      const { base } = subject;
      const at = (offset: number): Address =>
        typeof base === "number" ? base + offset : offsetAddress(base, offset);
      try {
        await body(subject, subject.io as PacketIo<Address>, at);
      } finally {
        await subject.close?.();
      }
    };
  };

  describe(`${name} is a conforming PacketIo`, () => {
    it(
      "reads every size at both edges of what is there, and leaves the caller's other bytes alone",
      using(async (subject, io, at) => {
        const truth = await subject.truth();
        const sizes = [1, 2, 3, 4, 7, 8, 16, 33, 63, 64].filter((size) => size <= truth.length);
        for (const size of sizes) {
          for (const offset of [0, 1, truth.length - size]) {
            if (offset + size > truth.length) continue;
            const guarded = new Uint8Array(size + 16).fill(0xa5);
            await readInto(io, at(offset), guarded.subarray(8, 8 + size));
            expect([...guarded.subarray(8, 8 + size)]).toEqual([...truth.subarray(offset, offset + size)]);
            expect([...guarded.subarray(0, 8), ...guarded.subarray(8 + size)]).toEqual(
              new Array(16).fill(0xa5),
            );
          }
        }
        expect(await readInto(io, at(0), truth.length)).toEqual(truth);
      }),
    );

    it(
      "gives the same bytes synchronously, or says that it can't",
      using(async (subject, io, at) => {
        const truth = await subject.truth();
        const length = Math.min(48, truth.length);
        if (subject.asyncOnly === true) {
          expect(() => readInto(io, at(3), length).sync()).toThrow(WouldBlockError);
          return;
        }
        expect(readInto(io, at(3), length).sync()).toEqual(truth.slice(3, 3 + length));
      }),
    );

    it(
      "answers scattered reads in flight together, each with its own bytes",
      using(async (subject, io, at) => {
        const truth = await subject.truth();
        const offsets = Array.from({ length: 100 }, (_, i) => (i * 7919) % (truth.length - 8));
        const values = await all(offsets.map((offset) => readInto(io, at(offset), 8)));
        values.forEach((value, i) => {
          const offset = offsets[i] as number;
          expect([...value]).toEqual([...truth.subarray(offset, offset + 8)]);
        });
      }),
    );

    it(
      "serves packets that refuse direct slices of their memory",
      using(async (subject, io, at) => {
        const truth = await subject.truth();
        const packet = await send(io, at(1), Packet.reading(40, { direct: false }));
        expect(packet.holes()).toEqual([]);
        expect([...packet.bytes]).toEqual([...truth.subarray(1, 41)]);
      }),
    );

    it(
      "answers parts of one packet that were sent to different addresses",
      using(async (subject, io, at) => {
        const truth = await subject.truth();
        const packet = Packet.reading(24);
        const done: number[] = [];
        const [first, rest] = packet.view(1).split(8, 2);
        const [second, third] = rest.split(8, 3);
        const output = toCallback((fragment) => done.push(fragment.tag));
        io.sendIo(at(40), first.bind(output));
        io.sendIo(at(0), second.bind(output));
        io.sendIo(at(17), third.bind(output));
        await Io.of(io.scheduler ?? defaultScheduler, waitFor, packet);
        expect([...packet.bytes]).toEqual([
          ...truth.subarray(40, 48),
          ...truth.subarray(0, 8),
          ...truth.subarray(17, 25),
        ]);
        expect([...new Set(done)].sort()).toEqual([1, 2, 3]);
      }),
    );

    it(
      "tells an output of every byte exactly once, with the tag",
      using(async (subject, io, at) => {
        const length = Math.min(60, (await subject.truth()).length);
        const seen = new Uint8Array(length);
        const note = ({ start, end }: Fragment) => {
          for (let i = start; i < end; i++) seen[i] = (seen[i] as number) + 1;
        };
        await send(io, at(2 - 2), Packet.reading(length), toCallback(note));
        expect([...seen]).toEqual(new Array(length).fill(1));
        const parts = await fragments(io, at(0), Packet.reading(length)).toArray();
        expect(parts.reduce((sum, part) => sum + part.length, 0)).toBe(length);
      }),
    );

    it(
      "reuses a packet",
      using(async (subject, io, at) => {
        const truth = await subject.truth();
        const packet = Packet.reading(5);
        for (const offset of [0, 9, 3]) {
          await send(io, at(offset), packet);
          expect([...packet.bytes]).toEqual([...truth.subarray(offset, offset + 5)]);
        }
      }),
    );

    it(
      "reads nothing when nothing is asked for",
      using(async (_subject, io, at) => {
        expect(await readInto(io, at(0), 0)).toEqual(new Uint8Array(0));
      }),
    );

    it(
      "reports what is missing behind the last byte, and keeps what is there",
      using(async (subject, io, at) => {
        const { missing } = subject;
        const truth = await subject.truth();
        if (missing === undefined) return;
        const length = 10 + missing.bytes;
        const { bytes, good, holes } = await readPartial(io, at(truth.length - 10), length);
        expect(good).toEqual([{ start: 0, end: 10 }]);
        expect([...bytes.subarray(0, 10)]).toEqual([...truth.subarray(truth.length - 10)]);
        expect(holes.map(({ start, end, state }) => ({ start, end, state }))).toEqual([
          { start: 10, end: length, state: missing.state },
        ]);
        const failed = await readInto(io, at(truth.length - 10), length).then(
          () => undefined,
          (error: unknown) => error,
        );
        expect(failed).toBeInstanceOf(PartialReadError);
      }),
    );

    it(
      "lands writes where they belong, whole and in order, or refuses them",
      using(async (subject, io, at) => {
        const before = (await subject.truth()).slice();
        const value = Uint8Array.from({ length: 40 }, (_, i) => 255 - i);
        if (subject.writable !== true) {
          await expect(write(io, at(5), value).promise()).rejects.toBeInstanceOf(PartialWriteError);
          expect(await subject.truth()).toEqual(before);
          return;
        }
        await write(io, at(5), value);
        const expected = before.slice();
        expected.set(value, 5);
        expect(await subject.truth()).toEqual(expected);
        await all([write(io, at(7), Uint8Array.of(1, 1, 1)), write(io, at(8), Uint8Array.of(2))]);
        expected.set([1, 2, 1], 7);
        expect(await subject.truth()).toEqual(expected);
        expect(await readInto(io, at(0), 60)).toEqual(expected.slice(0, 60));
      }),
    );

    it(
      "trades bytes in an exchange, or refuses it and changes nothing",
      using(async (subject, io, at) => {
        const before = (await subject.truth()).slice();
        const mine = Uint8Array.from({ length: 12 }, (_, i) => 200 + i);
        const memory = mine.slice();
        if (subject.exchangeable !== true) {
          await expect(exchange(io, at(4), memory).promise()).rejects.toBeInstanceOf(PartialWriteError);
          expect(memory).toEqual(mine);
          expect(await subject.truth()).toEqual(before);
          return;
        }
        expect(await exchange(io, at(4), memory)).toEqual(before.slice(4, 16));
        expect((await subject.truth()).slice(4, 16)).toEqual(mine);
      }),
    );

    it(
      "sends nothing for an operation that is not driven, or is aborted before it starts",
      using(async (subject, io, at) => {
        let views = 0;
        const watched: PacketIo<Address> = {
          scheduler: io.scheduler,
          sendIo(address, view: BoundView) {
            views++;
            io.sendIo(address, view);
          },
        };
        readInto(watched, at(0), 8);
        const controller = new AbortController();
        controller.abort();
        const { holes } = await readPartial(watched, at(0), 8, { signal: controller.signal });
        expect(holes.map(({ state }) => state)).toEqual(["aborted"]);
        expect(views).toBe(0);
        expect((await subject.truth()).length).toBeGreaterThanOrEqual(64);
      }),
    );

    it(
      "settles an operation that is aborted in flight: every byte is good, or aborted",
      using(async (subject, io, at) => {
        const truth = await subject.truth();
        const controller = new AbortController();
        const pending = readPartial(io, at(0), 64, { signal: controller.signal }).promise();
        controller.abort();
        const { bytes, good, holes } = await pending;
        for (const { start, end } of good) {
          expect([...bytes.subarray(start, end)]).toEqual([...truth.subarray(start, end)]);
        }
        for (const { state } of holes) expect(state).toBe("aborted");
        const covered = [...good, ...holes].reduce((sum, range) => sum + range.end - range.start, 0);
        expect(covered).toBe(64);
        expect(await readInto(io, at(0), 64)).toEqual(truth.slice(0, 64));
      }),
    );
  });
}
