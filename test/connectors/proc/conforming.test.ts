/** A process is a conforming source, whichever way its bytes come. */
import { closeSync, openSync, readSync } from "node:fs";
import { afterAll, describe } from "vitest";
import { openProcessWith } from "../../../connectors/proc/open-process.js";
import { sourceSuite } from "../../suite/index.js";
import { canRun, endNow, PAGE, pageAt, Targets } from "./target.js";

const targets = new Targets();
afterAll(() => targets.close());

/** Pages 996 to 1,010, of which 1,000 to 1,002 are not there; 100 bytes in. */
const BASE_PAGE = pageAt(996) + 100n;
const LENGTH = 14 * PAGE;
const HOLE = { start: 4 * PAGE - 100, end: 7 * PAGE - 100, state: "outside" } as const;

/** One that was not ended serves many tests; none of which may find what another wrote. */
let running: Promise<{ readonly pid: number }> | undefined;

describe.skipIf(!canRun)("processes", () => {
  for (const [how, after] of [
    ["in calls of many", 0],
    ["through its file", Number.POSITIVE_INFINITY],
  ] as const) {
    for (const write of [false, true]) {
      sourceSuite(`a process read ${how}${write ? ", to be written" : ""}`, async () => {
        running ??= targets.start("1");
        const { pid } = await running;
        return {
          source: openProcessWith(pid, { write }, { after }),
          base: BASE_PAGE,
          truth: () => readItself(pid),
          bad: [HOLE],
          writable: write,
          vanish: () => {
            running = undefined;
            endNow(pid);
          },
        };
      });
    }
  }
});

function readItself(pid: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  const fd = openSync(`/proc/${pid}/mem`, "r");
  try {
    readSync(fd, bytes, 0, HOLE.start, BASE_PAGE);
    readSync(fd, bytes, HOLE.end, LENGTH - HOLE.end, BASE_PAGE + BigInt(HOLE.end));
  } finally {
    closeSync(fd);
  }
  return bytes;
}
