/** Rules about reads: every byte that is there, none that is not, and no memory but the caller's. */
import { expect } from "vitest";
import { all, readInto, readPartial, WouldBlockError } from "../../../src/io/index.js";
import type { SourceRule } from "./rule.js";
import { answerOf, expectSame, mergeHoles, type Place, pause, type Trial } from "./trial.js";

const SIZES = [1, 2, 3, 7, 8, 9, 16, 63, 64, 65, 511, 512, 4095, 4096, 4097, 8191, 8192, 8193, 12_289];

const noBad = ({ bad = [] }: { bad?: readonly unknown[] }) => (bad.length === 0 ? "bad ranges" : undefined);

/** Rows for a batch of the connector's own: those that the core would hand to it. */
function rowsAt(trial: Trial, sizes: readonly number[]): Place[] {
  return trial.placesAt(sizes).filter((place) => trial.reaches(place));
}

export const READING: readonly SourceRule[] = [
  {
    name: "says what it is: a name, a door, and ranges that hold what can be read",
    async check(trial) {
      const { source, truth } = trial;
      expect(source.name).not.toBe("");
      expect(trial.doors.length).toBeGreaterThan(0);
      const { writable = false, exchangeable = false } = trial.subject;
      expect(source.supports.write, "supports.write").toBe(writable);
      expect(source.supports.exchange ?? false, "supports.exchange").toBe(exchangeable);
      const ranges = source.ranges();
      let last = -1;
      for (const { start, end } of ranges) {
        expect(start, "ranges: ascending, and with gaps between them").toBeGreaterThan(last);
        expect(end, "ranges: none is empty").toBeGreaterThan(start);
        last = end;
      }
      for (const { start, length } of trial.placesAt([1])) {
        if (start >= truth.length || trial.expected({ start, length }).length !== 0) continue;
        expect(ranges.has(Number(trial.at(start))), `ranges: +0x${start.toString(16)} is in one`).toBe(true);
      }
    },
  },
  {
    name: "reads every size at every edge: of what is there, of pages, of what can't be read",
    async check(trial) {
      const places = [...trial.placesAt(SIZES), { start: 0, length: trial.end }];
      const results = await trial.within(
        all(places.map(({ start, length }) => readPartial(trial.io, trial.at(start), length))),
        "reads",
      );
      results.forEach((result, i) => {
        trial.checkRead(places[i] as Place, result, "asynchronously");
      });
    },
  },
  {
    name: "gives synchronously what it gives asynchronously, or says that it can't",
    async check(trial) {
      const places = [...trial.placesAt([1, 8, 4097]), { start: 0, length: trial.end }];
      if (trial.source.transferSync === undefined) {
        expect(() => readPartial(trial.io, trial.at(0), 8).sync()).toThrow(WouldBlockError);
        return;
      }
      for (const place of places) {
        const sync = readPartial(trial.io, trial.at(place.start), place.length).sync();
        const later = await trial.within(
          readPartial(trial.io, trial.at(place.start), place.length),
          "a read",
        );
        trial.checkRead(place, sync, "synchronously");
        trial.checkRead(place, later, "asynchronously");
        expect(mergeHoles(sync.holes)).toEqual(mergeHoles(later.holes));
      }
    },
  },
  {
    name: "answers every row of a batch, and touches no byte outside them",
    async check(trial) {
      for (const door of trial.doors) {
        for (const sizes of [[1], [8], [4096], [3, 64, 4097, 8193]]) {
          const guarded = trial.batch("read", rowsAt(trial, sizes));
          await door.run(guarded.batch);
          trial.checkBatch(guarded, door.name);
        }
      }
    },
  },
  {
    name: "lets a bad row cost only itself",
    lacks: noBad,
    async check(trial) {
      const places: Place[] = [];
      const good = trial.scattered(trial.bad.length * 2 + 2, 8);
      trial.bad.forEach(({ start, end }, i) => {
        places.push(
          good[2 * i] as Place,
          { start, length: Math.min(8, end - start) },
          good[2 * i + 1] as Place,
        );
        places.push({ start: Math.max(0, end - 4), length: Math.min(4, end) });
      });
      const reads = places.map(({ start, length }) => readPartial(trial.io, trial.at(start), length));
      (await trial.within(all(reads), "reads")).forEach((result, i) => {
        trial.checkRead(places[i] as Place, result, "through the core");
      });
      const reached = places.filter((place) => trial.reaches(place));
      for (const door of trial.doors) {
        const guarded = trial.batch("read", reached);
        await door.run(guarded.batch);
        trial.checkBatch(guarded, door.name);
      }
    },
  },
  {
    name: "takes thousands of rows at once, the same place more than once among them",
    async check(trial) {
      for (const door of trial.doors) {
        const guarded = trial.batch("read", [...trial.scattered(3000, 8), ...trial.scattered(200, 64)]);
        await door.run(guarded.batch);
        trial.checkBatch(guarded, door.name);
      }
    },
  },
  {
    name: "gives results in the order in which they were asked for",
    async check(trial) {
      const places = [...trial.scattered(60, 8), ...trial.scattered(20, 24)].reverse();
      // Overlapping ones, and one twice.
      places.push({ start: 3, length: 20 }, { start: 0, length: 8 }, { start: 3, length: 20 });
      const ask = () => all(places.map(({ start, length }) => readInto(trial.io, trial.at(start), length)));
      const answers = [await trial.within(ask(), "reads")];
      if (trial.source.transferSync !== undefined) answers.push(ask().sync());
      for (const values of answers) {
        values.forEach((bytes, i) => {
          const { start, length } = places[i] as Place;
          expectSame(bytes, trial.truth.subarray(start, start + length), `result ${i}`);
        });
      }
    },
  },
  {
    name: "leaves memory alone once its rows are answered",
    async check(trial) {
      for (const door of trial.doors) {
        const guarded = trial.batch("read", rowsAt(trial, [1, 64, 4096]));
        await door.run(guarded.batch);
        guarded.memory.fill(0xee);
        await pause();
        const all = new Uint8Array(guarded.memory.length).fill(0xee);
        expectSame(guarded.memory, all, `${door.name}: memory that was given back`);
      }
    },
  },
  {
    name: "lets go of memory whose rows a synchronous call took over",
    lacks: ({ source }) =>
      source.transfer === undefined || source.transferSync === undefined ? "both doors" : undefined,
    async check(trial) {
      const guarded = trial.batch("read", rowsAt(trial, [8, 4096]));
      const { batch } = guarded;
      const again = batch.again();
      const under = trial.source.transfer?.(batch);
      // It is waited for below, unless the rule is broken before.
      under?.catch(() => {});
      // What the core does when `.sync()` finds these rows under way: see `SourceIo.reissue`.
      batch.divert();
      trial.source.transferSync?.(again);
      trial.checkBatch({ ...guarded, batch: again }, "the rows, taken over");
      guarded.memory.fill(0xee);
      await trial.within(under ?? Promise.resolve(), "transfer");
      await pause(1);
      const all = new Uint8Array(guarded.memory.length).fill(0xee);
      expectSame(guarded.memory, all, "memory that was taken away");
    },
  },
  {
    name: "refuses what lies outside its ranges, row by row",
    lacks: ({ source }) =>
      source.supports.live ? undefined : "a live source (of others the core refuses such rows)",
    async check(trial) {
      const ranges = trial.source.ranges();
      const { base } = trial.subject;
      const far = [2 ** 52 - 4096, 2 ** 53 - 16_384, 2 ** 63 - 2 ** 20, 2 ** 63, 2 ** 64 - 8192]
        .filter((address) => !ranges.has(address) && !ranges.has(address + 4095))
        .map((address) => BigInt(address) - BigInt(base))
        .filter((offset) => offset > 0n);
      for (const door of trial.doors) {
        const guarded = trial.batch("read", [{ start: 0, length: 8 }]);
        const { batch, memory } = guarded;
        for (const offset of far) {
          const address = BigInt(base) + offset;
          batch.push(Number(address & 0xffff_ffffn), Number(address >> 32n), memory, 3, 8);
        }
        await door.run(batch);
        for (let row = 1; row < batch.length; row++) {
          const address = `${door.name}: 0x${batch.addresses[row]?.toString(16)}`;
          expect(mergeHoles(answerOf(batch, row)), address).toEqual([{ start: 0, end: 8, state: "outside" }]);
        }
        expect(batch.status[0], `${door.name}: the good row beside them`).toBe(0);
        expectSame(batch.bytes(0), trial.truth.subarray(0, 8), `${door.name}: its bytes`);
      }
    },
  },
];
