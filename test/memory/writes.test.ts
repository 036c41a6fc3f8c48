import { expect, it } from "vitest";
import { type BoundView, Packet } from "../../src/io/index.js";
import { Writes } from "../../src/memory/writes.js";

/** A write that is under way until its view is completed. */
function begin(writes: Writes): BoundView {
  const view = Packet.writing(new Uint8Array(8)).view().bind();
  view.keep();
  writes.note(view);
  return view;
}

it("writes that overlap without end are not remembered without end", () => {
  const writes = new Writes();
  let last = begin(writes);
  for (let i = 0; i < 10_000; i++) {
    const next = begin(writes);
    last.complete();
    last = next;
    expect(writes.underWay()).toBe(true);
    expect(writes.length).toBeLessThanOrEqual(64);
  }
  last.complete();
  expect(writes.underWay()).toBe(false);
  expect(writes.length).toBe(0);
});

it("a write that is long under way is remembered among thousands that are over", () => {
  const writes = new Writes();
  const first = begin(writes);
  for (let i = 0; i < 1000; i++) begin(writes).complete();
  expect(writes.underWay()).toBe(true);
  first.complete();
  expect(writes.underWay()).toBe(false);
});

it("the version changes while a write is under way, once when it has landed, and then stays", () => {
  const writes = new Writes();
  const versions = [writes.version(), writes.version()];
  expect(versions[0]).toBe(versions[1]);
  const view = begin(writes);
  versions.push(writes.version(), writes.version());
  view.complete();
  versions.push(writes.version());
  expect(new Set(versions).size).toBe(4);
  expect(writes.version()).toBe(versions.at(-1));
  begin(writes).complete();
  expect(writes.version()).not.toBe(versions.at(-1));
});
