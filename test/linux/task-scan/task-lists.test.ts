/** Lists of tasks that somebody made: all of them in one ring, which each would have to be followed through. */
import { describe, expect, it } from "vitest";
import { Io } from "../../../src/io/index.js";
import type { KernelData } from "../../../src/linux/kernel-data.js";
import { OwnLists } from "../../../src/linux/task-scan/task-lists.js";
import { buildList, containerTypes } from "../../support/kernel-containers.js";
import { HandMemory } from "../../support/kernel-memory.js";

const NODES = 400;

/** Follows a ring from each of its nodes. */
function follow(tasks: number) {
  const memory = new HandMemory(containerTypes(8, true));
  const { links } = buildList(
    memory,
    Array.from({ length: NODES - 1 }, () => memory.take(16)),
  );
  const lists = new OwnLists(tasks);
  const told: string[] = [];
  const data = { memory: memory.space } as unknown as KernelData;
  Io.of(memory.space.scheduler, function* () {
    yield* lists.load(data, links, 0n, "the children of a task", ({ message }) => told.push(message));
  }).sync();
  return { known: links.filter((head) => lists.of(head) !== undefined).length, told };
}

describe("the lists of tasks", () => {
  it("that have more members than there are tasks are not followed for ever, and that is told", () => {
    const { known, told } = follow(NODES);
    // (2 x 400 and those that may not have been found, by 399.)
    expect(known).toBe(331);
    expect(told).toEqual([expect.stringContaining("such lists have more tasks than there are")]);
  });

  it("that have as many as there are tasks are all followed", () => {
    expect(follow((NODES * NODES) / 2)).toEqual({ known: NODES, told: [] });
  });
});
