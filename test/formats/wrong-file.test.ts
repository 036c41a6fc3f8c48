/** Every format over a file whose layer is wrong for a while: nobody waits for what it lost, then or when it is right again. */
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { type DumpFile, openDump } from "../../src/formats/index.js";
import { type BoundView, readPartial, Scheduler } from "../../src/io/index.js";
import { testFile } from "../support/dump.js";
import { readDamaged } from "../support/format-suite.js";
import { FORMAT_CASES } from "../support/formats/index.js";

/** What a layer does with a view that it should read; `read` does. */
const WRONGS: Readonly<Record<string, (view: BoundView, read: (view: BoundView) => void) => void>> = {
  throws: () => {
    throw new Error("broken");
  },
  "loses all": () => {},
  "loses a part": (view, read) => {
    if (view.length > 1) view.split(Math.ceil(view.length / 2));
    read(view);
  },
  "throws half-way": (view, read) => {
    if (view.length > 1) view.split(Math.ceil(view.length / 2));
    read(view);
    throw new Error("broken");
  },
};

const HANGS = Symbol("hangs");

/** How a promise ends, if it does within many turns. */
async function ending<T>(promise: Promise<T>): Promise<T | "threw" | typeof HANGS> {
  let result: T | "threw" | typeof HANGS = HANGS;
  promise.then(
    (value) => {
      result = value;
    },
    () => {
      result = "threw";
    },
  );
  for (let i = 0; i < 200 && (result as unknown) === HANGS; i++) {
    await new Promise((resolve) => setTimeout(resolve, i < 100 ? 0 : 5));
  }
  return result;
}

describe.each(Object.keys(WRONGS))("a file whose layer %s", (how) => {
  it.each(Object.values(FORMAT_CASES).map((each) => [each.name, each] as const))("%s", async (_, each) => {
    const { small, size } = each;
    const whole = readDamaged(small, size) as (number | undefined)[];
    const scheduler = new Scheduler();
    let isWrong = false;
    const file = (bytes: Uint8Array, name: string): DumpFile => {
      const inner = testFile(bytes, "async", name, scheduler);
      const read = (offset: number) => (view: BoundView) => inner.sendIo(offset, view);
      return {
        name,
        size: inner.size,
        scheduler,
        sendIo(offset, view) {
          if (isWrong) WRONGS[how]?.(view, read(offset));
          else inner.sendIo(offset, view);
        },
      };
    };
    const image = await openDump(file(small.file, small.name ?? "test.dump"), {
      decoders: nodeDecoders,
      parts: small.parts?.map((bytes, i) => file(bytes, `part-${i}.dump`)),
      beside: (name) => {
        const bytes = Object.hasOwn(small.beside ?? {}, name) ? small.beside?.[name] : undefined;
        return bytes && file(bytes, name);
      },
      format: small.format,
      memoryMap: small.memoryMap,
    }).promise();
    // Two readers of the same, one of whom joins the other's fetches; the file goes wrong before, and while they wait.
    for (const turns of [0, 1, 2, 3]) {
      isWrong = turns === 0;
      const readers = [0, 1].map(() => ending(readPartial(image.io, 0, size).promise()));
      for (let i = 0; i < turns; i++) await null;
      isWrong = true;
      for (const read of await Promise.all(readers)) {
        expect(read, `wrong after ${turns} turns`).not.toBe(HANGS);
        if (typeof read !== "object") continue;
        for (const { start, end } of read.good)
          for (let at = start; at < end; at++)
            if (read.bytes[at] !== whole[at]) expect([at, read.bytes[at]]).toEqual([at, whole[at]]);
      }
    }
    isWrong = false;
    const read = await ending(readPartial(image.io, 0, size).promise());
    if (typeof read !== "object") return expect(read).toBe("a read of the file that is right again");
    const got: (number | undefined)[] = new Array(size);
    for (const { start, end } of read.good) for (let at = start; at < end; at++) got[at] = read.bytes[at];
    expect(got.every((byte, at) => byte === whole[at])).toBe(true);
    expect(read.holes.filter(({ state }) => state === "unanswered")).toEqual([]);
  });
});
