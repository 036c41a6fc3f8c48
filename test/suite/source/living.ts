/** Rules about what happens meanwhile: other callers, aborts, closing, a target that goes away; and the counters. */
import { expect } from "vitest";
import {
  all,
  type Batch,
  Io,
  Packet,
  type Routine,
  readInto,
  readPartial,
  Scheduler,
  type Source,
  SourceIo,
  writePartial,
} from "../../../src/io/index.js";
import type { SourceRule } from "./rule.js";
import { expectSame, type Place, pause, type Trial } from "./trial.js";

/** What was asked of a source. */
interface Log {
  /** Calls of its doors that have not ended. */
  busy: number;
  calls: number;
  closes: number;
  /** What was not allowed: a call after the close, a close while a call was under way. */
  readonly faults: string[];
}

/** The same source, with notes of what the core asks of it. */
function observed(source: Source): { readonly source: Source; readonly log: Log } {
  const log: Log = { busy: 0, calls: 0, closes: 0, faults: [] };
  const begin = () => {
    if (log.closes > 0) log.faults.push("a call after the close");
    log.calls++;
    log.busy++;
  };
  const { transferSync, transfer } = source;
  const doors: { transferSync?: (batch: Batch) => void; transfer?: (batch: Batch) => Promise<void> } = {};
  if (transferSync !== undefined) {
    doors.transferSync = (batch) => {
      begin();
      try {
        transferSync.call(source, batch);
      } finally {
        log.busy--;
      }
    };
  }
  if (transfer !== undefined) {
    doors.transfer = async (batch) => {
      begin();
      try {
        await transfer.call(source, batch);
      } finally {
        log.busy--;
      }
    };
  }
  const same: Source = {
    name: source.name,
    supports: source.supports,
    ranges: () => source.ranges(),
    ...doors,
    close: () => {
      log.closes++;
      if (log.busy > 0) log.faults.push("a close while a call is under way");
      return source.close?.();
    },
  };
  return { source: same, log };
}

const keepsVanishing = ({ vanish }: { vanish?: unknown }) => (vanish === undefined ? "vanish" : undefined);

/** A place whose bytes are good, as long as there is one. */
function goodStart(trial: Trial): Place {
  return { start: 0, length: Math.min(trial.bad[0]?.start ?? trial.truth.length, trial.truth.length) };
}

function* waitFor(packet: Packet): Routine<void> {
  yield packet;
}

/** Every byte is either good, and then right, or fails with one of these states. */
function expectGoodOr(
  trial: Trial,
  { start, length }: Place,
  { bytes, good, holes }: Awaited<ReturnType<typeof readPartial>>,
  states: readonly string[],
  what: string,
): void {
  for (const range of good) {
    const truth = trial.truth.subarray(start + range.start, start + range.end);
    expectSame(bytes.subarray(range.start, range.end), truth, what);
  }
  for (const { state } of holes) expect(states, what).toContain(state);
  const covered = [...good, ...holes].reduce((sum, range) => sum + range.end - range.start, 0);
  expect(covered, `${what}: bytes that were answered`).toBe(length);
}

