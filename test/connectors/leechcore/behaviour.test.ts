/** What LeechCore's connector makes of devices and libraries that misbehave: the stand-in is told to. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FfiCall, LIBC, loadFfi } from "../../../connectors/ffi.js";
import * as abi from "../../../connectors/leechcore/abi.js";
import { LEECHCORE_OPTIONS, LEECHCORE_RESULTS } from "../../../connectors/leechcore/abi.js";
import { withCapturedOutput } from "../../../connectors/leechcore/captured-output.js";
import { LeechCoreHandle } from "../../../connectors/leechcore/handle.js";
import { LeechCoreLibrary, loadLeechCore } from "../../../connectors/leechcore/library.js";
import { type LeechCoreOptions, openLeechCore } from "../../../connectors/leechcore/source.js";
import { openTarget } from "../../../connectors/registry.js";
import {
  all,
  Batch,
  DEVICE_CODE,
  faultDetail,
  faultState,
  readInto,
  readPartial,
  Scheduler,
  SourceIo,
  writePartial,
} from "../../../src/io/index.js";
import { pattern } from "../../support/bytes.js";
import { hasCompiler, layoutOfC, standIn } from "../../support/leechcore.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-leechcore-"));
const ram = join(directory, "ram");
const PAGES = 600;
const truth = pattern(PAGES * 4096, 5);
beforeAll(() => writeFileSync(ram, truth));
afterAll(() => rmSync(directory, { recursive: true }));

/** A device of the stand-in's, with parameters that tell it what to do. */
function card(told: Readonly<Record<string, string | number>> = {}, options: LeechCoreOptions = {}) {
  const parameters = new Map([
    ["file", ram],
    ...Object.entries(told).map(([k, v]) => [k, String(v)] as const),
  ]);
  return openLeechCore("card", { library: standIn(), parameters, ...options });
}

async function ioOf(...args: Parameters<typeof card>) {
  return new SourceIo(await card(...args), new Scheduler());
}

const pageOf = (page: number) => truth.slice(page * 4096, page * 4096 + 4096);

