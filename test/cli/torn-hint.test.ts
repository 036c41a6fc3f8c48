/** Lists that could not be read whole of a machine that goes on meanwhile: it is said what helps. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type {
  FreezableSource,
  MachineSource,
  MortalSource,
  StillSource,
} from "../../connectors/connector.js";
import { type Machine, open } from "../../connectors/index.js";
import { registerConnector } from "../../connectors/registry.js";
import { AddressRanges, fault, readPartial } from "../../src/io/index.js";
import { DUMP } from "../support/cli-dump.js";
import { runHere } from "./run-here.js";

const TORN = fault("io", "device", "connector");
const GONE = fault("gone", "device", "connector");

let dump: Machine;
/** The page of a task that no read gets, as if its list were torn there. */
let missing: number;

beforeAll(async () => {
  dump = await open(DUMP);
  const linux = await dump.linux();
  const task = (await linux.tasks().toArray()).at(-2);
  const place = await linux.memory.translate(task?.address as bigint);
  if (place.state !== undefined) throw new Error(`no task: ${place.state}`);
  missing = Number(place.physical) & ~0xfff;
  registerConnector("torn", {
    kind: "physical",
    about: "a machine with a page that can't be read",
    options: { freeze: "boolean" },
    open: (target, { freeze }): MachineSource & Partial<FreezableSource & StillSource & MortalSource> => {
      const { physical: memory, notes } = dump;
      if (memory === undefined || notes === undefined) throw new Error("no memory");
      return {
        name: `torn:${target}`,
        supports: { write: false, live: true },
        ...(target === "dying" ? { isMortal: true } : {}),
        still: freeze === true && target !== "silent" ? "is paused" : undefined,
        ...(target === "unstoppable" ? {} : { freeze: async () => {}, thaw: async () => {} }),
        notes: () => notes,
        ranges: () => AddressRanges.single(0, memory.map.end),
        transferSync(batch) {
          for (let row = 0; row < batch.length; row++) {
            const address = batch.address(row);
            batch.done(row);
            if (address <= missing + 4095 && address + batch.bytes(row).length > missing)
              batch.failRange(row, 0, batch.bytes(row).length, target === "dying" ? GONE : TORN);
            else {
              const { holes } = readPartial(memory, address, batch.bytes(row)).sync();
              for (const { start, end, fault: why } of holes) batch.failRange(row, start, end, why);
            }
          }
        },
      };
    },
  });
});
afterAll(() => dump.close());

const HINT = "are torn where it goes on while they are read: try --freeze";

it.each([
  ["that could be paused", ["-c", "torn:x"], true],
  ["that is paused", ["-c", "torn:x", "--freeze"], false],
  ["that is paused by its target's options", ["-c", "torn:x:freeze=true"], false],
  ["that was to be paused, and says nothing of it", ["-c", "torn:silent", "--freeze"], false],
  ["that nothing can pause", ["-c", "torn:unstoppable"], false],
])("a machine %s", async (_, target, isHinted) => {
  const { status, text } = await runHere(["ps", ...target]);
  expect([status, text.includes("could not be read:"), text.includes(HINT)]).toEqual([3, true, isHinted]);
});

it("a machine that has gone meanwhile is told as that alone", async () => {
  const { status, text } = await runHere(["ps", "-c", "torn:dying"]);
  expect([status, text.includes("torn:dying is gone"), text.includes(HINT)]).toEqual([3, true, false]);
});