export const LIVING: readonly SourceRule[] = [
  {
    name: "serves many callers at once, each with its own bytes",
    async check(trial) {
      const lots = Array.from({ length: 12 }, (_, i) => trial.scattered(20 + i, 8 + 4 * i));
      const running = lots.flatMap((places) =>
        trial.doors.map(async (door) => {
          const guarded = trial.batch("read", places);
          await door.run(guarded.batch);
          trial.checkBatch(guarded, `${door.name}, beside others`);
        }),
      );
      await trial.within(Promise.all(running), "batches beside each other");
      const { start, length } = goodStart(trial);
      const later = readPartial(trial.io, trial.at(start), length).promise();
      await pause(0);
      if (trial.source.transferSync !== undefined) {
        const now = readPartial(trial.io, trial.at(start), 16).sync();
        trial.checkRead({ start, length: 16 }, now, "a synchronous read meanwhile");
      }
      trial.checkRead(
        { start, length },
        await trial.within(later, "the read in flight"),
        "the read in flight",
      );
    },
  },
  {
    name: "an abort ends its own operation only, and gives the memory back",
    async check(trial) {
      const [first, second, third] = trial.scattered(3, 16) as [Place, Place, Place];
      const controller = new AbortController();
      const { signal } = controller;
      const memory = new Uint8Array(first.length);
      const before = readPartial(trial.io, trial.at(second.start), second.length).promise();
      const aborted = readPartial(trial.io, trial.at(first.start), memory, { signal }).promise();
      const beside = readPartial(trial.io, trial.at(third.start), third.length).promise();
      // Where the source answers later, they are under way by then.
      await pause(0);
      controller.abort();
      const given = await trial.within(aborted, "the aborted read");
      expectGoodOr(trial, first, given, ["aborted"], "the aborted read");
      memory.fill(0xee);
      trial.checkRead(second, await trial.within(before, "a read"), "the read before it");
      trial.checkRead(third, await trial.within(beside, "a read"), "the read beside it");
      await pause();
      expectSame(memory, new Uint8Array(memory.length).fill(0xee), "the memory of the aborted read");
    },
  },
  {
    name: "settles what is in flight when it is closed, is closed once, and is not called after that",
    async check(trial) {
      const { source, log } = observed(trial.source);
      const io = new SourceIo(source, new Scheduler());
      const places = trial.scattered(30, 16);
      const ask = ({ start, length }: Place) => readPartial(io, trial.at(start), length).promise();
      const early = places.map(ask);
      await pause(0);
      const queued = places.map(ask);
      const closed = io.close();
      trial.leaveClosed();
      const late = places.map(ask);
      for (const [i, result] of (await trial.within(Promise.all([...early, ...queued]), "reads")).entries()) {
        expectGoodOr(trial, places[i % places.length] as Place, result, ["gone"], "a read under way");
      }
      for (const { holes } of await trial.within(Promise.all(late), "reads after the close")) {
        expect(holes.map(({ state }) => state)).toEqual(["gone"]);
      }
      await trial.within(closed, "close");
      await trial.within(io.close(), "a second close");
      const { calls } = log;
      const { holes } = await trial.within(readPartial(io, trial.at(0), 8), "a read of what is closed");
      expect(holes.map(({ state }) => state)).toEqual(["gone"]);
      await pause();
      expect(log).toEqual({ busy: 0, calls, closes: 1, faults: [] });
    },
  },
  {
    name: "counts what it is asked for: batches, fragments, bytes, and rows that merging saved",
    async check(trial) {
      const { source, log } = observed(trial.source);
      const io = new SourceIo(source, new Scheduler());
      const before = io.counters;
      expect(before).toEqual({ batches: 0, fragments: 0, bytes: 0, merged: 0 });
      const places = trial.scattered(5, 4);
      await trial.within(all(places.map(({ start }) => readInto(io, trial.at(start), 4))), "reads");
      expect(io.counters).toEqual({ batches: 1, fragments: 5, bytes: 20, merged: 0 });
      const packet = Packet.reading(48);
      const [first, rest] = packet.view().split(16);
      const [second, third] = rest.split(16);
      [first, second, third].forEach((view, i) => {
        io.sendIo(trial.at(16 * i), view.bind());
      });
      await trial.within(Io.of(io.scheduler, waitFor, packet), "reads that continue each other");
      expectSame(packet.bytes, trial.truth.subarray(0, 48), "what was merged");
      expect(io.counters).toEqual({ batches: 2, fragments: 8, bytes: 68, merged: 2 });
      expect(log.calls, "calls of the source").toBe(2);
    },
  },
  {
    name: "fails everything as gone once its target has vanished, without an end to its patience",
    lacks: keepsVanishing,
    async check(trial) {
      const place = goodStart(trial);
      const kept = await trial.within(readInto(trial.io, trial.at(place.start), place.length), "a read");
      await trial.subject.vanish?.();
      const places = [...trial.scattered(50, 16), place];
      const ask = () =>
        all(places.map(({ start, length }) => readPartial(trial.io, trial.at(start), length)));
      const results = [await trial.within(ask(), "reads of what has vanished")];
      if (trial.source.transferSync !== undefined) results.push(ask().sync());
      for (const { holes } of results.flat()) {
        expect([...new Set(holes.map(({ state }) => state))]).toEqual(["gone"]);
      }
      for (const [i, { good }] of results.flat().entries()) expect(good, `read ${i}`).toEqual([]);
      if (trial.subject.writable === true) {
        const { holes } = await trial.within(
          writePartial(trial.io, trial.at(0), new Uint8Array(8)),
          "a write",
        );
        expect(holes.map(({ state }) => state)).toEqual(["gone"]);
      }
      // Asking what there is must still be allowed.
      expect(trial.source.ranges().length).toBeGreaterThanOrEqual(0);
      expectSame(kept, trial.truth.subarray(place.start, place.start + place.length), "what was read before");
    },
  },
  {
    name: "keeps what was read when its target vanishes meanwhile, and hangs nowhere",
    lacks: keepsVanishing,
    async check(trial) {
      const places = trial.scattered(200, 16);
      const ask = ({ start, length }: Place) => readPartial(trial.io, trial.at(start), length).promise();
      const before = places.slice(0, 100).map(ask);
      await pause(0);
      const vanished = Promise.resolve(trial.subject.vanish?.());
      const meanwhile = places.slice(100).map(ask);
      const results = await trial.within(Promise.all([...before, ...meanwhile]), "reads under way");
      results.forEach((result, i) => {
        // What was under way may fail in the way that it noticed first.
        expectGoodOr(trial, places[i] as Place, result, ["gone", "io"], `read ${i}`);
      });
      await vanished;
      const { holes } = await trial.within(readPartial(trial.io, trial.at(0), 16), "a read");
      expect(holes.map(({ state }) => state)).toEqual(["gone"]);
    },
  },
];
