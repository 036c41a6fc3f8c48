import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { openFile } from "../../connectors/file.js";
import { FileWindows } from "../../connectors/file-windows.js";
import { isInline, mapFile, mapFileWith } from "../../connectors/mapped-file.js";
import { loadMapper, MapError, type Mapper } from "../../connectors/mmap.js";
import { open } from "../../connectors/open.js";
import { openTarget } from "../../connectors/registry.js";
import {
  all,
  CLOSED,
  faultDetail,
  Packet,
  type PacketIo,
  readInto,
  readPartial,
  Scheduler,
  SourceIo,
  write,
} from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { columnOf, readColumn } from "../support/columns.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-mapped-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let made = 0;
const file = (bytes: Uint8Array) => {
  const path = join(directory, `file${made++}`);
  writeFileSync(path, bytes);
  return path;
};
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

const WINDOW = 65_536;
/** What a window holds once it is unmapped: nobody may read that. */
const POISON = 0xdd;

/** Maps by copying. Windows are filled with other bytes when they are unmapped, instead of ending the program. */
class CopyingMapper implements Mapper {
  /** Windows mapped now, and the most at any time. */
  live = 0;
  most = 0;
  maps = 0;
  fails: MapError | undefined;

  try(): void {}

  map(fd: number, offset: number, length: number): { bytes: Uint8Array; unmap(): void } {
    if (this.fails !== undefined) throw this.fails;
    const bytes = new Uint8Array(length);
    readSync(fd, bytes, 0, length, offset);
    this.maps++;
    this.live++;
    this.most = Math.max(this.most, this.live);
    return {
      bytes,
      unmap: () => {
        this.live--;
        bytes.fill(POISON);
      },
    };
  }
}

async function mapped(path: string, parts: Parameters<typeof mapFileWith>[2] = {}) {
  const source = await mapFileWith(path, {}, parts);
  const io = new SourceIo(source, new Scheduler());
  return { source, io, inline: source.inline(io) };
}

