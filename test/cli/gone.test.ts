/** A target that vanishes while a command reads it: that is what is said, and nothing is asked of it any more. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { MachineSource, MortalSource } from "../../connectors/connector.js";
import { type Machine, open } from "../../connectors/index.js";
import { registerConnector } from "../../connectors/registry.js";
import { AddressRanges, fault, readPartial } from "../../src/io/index.js";
import { DUMP } from "../support/cli-dump.js";
import { runHere } from "./run-here.js";

const GONE = fault("gone", "process", "connector");

let dump: Machine;
/** Batches that the last one that was opened took: before it was gone, and later. */
let took = { alive: 0, gone: 0 };

beforeAll(async () => {
  dump = await open(DUMP, { kernel: "none" });
  // The dump's memory as that of a running machine, which is there for so many batches.
  registerConnector("mortal", {
    kind: "physical",
    about: "vanishes",
    open: (target): MachineSource & Partial<MortalSource> => {
      const counts = { alive: 0, gone: 0 };
      took = counts;
      const isDevice = target.includes("device");
      const { physical, notes } = dump;
      if (physical === undefined || notes === undefined) throw new Error("no memory");
      return {
        name: `mortal:${target}`,
        supports: { write: false, live: true },
        ...(isDevice ? {} : { isMortal: true }),
        notes: () => ({ ...notes, ...(target.includes("bare") ? { vmcoreinfo: undefined, raw: [] } : {}) }),
        ranges: () => AddressRanges.single(0, physical.map.end),
        transferSync(batch) {
          // (A device is away for one batch.)
          const after = Number.parseInt(target, 10);
          const isGone = counts.alive >= after && !(isDevice && counts.gone > 0);
          counts[isGone ? "gone" : "alive"]++;
          for (let row = 0; row < batch.length; row++) {
            if (isGone) batch.fail(row, GONE);
            else {
              batch.done(row);
              const { holes } = readPartial(physical, batch.address(row), batch.bytes(row)).sync();
              for (const { start, end, fault: why } of holes) batch.failRange(row, start, end, why);
            }
          }
        },
      };
    },
  });
});
afterAll(() => dump.close());

/** How many batches a whole run takes. */
async function whole(args: readonly string[]): Promise<number> {
  const { status, text } = await runHere([...args, "-c", "mortal:999999"]);
  expect([status, text]).toEqual([expect.toBeOneOf([0, 3]), expect.not.stringContaining("is gone")]);
  return took.alive;
}

it.each([
  [0.02, 1, "nothing of it can be read any more"],
  [0.1, 1, "nothing of it can be read any more"],
  [0.8, 3, "what could not be read of it is missing"],
])("ps of a machine that is gone after %d of its reads says so", async (part, status, how) => {
  const alive = Math.floor(part * (await whole(["ps"])));
  const run = await runHere(["ps", "-c", `mortal:${alive}`]);
  expect([run.status, run.text]).toEqual([
    status,
    expect.stringMatching(new RegExp(`^memtool: mortal:${alive} is gone: ${how}`, "m")),
  ]);
  expect(took).toEqual({ alive, gone: 1 });
});

it("the search for a kernel ends where its machine does", async () => {
  const { status, text } = await runHere(["ps", "-c", "mortal:2bare"]);
  expect([status, text]).toEqual([
    1,
    expect.stringMatching(/^memtool: mortal:2bare is gone: nothing of it can/m),
  ]);
  expect(took).toEqual({ alive: 2, gone: 1 });
});

it("a device that was away for a moment is asked again, and not told to be gone", async () => {
  const alive = Math.floor(0.9 * (await whole(["ps"])));
  const { status, text } = await runHere(["ps", "-c", `mortal:${alive}device`]);
  expect(status).toBeOneOf([0, 3]);
  expect(text).not.toContain("is gone:");
  expect([took.gone, took.alive > alive]).toEqual([1, true]);
});

it("`diff` says which of its targets is gone", async () => {
  const { status, text } = await runHere(["diff", "-f", DUMP, "mortal:40", "--only", "processes"]);
  expect([status, text]).toEqual([1, expect.stringMatching(/^memtool: mortal:40 is gone: .*: second: /m)]);
});
