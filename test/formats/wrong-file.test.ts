/** Every format over a file whose layer is wrong for a while: nobody waits for what it lost, then or when it is right again. */
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { type DumpFile, openDump } from "../../src/formats/index.js";
import {
  type BoundView,
  fault,
  layer,
  type PacketIo,
  readInto,
  readPartial,
  Scheduler,
  withFallback,
} from "../../src/io/index.js";
import { withPageCache } from "../../src/memory/index.js";
import { testFile } from "../support/dump.js";
import { readDamaged } from "../support/format-suite.js";
import { FORMAT_CASES } from "../support/formats/index.js";
import { writeKdump } from "../support/write-kdump.js";

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

/** What the dump's memory is read through. */
const THROUGH: Readonly<Record<string, (io: PacketIo<number>) => PacketIo<number>>> = {
  itself: (io) => io,
  "a page cache": (io) => withPageCache(io),
  "a fallback": (io) => withFallback(io, REFUSES),
};
const REFUSES = layer(undefined, (_: number, view: BoundView) =>
  view.fail(fault("io", "memory", "application")),
);

it("a kdump's page stored as it is, at which a file throws, takes none with it that is compressed", async () => {
  const blockSize = 512;
  const pages = Array.from({ length: 9 }, (_, pfn) => ({
    pfn,
    bytes: new Uint8Array(blockSize).fill(pfn + 1),
    stored: pfn === 1 ? ("raw" as const) : ("zlib" as const),
  }));
  const inner = testFile(writeKdump(pages, { maxPages: pages.length, blockSize }), "async");
  let isWrong = false;
  const file: DumpFile = {
    ...inner,
    sendIo(offset, view) {
      if (isWrong && view.length === blockSize) throw new Error("broken");
      inner.sendIo(offset, view);
    },
  };
  const image = await openDump(file, { decoders: nodeDecoders }).promise();
  // Their descriptors are known from here on.
  await readPartial(image.io, 8 * blockSize, 8).promise();
  isWrong = true;
  for (const io of [withFallback(image.io, REFUSES), withPageCache(image.io)]) {
    const read = await ending(readPartial(io, 0, 3 * blockSize).promise());
    expect(read).toMatchObject({ holes: [{ start: blockSize, end: 3 * blockSize }] });
  }
  isWrong = false;
  expect([...(await readInto(image.io, 2 * blockSize, 2).promise())]).toEqual([3, 3]);
});

it.each(Object.values(FORMAT_CASES).map((each) => [each.name, each] as const))(
  "what a file throws is what a read of it fails with, or its cause: %s",
  async (_, each) => {
    const { small, size } = each;
    const whole = readDamaged(small, size) as (number | undefined)[];
    let isWrong = false;
    const scheduler = new Scheduler();
    const file = (bytes: Uint8Array, name: string): DumpFile => {
      const inner = testFile(bytes, "async", name, scheduler);
      return {
        ...inner,
        sendIo(offset, view) {
          if (isWrong) throw new Error("broken");
          inner.sendIo(offset, view);
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
      cacheBytes: 0,
    }).promise();
    const present = [...whole.keys()].filter((at) => whole[at] !== undefined);
    // With nothing known of its pages; and when what describes them has been read.
    for (const first of [undefined, present.at(-1)]) {
      isWrong = false;
      if (first !== undefined) await readPartial(image.io, first, 1).promise();
      isWrong = true;
      let failed = 0;
      for (const at of present.filter((_at, i) => i % 61 === 0)) {
        const read = await readInto(image.io, at, 1)
          .promise()
          .catch((error: Error) => error);
        if (read instanceof Error) {
          failed++;
          expect((read.cause as Error | undefined)?.message ?? read.message, `at ${at}`).toBe("broken");
        } else {
          // It lies in no file (zeros), or is kept.
          expect([...read], `at ${at}`).toEqual([whole[at]]);
        }
      }
      expect(failed).toBeGreaterThan(0);
    }
  },
);

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
    for (const [name, through] of Object.entries(THROUGH)) {
      isWrong = false;
      const image = await openDump(file(small.file, small.name ?? "test.dump"), {
        decoders: nodeDecoders,
        parts: small.parts?.map((bytes, i) => file(bytes, `part-${i}.dump`)),
        beside: (other) => {
          const bytes = Object.hasOwn(small.beside ?? {}, other) ? small.beside?.[other] : undefined;
          return bytes && file(bytes, other);
        },
        format: small.format,
        memoryMap: small.memoryMap,
        cacheBytes: 0,
      }).promise();
      const io = through(image.io);
      // Two readers of the same, one of whom joins the other's fetches; the file goes wrong before, and while they wait. And
      // again: what describes pages has been read by then.
      for (const turns of [0, 1, 2, 3, 0, 1]) {
        isWrong = turns === 0;
        const lengths = [size, Math.min(100, size)];
        const readers = lengths.map((length) => ending(readPartial(io, 0, length).promise()));
        for (let i = 0; i < turns; i++) await null;
        isWrong = true;
        for (const read of await Promise.all(readers)) {
          expect(read, `through ${name}, wrong after ${turns} turns`).not.toBe(HANGS);
          if (typeof read !== "object") continue;
          for (const { start, end } of read.good)
            for (let at = start; at < end; at++)
              if (read.bytes[at] !== whole[at]) expect([at, read.bytes[at]]).toEqual([at, whole[at]]);
        }
        isWrong = false;
        const last = size - Math.min(8, size);
        expect(await ending(readPartial(io, last, size - last).promise())).toBeTypeOf("object");
      }
      const read = await ending(readPartial(io, 0, size).promise());
      if (typeof read !== "object") return expect(read).toBe("a read of the file that is right again");
      const got: (number | undefined)[] = new Array(size);
      for (const { start, end } of read.good) for (let at = start; at < end; at++) got[at] = read.bytes[at];
      expect(got.every((byte, at) => byte === whole[at])).toBe(true);
      expect(read.holes.filter(({ state }) => state === "unanswered")).toEqual([]);
    }
  });
});