describe("a mapped file", () => {
  const SIZE = 300_000;
  const bytes = pattern(SIZE, 1);

  it("has the bytes of the file in any range, inline and in batches, whichever windows they lie in", async () => {
    const mapper = new CopyingMapper();
    const { io, inline } = await mapped(file(bytes), { mapper, windowBytes: WINDOW, maxWindows: 2 });
    const real = await mapped(file(bytes), { windowBytes: WINDOW, maxWindows: 2 });
    const ranges = fc.array(fc.tuple(fc.nat(SIZE + 1000), fc.nat(200_000)), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(ranges, async (wanted) => {
        for (const layer of [io, inline, real.io, real.inline] as PacketIo<number>[]) {
          const results = await all(wanted.map(([at, length]) => readPartial(layer, at, length)));
          for (const [i, [at, length]] of wanted.entries()) {
            const { bytes: got, holes } = results[i] as (typeof results)[0];
            const there = Math.max(0, Math.min(length, SIZE - at));
            expect(Buffer.compare(got.subarray(0, there), bytes.subarray(at, at + there))).toBe(0);
            const missing = { start: there, end: length, state: "outside" };
            expect(holes).toMatchObject(there === length ? [] : [missing]);
          }
        }
      }),
      { numRuns: 40 },
    );
    expect(mapper.most).toBe(2);
    await io.close();
    await real.io.close();
    expect(mapper.live).toBe(0);
  });

  it("answers a column as it does each of its records, whichever windows they lie in", async () => {
    const mapper = new CopyingMapper();
    const { io, inline } = await mapped(file(bytes), { mapper, windowBytes: WINDOW, maxWindows: 2 });
    const places = fc.array(
      fc.oneof(
        fc.nat(SIZE + 100),
        fc.nat(5).map((n) => n * WINDOW - 20),
      ),
      {
        minLength: 1,
        maxLength: 30,
      },
    );
    fc.assert(
      fc.property(
        places,
        fc.constantFrom(1, 8, 40, 3000),
        fc.nat(5),
        fc.boolean(),
        (wanted, size, skip, direct) => {
          const column = columnOf(
            wanted.map((at) => Math.max(0, at)),
            size,
          );
          const from = Math.min(skip, wanted.length - 1);
          const layer = inline as PacketIo<number>;
          const expected = readColumn(io as PacketIo<number>, "records", column, from);
          expect(readColumn(layer, "column", column, from, { direct })).toEqual(expected);
          expect(readColumn(layer, "records", column, from, { direct })).toEqual(expected);
        },
      ),
    );
    await io.close();
    expect(readColumn(inline as PacketIo<number>, "column", columnOf([0, 8], 8)).holes).toMatchObject([
      { start: 0, end: 16, fault: CLOSED },
    ]);
  });

  it("maps a window when it is read first, keeps it, and unmaps the one used longest ago", async () => {
    const mapper = new CopyingMapper();
    const { io, inline } = await mapped(file(bytes), { mapper, windowBytes: WINDOW, maxWindows: 2 });
    const read = (window: number) => readInto(inline, window * WINDOW + 5, 3).sync();
    expect(mapper.maps).toBe(0);
    for (const window of [0, 1, 0, 1, 0]) read(window);
    expect(mapper.maps).toBe(2);
    read(2);
    expect(mapper.maps).toBe(3);
    read(0);
    expect(mapper.maps).toBe(3);
    read(1);
    expect(mapper.maps).toBe(4);
    await io.close();
  });

  it("an output that reads elsewhere, so that windows go, leaves a view's bytes alone", async () => {
    const mapper = new CopyingMapper();
    const { io, inline } = await mapped(file(bytes), { mapper, windowBytes: WINDOW, maxWindows: 1 });
    const packet = Packet.reading(3 * WINDOW);
    const elsewhere = new Uint8Array(8);
    inline.sendIo(
      100,
      packet.view().bind({
        onFragment: () => {
          readInto(inline, 4 * WINDOW, elsewhere).sync();
        },
      }),
    );
    expect(packet.complete).toBe(true);
    expect(Buffer.compare(packet.bytes, bytes.subarray(100, 100 + 3 * WINDOW))).toBe(0);
    expect(elsewhere).toEqual(bytes.slice(4 * WINDOW, 4 * WINDOW + 8));
    await io.close();
  });

  it("a window that can't be mapped costs only its own bytes, with the errno", async () => {
    const mapper = new CopyingMapper();
    const { io, inline } = await mapped(file(bytes), { mapper, windowBytes: WINDOW });
    readInto(inline, 0, 8).sync();
    mapper.fails = new MapError(12, "errno 12");
    for (const layer of [io, inline] as PacketIo<number>[]) {
      const { holes } = readPartial(layer, WINDOW - 10, 20).sync();
      expect(holes).toMatchObject([{ start: 10, end: 20, state: "io" }]);
      expect(faultDetail(holes[0]?.fault ?? 0)).toBe(12);
    }
    await io.close();
  });

  it("a window that made room for one that can't be mapped is not touched any more", async () => {
    const mapper = new CopyingMapper();
    const { io, inline } = await mapped(file(bytes), { mapper, windowBytes: WINDOW, maxWindows: 1 });
    readInto(inline, 0, 8).sync();
    mapper.fails = new MapError(12, "errno 12");
    expect(readPartial(inline, WINDOW, 8).sync().holes).toMatchObject([{ state: "io" }]);
    expect(readPartial(inline, 0, 8).sync().holes).toMatchObject([{ state: "io" }]);
    mapper.fails = undefined;
    expect(readInto(inline, 0, 8).sync()).toEqual(bytes.slice(0, 8));
    await io.close();
  });

  it("is in no batch when it is read inline, and in one when it isn't", async () => {
    const { io, inline } = await mapped(file(bytes));
    readInto(inline, 0, 100).sync();
    expect(io.counters).toMatchObject({ batches: 0, fragments: 0, bytes: 0 });
    readInto(io, 0, 100).sync();
    expect(io.counters).toMatchObject({ batches: 1, fragments: 1, bytes: 100 });
    await io.close();
  });

  it("shows what was written through it", async () => {
    const path = file(bytes);
    const source = await mapFile(path, { write: true });
    const io = new SourceIo(source, new Scheduler());
    const inline = source.inline(io);
    readInto(inline, 1000, 4).sync();
    write(inline, 1000, Uint8Array.of(1, 2, 3, 4)).sync();
    expect(readInto(inline, 1000, 4).sync()).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect(readFileSync(path).subarray(1000, 1004)).toEqual(Buffer.of(1, 2, 3, 4));
    await io.close();
  });

  it("that is closed is unmapped, and what is read fails as gone", async () => {
    const path = file(bytes);
    const { io, inline } = await mapped(path);
    readInto(inline, 0, 8).sync();
    const count = () => readFileSync("/proc/self/maps", "latin1").split(path).length - 1;
    if (process.platform === "linux") expect(count()).toBe(1);
    await io.close();
    if (process.platform === "linux") expect(count()).toBe(0);
    for (const layer of [io, inline] as PacketIo<number>[]) {
      expect(readPartial(layer, 0, 8).sync().holes).toMatchObject([{ start: 0, end: 8, state: "gone" }]);
    }
  });

  it("of 5 GiB is read behind 4 GiB, and no more of it is mapped than is read", async () => {
    const path = file(Uint8Array.of(1));
    const fd = openSync(path, "r+");
    const size = 5 * 2 ** 30;
    ftruncateSync(fd, size);
    writeSync(fd, pattern(5000, 7), 0, 5000, size - 5000);
    writeSync(fd, Uint8Array.of(8, 9), 0, 2, 2 ** 32 - 1);
    closeSync(fd);
    const dump = await open(path, { map: true, kernel: "none" });
    expect(dump.format).toBe("raw");
    expect(await dump.physical?.read(size - 5000, 5000)).toEqual(pattern(5000, 7));
    expect(await dump.physical?.read(2 ** 32 - 2, 4)).toEqual(Uint8Array.of(0, 8, 9, 0));
    expect((await dump.physical?.readPartial(size - 4, 8))?.holes).toMatchObject([{ start: 4, end: 8 }]);
    expect(dump.source.counters.batches).toBe(0);
    await dump.close();
  });
});