describe.skipIf(!hasCompiler)("LeechCore's connector", () => {
  it("knows the interface's structures as a C compiler lays them out", () => {
    const names: Record<string, string> = {
      max_address: "maxAddress",
      is_volatile: "isVolatile",
      is_writable: "isWritable",
      is_remote: "isRemote",
      no_compression: "noCompression",
      device_name: "deviceName",
      stack_depth: "stackDepth",
      needs_user: "needsUser",
      text_length: "textLength",
      size: "structSize",
    };
    const ours: Record<string, number> = {};
    const structures: [string, Readonly<Record<string, number>>][] = [
      ["config", abi.CONFIG],
      ["scatter", abi.SCATTER],
      ["error_info", abi.ERROR_INFO],
    ];
    const theirs = layoutOfC();
    for (const [name, fields] of structures) {
      for (const key of Object.keys(theirs)) {
        const [structure, field] = key.split(".");
        if (structure !== name) continue;
        ours[key] = fields[field === undefined ? "size" : (names[field] ?? field)] as number;
      }
    }
    const { size, address, bytes, remap } = abi.MAP_ENTRY;
    const entry = {
      map_entry: size,
      "map_entry.address": address,
      "map_entry.size": bytes,
      "map_entry.remap": remap,
    };
    expect({ ...ours, ...entry }).toEqual(theirs);
  });

  it("says of each page that fails what the device said, and gives all others", async () => {
    const io = await ioOf({ fail: 100, seed: 7 });
    const reads = Array.from({ length: PAGES }, (_, i) => readPartial(io, i * 4096, 4096));
    const results = await all(reads);
    const failed = results.filter(({ holes }) => holes.length > 0);
    expect(failed.length).toBeGreaterThan(PAGES / 20);
    expect(failed.length).toBeLessThan(PAGES / 5);
    for (const [i, { bytes, holes }] of results.entries()) {
      if (holes.length === 0) {
        expect(Buffer.compare(bytes, pageOf(i))).toBe(0);
        continue;
      }
      expect(holes).toMatchObject([{ start: 0, end: 4096, state: "io" }]);
      const code = faultDetail(holes[0]?.fault as number) - DEVICE_CODE;
      expect(LEECHCORE_RESULTS[code]).toBe("unsupported request");
    }
    const again = all(Array.from({ length: PAGES }, (_, i) => readPartial(io, i * 4096, 4096))).sync();
    expect(again.map(({ holes }) => holes)).toEqual(results.map(({ holes }) => holes));
    await io.close();
  });

  it("reads through LcReadScatter where there is no LcReadScatterEx: then it is not said why a page fails", async () => {
    const io = await ioOf({ bad: "5000-6000", minor: 22 }, { library: standIn("old") });
    const { bytes, holes } = readPartial(io, 0x4ff8, 0x2000).sync();
    expect(holes).toMatchObject([{ start: 8, end: 0x1008, state: "io" }]);
    expect(faultDetail(holes[0]?.fault as number)).toBe(0);
    expect([...bytes.subarray(0, 8)]).toEqual([...truth.subarray(0x4ff8, 0x5000)]);
    await io.close();
  });

  it("asks again for a page whose MEM said done the last time, and does not take its old word for it", async () => {
    const io = await ioOf({ stale: 1, bad: "8000-9000" });
    for (const page of [1, 8, 2, 8, 8]) {
      const { bytes, holes } = readPartial(io, page * 4096, 4096).sync();
      if (page === 8) expect(holes).toMatchObject([{ start: 0, end: 4096, state: "io" }]);
      else expect(Buffer.compare(bytes, pageOf(page))).toBe(0);
    }
    await io.close();
  });

  it("keeps the half that a call serves", async () => {
    const io = await ioOf({ half: 1 });
    const results = await all([0, 1, 2, 3].map((page) => readPartial(io, page * 4096, 4096)));
    expect(results.map(({ holes }) => holes.map(({ state }) => state))).toEqual([[], [], ["io"], ["io"]]);
    expect(Buffer.compare(results[1]?.bytes as Uint8Array, pageOf(1))).toBe(0);
    await io.close();
  });

  it("reads more pages than a call takes, in one operation or many", async () => {
    const big = join(directory, "big");
    const bytes = pattern(2500 * 4096, 9);
    writeFileSync(big, bytes);
    const io = await ioOf({ file: big });
    expect(Buffer.compare(await readInto(io, 5, bytes.length - 9), bytes.subarray(5, -4))).toBe(0);
    expect(Buffer.compare(readInto(io, 0, bytes.length).sync(), bytes)).toBe(0);
    const many = await all(Array.from({ length: 2500 }, (_, i) => readInto(io, i * 4096 + 1, 3)));
    expect(many.every((three, i) => three[2] === bytes[i * 4096 + 3])).toBe(true);
    await io.close();
  });

  it("tells a device that is gone from pages that can't be read, and does not end with it", async () => {
    const die = join(directory, "dead");
    const io = await ioOf({ bad: "0-2000", die });
    expect(readPartial(io, 0, 16).sync().holes).toMatchObject([{ state: "io" }]);
    const kept = await readInto(io, 0x2000, 64);
    writeFileSync(die, "");
    for (const address of [0x2000, 0x7000, 0]) {
      expect((await readPartial(io, address, 16)).holes).toMatchObject([
        { start: 0, end: 16, state: "gone" },
      ]);
    }
    expect([...kept]).toEqual([...truth.subarray(0x2000, 0x2040)]);
    rmSync(die);
    expect((await readInto(io, 0x2000, 64))[0]).toBe(truth[0x2000]);
    await io.close();
  });

  it("asks a device that is gone in another thread, where it is waited for", async () => {
    const die = join(directory, "dead-too");
    const source = await card({ die });
    const byOpener = () => source.getOption(0x7e57_0002_0000_0000n);
    const io = new SourceIo(source, new Scheduler());
    const before = byOpener();
    writeFileSync(die, "");
    expect((await readPartial(io, 0x2000, 16)).holes).toMatchObject([{ state: "gone" }]);
    expect(byOpener()).toBe(before);
    expect(readPartial(io, 0x2000, 16).sync().holes).toMatchObject([{ state: "gone" }]);
    expect(byOpener()).toBe((before as bigint) + 2n);
    await io.close();
  });

  it("opens a device whose memory ends within a page, and knows when it is gone", async () => {
    const die = join(directory, "dead-as-well");
    for (const maxAddress of [100, 3, 2 * 4096 + 20]) {
      const io = await ioOf({ die }, { maxAddress });
      const { holes } = await readPartial(io, maxAddress - 3, 8);
      expect(holes).toMatchObject([{ start: 3, end: 8, state: "outside" }]);
      writeFileSync(die, "");
      expect((await readPartial(io, 0, 1)).holes).toMatchObject([{ state: "gone" }]);
      rmSync(die);
      await io.close();
    }
  });

  it("does not take a device for gone because the pages of its old map are", async () => {
    const source = await card({ bad: "110000-120000" });
    const io = new SourceIo(source, new Scheduler());
    await readInto(io, 0x2000, 4096);
    source.setMemoryMap([{ start: 0x10_0000, end: 0x12_0000, offset: 0x3_0000 }]);
    expect((await readPartial(io, 0x11_0000, 4096)).holes).toMatchObject([{ state: "io" }]);
    await io.close();
  });

  it("writes, and says of what did not land that it did not", async () => {
    const file = join(directory, "written");
    copyFileSync(ram, file);
    const io = await ioOf({ file, write: 1, bad: "5000-6000" }, { write: true });
    const bytes = new Uint8Array(0x2010).fill(0xc3);
    const { holes } = await writePartial(io, 0x4ff8, bytes);
    expect(holes).toMatchObject([{ start: 8, end: 0x1008, state: "io" }]);
    const expected = truth.slice();
    expected.fill(0xc3, 0x4ff8, 0x5000).fill(0xc3, 0x6000, 0x7008);
    expect(Buffer.compare(readFileSync(file), expected)).toBe(0);
    await io.close();
  });

  it("refuses to write to a file's device, whose reads do not see what it was given, and says what does", async () => {
    await expect(openLeechCore(`file:${ram}`, { library: standIn(), write: true })).rejects.toThrow(
      /through the connector file, as in file:PATH:write=true/,
    );
  });

  it("has at most four calls under way at once, and the event loop goes on meanwhile", async () => {
    const source = await card({ delay: 2000 });
    const io = new SourceIo(source, new Scheduler());
    const reads: Promise<Uint8Array>[] = [];
    for (let page = 0; page < 12; page++) {
      reads.push(readInto(io, page * 4096, 4096).promise());
      await new Promise((resolve) => setImmediate(resolve));
    }
    let isPending = true;
    let turns = 0;
    const done = Promise.all(reads).finally(() => {
      isPending = false;
    });
    while (isPending) {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    (await done).forEach((bytes, page) => {
      expect(Buffer.compare(bytes, pageOf(page))).toBe(0);
    });
    expect(turns).toBeGreaterThan(1);
    const most = Number(source.getOption(0x7e57_0001_0000_0000n));
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
    await io.close();
  });

  it("is closed for everybody who asks for it while a call is under way", async () => {
    const source = await card({ delay: 100_000 });
    const batch = new Batch();
    batch.reset("read", 1);
    batch.push(0, 0, new Uint8Array(4096), 0, 4096);
    const read = source.transfer?.(batch);
    await Promise.all([source.close?.(), source.close?.(), read]);
    expect(batch.status[0]).toBe(0);
  });

  it("waits for the calls under way when it is closed, and calls nothing after that", async () => {
    const source = await card({ delay: 5000, write: 1 }, { write: true });
    const batches = [1, 2, 3].map((page) => {
      const batch = new Batch();
      batch.reset("read", 1);
      batch.push(page * 4096, 0, new Uint8Array(8), 0, 8);
      return batch;
    });
    const reads = batches.map((batch) => source.transfer?.(batch));
    // The stand-in ends the program for a close while a call is under way, and for a call behind it.
    await source.close?.();
    await Promise.all(reads);
    expect(batches.map(({ status }) => status[0])).toEqual([0, 0, 0]);
    await source.close?.();
    for (const direction of ["read", "write"] as const) {
      const late = new Batch();
      late.reset(direction, 1);
      late.push(4096, 0, new Uint8Array(8), 0, 8);
      source.transferSync?.(late);
      expect(faultState(late.status[0] as number)).toBe("gone");
      late.status[0] = -1;
      await source.transfer?.(late);
      expect(faultState(late.status[0] as number)).toBe("gone");
    }
  });

  it("refuses writes that were not asked for, and a device that takes none", async () => {
    const io = await ioOf({ write: 1 });
    expect((await writePartial(io, 0, Uint8Array.of(1))).holes).toMatchObject([{ state: "read-only" }]);
    await io.close();
    await expect(card({}, { write: true })).rejects.toMatchObject({ code: "READ_ONLY" });
  });

  it("is live if LeechCore says that the device is", async () => {
    for (const volatile of [0, 1]) {
      const source = await card({ volatile });
      expect(source.supports.live).toBe(volatile === 1);
      await source.close?.();
    }
  });

  it("gives and sets options, and tells its version", async () => {
    const source = await card({ minor: 24 });
    expect(source.version).toBe("2.24.3");
    expect(source.device).toBe("card");
    expect(source.getOption(LEECHCORE_OPTIONS.maxAddress)).toBe(BigInt(truth.length));
    expect(source.getOption(0x1234n)).toBeUndefined();
    expect(source.setOption(0x4000_0002_0000_0000n, 1n)).toBe(true);
    expect(source.getOption(0x4000_0002_0000_0000n)).toBe(1n);
    expect(source.setOption(0xffff_0000_0000_0000n, 1n)).toBe(false);
    await source.close?.();
    expect(() => source.getOption(LEECHCORE_OPTIONS.maxAddress)).toThrow(/is closed/);
  });

  it("sets the memory map, an offset of 0 in it, and reads it back", async () => {
    const memoryMap = [
      { start: 0x10_0000, end: 0x10_4000, offset: 0 },
      { start: 0x20_0000, end: 0x20_2000, offset: 0x8000 },
    ];
    const source = await card({}, { memoryMap });
    expect(source.memoryMap()).toEqual(memoryMap);
    expect([...source.ranges()]).toEqual(memoryMap.map(({ start, end }) => ({ start, end })));
    const io = new SourceIo(source, new Scheduler());
    expect([...readInto(io, 0x10_0010, 4).sync()]).toEqual([...truth.subarray(0x10, 0x14)]);
    expect([...(await readInto(io, 0x20_1000, 4))]).toEqual([...truth.subarray(0x9000, 0x9004)]);
    expect((await readPartial(io, 0x1000, 4)).holes).toMatchObject([{ state: "outside" }]);
    expect(() => source.setMemoryMap([{ start: 100, end: 5000, offset: 0 }])).toThrow(
      /0x64-0x1388 is not in it/,
    );
    await io.close();
    await expect(card({ drop: 1 }, { memoryMap })).rejects.toThrow(/0x200000-0x202000 is not in it/);
  });

  it("replaces no memory map under calls that began with the old one", async () => {
    const source = await card({ delay: 100_000 });
    const io = new SourceIo(source, new Scheduler());
    const map = [{ start: 0, end: 0x4000, offset: 0x8000 }];
    const reading = Promise.resolve(readInto(io, 0x1000, 16));
    await new Promise((resolve) => setImmediate(resolve));
    expect(() => source.setMemoryMap(map)).toThrow(/reads or writes are under way.*when they have ended/);
    expect([...(await reading)]).toEqual([...truth.subarray(0x1000, 0x1010)]);
    source.setMemoryMap(map);
    expect([...readInto(io, 0x1000, 16).sync()]).toEqual([...truth.subarray(0x9000, 0x9010)]);
    await io.close();
  });

  it("takes nothing that an old memory map had for what the device must have, however late its calls are answered", async () => {
    const source = await card({ bad: "110000-120000", delay: 20_000 });
    const io = new SourceIo(source, new Scheduler());
    const map = [{ start: 0x10_0000, end: 0x12_0000, offset: 0x3_0000 }];
    const reads = [1, 2, 3, 4].map((page) => Promise.resolve(readInto(io, page * 0x4000, 16)));
    await new Promise((resolve) => setImmediate(resolve));
    // The calls end, and nobody has been told yet.
    const end = performance.now() + 200;
    while (performance.now() < end);
    expect(() => source.setMemoryMap(map)).toThrow(/under way/);
    await Promise.all(reads);
    source.setMemoryMap(map);
    expect((await readPartial(io, 0x11_0000, 4096)).holes).toMatchObject([{ state: "io" }]);
    await io.close();
  });

  it("sets no memory map of a device that somebody else opened", async () => {
    const parameters = new Map([["file", ram]]);
    const options = { library: standIn(), parameters };
    const memoryMap = [{ start: 0, end: 0x4000, offset: 0 }];
    await expect(openLeechCore("existing", { ...options, memoryMap })).rejects.toThrow(/set it there/);
    const source = await openLeechCore("existing", options);
    expect(() => source.setMemoryMap(memoryMap)).toThrow(/set it there/);
    await source.close?.();
  });

  it("refuses a memory map with addresses that no machine has, and does without it where one is given", async () => {
    for (const far of [2 ** 52, 2 ** 60, "0xfffffffffffff000"]) {
      await expect(card({ far: typeof far === "number" ? BigInt(far).toString() : far })).rejects.toThrow(
        /memory map has 0x1000 bytes at 0x[0-9a-f]{14,16}, .* say where it is with the option map/,
      );
    }
    const memoryMap = [{ start: 0, end: 0x4000, offset: 0 }];
    const source = await card({ far: "0xfffffffffffff000" }, { memoryMap });
    expect(source.memoryMap()).toEqual(memoryMap);
    await source.close?.();
  });

  it("gives back what LeechCore allocated when it can't be looked at", async () => {
    const { ffi, path } = await loadLeechCore("leechcore:card", standIn());
    const called: string[] = [];
    const blind = {
      ...ffi,
      DataType: ffi.DataType,
      load: (call: FfiCall) => {
        called.push(call.funcName);
        return ffi.load(call);
      },
      createExternalBuffer: () => {
        throw new Error("no memory left");
      },
    };
    const library = new LeechCoreLibrary(blind, path);
    const open = (told: string) => () =>
      LeechCoreHandle.open("leechcore:card", library, { device: `card://${told},file=${ram}`, remote: "" });
    expect(open("user=1")).toThrow("no memory left");
    expect(called.filter((name) => name.startsWith("Lc"))).toEqual(["LcCreateEx", "LcMemFree"]);
    const handle = open("volatile=1")();
    called.length = 0;
    expect(() => handle.memoryMap()).toThrow("no memory left");
    expect(called.filter((name) => name.startsWith("Lc"))).toEqual(["LcCommand", "LcMemFree"]);
    handle.close();
  });

  it("lays no text into the field behind it", async () => {
    const library = await loadLeechCore("leechcore:card", standIn());
    for (const [device, remote] of [
      ["x".repeat(260), ""],
      ["card", "é".repeat(130)],
    ] as const) {
      expect(() => LeechCoreHandle.open("leechcore:card", library, { device, remote })).toThrow(
        /takes texts of 259 bytes at most, not of 260/,
      );
    }
  });

  it("opens what the command line names, and passes on the parameters that are not its own", async () => {
    const named = await openTarget(`leechcore:file:${ram}:library=${standIn()},map=0x10000-0x14000@0x2000`);
    expect(named.connector.kind).toBe("physical");
    expect([...named.source.ranges()]).toEqual([{ start: 0x1_0000, end: 0x1_4000 }]);
    await named.source.close?.();
    const loose = await openTarget(`leechcore:card:file=${ram},volatile=1,library=${standIn()}`);
    expect(loose.source.supports.live).toBe(true);
    await loose.source.close?.();
    const raw = await openTarget(`leechcore:card://file=${ram}:max=64K,library=${standIn()}`);
    expect(raw.source.ranges().end).toBe(65_536);
    await raw.source.close?.();
  });

  it("shows in its error what LeechCore prints and what it wants from its user, and prints nothing itself", async () => {
    const script = `
      import { openTarget } from "./dist/index.js";
      process.stdout.write("before\\n");
      for (const how of ["refuse", "user"]) {
        await openTarget("leechcore:card:" + how + "=1,library=" + ${JSON.stringify(standIn())})
          .catch((error) => process.stderr.write(error.message + "\\n"));
      }
      process.stdout.write("after\\n");
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    expect(stdout).toBe("before\nafter\n");
    const lines = stderr.trim().split("\n");
    expect(lines[0]).toContain(
      "it says: DEVICE: card: Unable to connect to the card [0,v4.13,0000]. | DEVICE: Is it plugged in?",
    );
    expect(lines[1]).toContain("it says: choose one of 2 machines");
  });

  it("keeps the last of much that is printed", async () => {
    const ffi = await loadFfi();
    const { I32, String: Text } = ffi.DataType;
    const puts = (text: string) =>
      ffi.load({ library: LIBC, funcName: "puts", retType: I32, paramsType: [Text], paramsValue: [text] });
    const { result, text } = withCapturedOutput(ffi, () => {
      for (let i = 0; i < 2000; i++) puts(`line ${i}`);
      return 7;
    });
    expect(result).toBe(7);
    expect(text.length).toBeLessThan(6000);
    expect(text).toMatch(/ \| line 1998 \| line 1999$/);
    expect(() =>
      withCapturedOutput(ffi, () => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
  });

  it("looks for the library in a folder that LEECHCORE_PATH names", async () => {
    const folder = join(directory, "lib");
    mkdirSync(folder);
    copyFileSync(standIn(), join(folder, "leechcore.so"));
    process.env.LEECHCORE_PATH = folder;
    try {
      const source = await openLeechCore(`file:${ram}`);
      expect(source.library).toBe(join(folder, "leechcore.so"));
      await source.close?.();
    } finally {
      delete process.env.LEECHCORE_PATH;
    }
  });

  it("refuses a library that is none, or of another version", async () => {
    await expect(card({ major: 1 })).rejects.toThrow(/is LeechCore 1; memtool knows version 2/);
    const empty = join(directory, "empty.so");
    writeFileSync(empty, "no library");
    await expect(card({}, { library: empty })).rejects.toMatchObject({ code: "NO_LIBRARY" });
  });
});

describe("LeechCore's connector", () => {
  it("says what to install where the library or ffi-rs is missing, and where it does not run at all", async () => {
    const missing = Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
    await expect(loadLeechCore("leechcore:fpga", "/does/not/exist.so")).rejects.toThrow(
      /no file \/does\/not\/exist.so; get LeechCore from .* LEECHCORE_PATH/,
    );
    await expect(loadLeechCore("leechcore:fpga", undefined)).rejects.toThrow(
      /there is no leechcore\.(so|dylib) here: get LeechCore/,
    );
    await expect(loadLeechCore("leechcore:fpga", undefined, () => Promise.reject(missing))).rejects.toThrow(
      /LeechCore needs the package ffi-rs, which is not installed: npm install ffi-rs@/,
    );
    await expect(loadLeechCore("leechcore:fpga", undefined, undefined, "win32")).rejects.toThrow(
      /on 64-bit Linux \(and macOS\) only, not on win32/,
    );
  });
});
