/** Files of which parts can't be read, as a failing disk or network has them. */
import type { DumpFile } from "../../src/formats/index.js";
import { type BoundView, fault, Scheduler } from "../../src/io/index.js";
import { testFile } from "./dump.js";

const GONE = fault("gone", "device", "connector");

/** A file in memory. @param bad Byte ranges (`end` exclusive), ascending and disjoint, that fail as `gone`. */
export function badSectors(
  bytes: Uint8Array,
  bad: readonly { readonly start: number; readonly end: number }[],
  name = "test.dump",
  scheduler = new Scheduler(),
): DumpFile {
  const inner = testFile(bytes, "sync", name, scheduler);
  return {
    name,
    size: inner.size,
    scheduler,
    sendIo: (offset, view) => {
      let at = offset;
      let rest: BoundView | undefined = view;
      while (rest !== undefined) {
        const here: BoundView = rest;
        const next = bad.find(({ end }) => end > at);
        const isBad = next !== undefined && next.start <= at;
        const stop = isBad ? next.end : (next?.start ?? Number.POSITIVE_INFINITY);
        const room = stop - at;
        rest = here.length > room ? here.split(room) : undefined;
        at += here.length;
        if (isBad) here.fail(GONE);
        else inner.sendIo(at - here.length, here);
      }
    },
  };
}