describe("a file that was truncated while it was mapped", () => {
  const bytes = pattern(5 * WINDOW, 1);
  /** What positioned reads say. */
  const expected = (path: string) => {
    const io = new SourceIo(openFile(path), new Scheduler());
    return { io, outcome: (ranges: readonly [number, number][]) => outcomes(io, ranges) };
  };
  const outcomes = (io: PacketIo<number>, ranges: readonly [number, number][]) =>
    ranges.map(([at, length]) => {
      const { holes, good, bytes: got } = readPartial(io, at, length).sync();
      return {
        holes,
        good,
        bytes: good.map(({ start, end }) => Buffer.from(got.subarray(start, end)).toString("latin1")),
      };
    });
  const RANGES: readonly [number, number][] = [
    [0, 100],
    [WINDOW - 100, 200],
    [WINDOW, 10],
    [WINDOW + 8000, 500],
    [WINDOW + 8200, 500],
    [0, 4 * WINDOW],
    [4 * WINDOW, 100],
  ];

  it.each([WINDOW + 8192, WINDOW + 8195, WINDOW, 0])(
    "to %d: the rest is read, what went is gone",
    async (size) => {
      const path = file(bytes);
      const { io, inline } = await mapped(path, { windowBytes: WINDOW });
      const positioned = expected(path);
      const before = outcomes(inline, RANGES);
      expect(before).toEqual(positioned.outcome(RANGES));
      await nextTurn();
      truncateSync(path, size);
      const after = positioned.outcome(RANGES);
      expect(after).not.toEqual(before);
      expect(outcomes(inline, RANGES)).toEqual(after);
      expect(outcomes(io, RANGES)).toEqual(after);
      await io.close();
      await positioned.io.close();
    },
  );

  it("a column that is read first in a turn notices, too", async () => {
    const path = file(bytes);
    const { io, inline } = await mapped(path);
    const layer = inline as PacketIo<number>;
    const column = columnOf([0, 4 * WINDOW, 100], 50);
    expect(readColumn(layer, "column", column).holes).toEqual([]);
    await nextTurn();
    truncateSync(path, WINDOW);
    expect(readColumn(layer, "column", column).holes).toMatchObject([{ start: 50, end: 100 }]);
    await io.close();
  });

  it("in the same turn: batches notice at once, inline reads after a MiB", async () => {
    const path = file(pattern(2 ** 21, 1));
    const { io, inline } = await mapped(path);
    readInto(inline, 2 ** 20, 100).sync();
    // What it reads now is still there, and at its end it looks.
    truncateSync(path, 2 ** 20);
    expect(readPartial(io, 2 ** 20, 10).sync().holes).toMatchObject([{ state: "gone" }]);
    await io.close();

    const again = file(pattern(2 ** 21, 1));
    const second = await mapped(again);
    readInto(second.inline, 2 ** 20, 100).sync();
    truncateSync(again, 2 ** 20);
    for (let i = 0; i < 2; i++) readInto(second.inline, 0, 2 ** 19).sync();
    expect(readPartial(second.inline, 2 ** 20, 10).sync().holes).toMatchObject([{ state: "gone" }]);
    await second.io.close();
  });

  it("windows that were closed stay so, whatever file has their descriptor's number now", () => {
    const path = file(bytes);
    const fd = openSync(path, "r");
    const windows = new FileWindows(new CopyingMapper(), fd, bytes.length);
    windows.close();
    windows.check();
    expect(windows.seek(0)).not.toBe(0);
    closeSync(fd);
  });

  it("a size that can't be asked for fails what is read as io", async () => {
    const path = file(bytes);
    const fd = openSync(path, "r");
    const windows = new FileWindows(new CopyingMapper(), fd, fstatSync(fd).size);
    expect(windows.seek(0)).toBe(0);
    closeSync(fd);
    windows.check();
    expect(windows.end).toBe(0);
    expect(windows.seek(0)).not.toBe(0);
  });
});

