/** Rules about writes: whole, in order, nowhere else; or refused. */
import { expect } from "vitest";
import { all, PartialWriteError, readInto, settle, write, writePartial } from "../../../src/io/index.js";
import type { SourceRule } from "./rule.js";
import { expectSame, mergeHoles, type Place, type Trial } from "./trial.js";

const notWritable = ({ writable = false }: { writable?: boolean }) => (writable ? undefined : "writes");

/** Bytes that differ from what is there, and from each other's rows. */
function other(trial: Trial, { start, length }: Place, salt: number): Uint8Array {
  return Uint8Array.from(
    { length },
    (_, i) => ((trial.truth[start + i] ?? 0) + 1 + ((salt + i) % 255)) & 255,
  );
}

/** Writes each place in turn into a model of what is there, but for what is bad. */
function land(trial: Trial, model: Uint8Array, place: Place, bytes: Uint8Array): void {
  const holes = trial.expected(place);
  for (let i = 0; i < place.length; i++) {
    if (!holes.some(({ start, end }) => start <= i && i < end)) model[place.start + i] = bytes[i] as number;
  }
}

/** Compares what is there with a model, but for what is bad. */
function expectModel(trial: Trial, actual: Uint8Array, model: Uint8Array, what: string): void {
  let at = 0;
  for (const { start, end } of [...trial.bad, { start: model.length, end: model.length }]) {
    if (start > at)
      expectSame(actual.subarray(at, Math.min(start, model.length)), model.subarray(at, start), what);
    at = Math.max(at, end);
  }
}

export const WRITING: readonly SourceRule[] = [
  {
    name: "lands writes of every size whole, in the order of their submission, and nowhere else",
    lacks: notWritable,
    async check(trial) {
      const model = trial.truth.slice();
      const places = trial
        .placesAt([1, 3, 8, 64, 513, 4096, 4097])
        .filter((place) => trial.expected(place).length === 0);
      for (const door of trial.doors) {
        // Twice the same and overlapping ones: the last one counts.
        const guarded = trial.batch("write", [...places, ...places.slice(0, 5)], (place, row) => {
          const bytes = other(trial, place, row * 3 + door.name.length);
          land(trial, model, place, bytes);
          return bytes;
        });
        await door.run(guarded.batch);
        trial.checkBatch(guarded, door.name);
        expectModel(trial, await trial.now(), model, `${door.name}: what is there`);
      }
      const back = await trial.within(
        all(places.map(({ start, length }) => readInto(trial.io, trial.at(start), length))),
        "reads",
      );
      back.forEach((bytes, i) => {
        const { start, length } = places[i] as Place;
        expectSame(
          bytes,
          model.subarray(start, start + length),
          `what is read back at +0x${start.toString(16)}`,
        );
      });
    },
  },
  {
    name: "lets a write that can't land cost only itself",
    lacks: (subject) => notWritable(subject) ?? ((subject.bad ?? []).length === 0 ? "bad ranges" : undefined),
    async check(trial) {
      const model = trial.truth.slice();
      const good = trial.scattered(trial.bad.length + 1, 16);
      const places = trial.bad.flatMap(({ start, end }, i) => [
        good[i] as Place,
        { start: Math.max(0, start - 5), length: Math.min(5, start) + Math.min(8, end - start) },
      ]);
      places.push(good[trial.bad.length] as Place);
      const writes = places.map((place, i) => {
        const bytes = other(trial, place, i);
        land(trial, model, place, bytes);
        return writePartial(trial.io, trial.at(place.start), bytes);
      });
      const results = await trial.within(all(writes), "writes");
      results.forEach(({ holes }, i) => {
        expect(mergeHoles(holes), `write ${i}`).toEqual(trial.expected(places[i] as Place));
      });
      expectModel(trial, await trial.now(), model, "what is there");
    },
  },
  {
    name: "serves reads and writes in flight together",
    lacks: notWritable,
    async check(trial) {
      const model = trial.truth.slice();
      const half = trial.scattered(40, 16).filter(({ start }) => start % 32 === 0);
      const reads = trial.scattered(40, 16).filter(({ start }) => start % 32 !== 0);
      const pending = settle([
        ...half.map((place, i) => {
          const bytes = other(trial, place, i);
          land(trial, model, place, bytes);
          return write(trial.io, trial.at(place.start), bytes);
        }),
        ...reads.map(({ start, length }) => readInto(trial.io, trial.at(start), length)),
      ]);
      const results = await trial.within(pending, "reads and writes");
      results.slice(half.length).forEach((result, i) => {
        const { start, length } = reads[i] as Place;
        if (!result.ok) throw result.error;
        expectSame(result.value as Uint8Array, trial.truth.subarray(start, start + length), `read ${i}`);
      });
      expectModel(trial, await trial.now(), model, "what is there");
    },
  },
  {
    name: "refuses writes where it does not take them, and changes nothing",
    lacks: ({ writable = false }) => (writable ? "a subject that is not writable" : undefined),
    async check(trial) {
      const bytes = other(trial, { start: 0, length: 32 }, 7);
      const refused = await trial.within(
        write(trial.io, trial.at(0), bytes).promise().catch(String),
        "a write",
      );
      expect(refused).toContain(PartialWriteError.name);
      const { holes } = await trial.within(writePartial(trial.io, trial.at(0), bytes), "a write");
      expect(mergeHoles(holes)).toEqual([{ start: 0, end: 32, state: "read-only" }]);
      expectSame(await trial.now(), trial.truth, "what is there");
    },
  },
];