describe("mapping is refused, with what to do instead,", () => {
  const refused = (code: string, message: RegExp) =>
    expect.objectContaining({ code, message: expect.stringMatching(message) });

  it("where ffi-rs is missing or broken", async () => {
    const missing = Object.assign(new Error("Cannot find package 'ffi-rs'"), {
      code: "ERR_MODULE_NOT_FOUND",
    });
    await expect(loadMapper("file:x", () => Promise.reject(missing))).rejects.toEqual(
      refused(
        "NO_FFI",
        /^file:x: .* ffi-rs, which is not installed: npm install ffi-rs.* leave out the option map/,
      ),
    );
    await expect(loadMapper("file:x", () => Promise.reject(new Error("bad ELF")))).rejects.toEqual(
      refused("NO_FFI", /ffi-rs, which could not be loaded/),
    );
  });

  it("on Windows", async () => {
    await expect(loadMapper("file:x", () => Promise.reject(new Error("loaded")), "win32")).rejects.toEqual(
      refused("NO_MMAP", /can't be mapped on Windows yet: leave out the option map/),
    );
  });

  it("for a file that the system doesn't map", async () => {
    class Refusing extends CopyingMapper {
      override try(): void {
        throw new MapError(19, "errno 19");
      }
    }
    const open = () => (process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0);
    const path = file(pattern(10, 1));
    const before = open();
    await expect(mapFileWith(path, {}, { mapper: new Refusing() })).rejects.toEqual(
      refused("NO_MMAP", /this file can't be mapped \(errno 19\): leave out the option map/),
    );
    expect(open()).toBe(before);
  });

  it("where foreign memory is copied instead of shown, before much of it is", async () => {
    const calls: string[] = [];
    const ffi = {
      DataType: { I32: 1, I64: 8, U8Array: 10, External: 11, BigInt: 16 },
      open: () => undefined,
      load: ({
        funcName,
        retType,
        paramsType,
      }: {
        funcName: string;
        retType: number;
        paramsType: number[];
      }) => {
        calls.push(funcName);
        if (funcName === "mmap") return { value: 4096n, errnoCode: 0 };
        if (funcName === "munmap") return 0;
        return retType === 11 ? {} : paramsType[0] === 10 ? 8192n : 4096n;
      },
      createExternalBuffer: (_: unknown, length: number) => {
        expect(length).toBe(1);
        return Buffer.alloc(length);
      },
    };
    const mapper = await loadMapper("file:x", () => Promise.resolve(ffi));
    expect(() => mapper.try(0)).toThrow(/copies foreign memory/);
    expect(calls.at(-1)).toBe("munmap");
  });

  it("where a connector has nothing to map, and for a missing file as ever", async () => {
    await expect(open({ connector: `proc:${process.pid}` }, { map: true })).rejects.toEqual(
      refused("NO_MMAP", /nothing to map/),
    );
    await expect(open(join(directory, "missing"), { map: true })).rejects.toEqual(
      refused("NO_SUCH_FILE", /./),
    );
    await expect(open(file(new Uint8Array(0)), { map: true })).rejects.toThrow(/empty/);
  });
});

it("open and connectors map where they are asked to, and otherwise don't", async () => {
  const path = file(pattern(10_000, 1));
  const wanted: [Parameters<typeof open>[0], boolean, boolean][] = [
    [path, true, true],
    [path, false, false],
    [{ connector: `file:${path}:map=true` }, false, true],
    [{ connector: `file:${path}` }, true, true],
    [{ connector: `file:${path}:map=false` }, true, false],
  ];
  for (const [target, map, expected] of wanted) {
    const dump = await open(target, { map, kernel: "none" });
    expect(isInline(dump.source.source)).toBe(expected);
    expect(await dump.physical?.read(100, 5000)).toEqual(pattern(10_000, 1).slice(100, 5100));
    expect(await dump.memory.read(100, 50)).toEqual(pattern(10_000, 1).slice(100, 150));
    expect(dump.source.counters.batches > 0).toBe(!expected);
    expect(dump.physical?.cache === undefined).toBe(expected);
    await dump.close();
  }
  const { source } = await openTarget(`file:${path}:map=true`);
  expect(isInline(source)).toBe(true);
  await source.close?.();
});
