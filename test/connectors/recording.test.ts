/** Recordings: what was read comes back as it was, without the target; and whatever a file holds, nothing else does. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import type { MachineSource } from "../../connectors/connector.js";
import { ConnectorError } from "../../connectors/errors.js";
import { withRecording } from "../../connectors/middleware/record.js";
import { FRAME, FrameWriter } from "../../connectors/middleware/recording-frames.js";
import { openRecording } from "../../connectors/middleware/replay.js";
import { open } from "../../connectors/open.js";
import { openProcess } from "../../connectors/proc/open-process.js";
import {
  AddressRanges,
  type Batch,
  fault,
  readInto,
  readPartial,
  Scheduler,
  type Source,
  SourceIo,
} from "../../src/io/index.js";
import { memorySource } from "../suite/index.js";
import { pattern } from "../support/bytes.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-recording-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = () => join(folder, `${++files}.rec`);
const io = (source: Source) => new SourceIo(source, new Scheduler());
const BASE = 0xffff_8880_0000_0ffdn;
const BROKEN = fault("io", "memory", "connector", 5);

/** Addresses from BASE on; every byte is the number of the batch, so that each time can be told; every 7th page is broken. */
function moving(): Source {
  let batches = 0;
  return {
    name: "moving",
    supports: { write: false, live: true },
    ranges: () => AddressRanges.single(Number(BASE & ~4095n), Number(BASE & ~4095n) + 2 ** 20),
    transferSync(batch: Batch) {
      batches++;
      for (let row = 0; row < batch.length; row++) {
        const bytes = batch.bytes(row).fill(batches);
        batch.done(row);
        const address = batch.addresses[row] as bigint;
        const inPage = Number(address & 4095n);
        for (let from = -inPage; from < bytes.length; from += 4096) {
          const page = (address + BigInt(from)) / 4096n;
          if (page % 7n === 3n)
            batch.failRange(row, Math.max(0, from), Math.min(bytes.length, from + 4096), BROKEN);
        }
      }
    },
  };
}

/** Bytes, `-1` for those that failed as they should, `-2` for those that were not recorded. */
function seen(source: SourceIo, at: bigint, length: number): number[] {
  const { bytes, holes } = readPartial(source, at, length).sync();
  const all: number[] = [...bytes];
  for (const { start, end, fault: why, state } of holes) {
    all.fill(why === BROKEN ? -1 : state === "excluded" ? -2 : -3, start, end);
  }
  return all;
}

const REQUESTS = fc.array(fc.record({ at: fc.nat(40_000), length: fc.integer({ min: 1, max: 9000 }) }), {
  minLength: 1,
  maxLength: 12,
});

describe("a replay", () => {
  it("gives the same questions the same answers, failures and changes among them", async () => {
    await fc.assert(
      fc.asyncProperty(REQUESTS, async (requests) => {
        const path = newFile();
        const recorded = io(withRecording(moving(), path, "virtual"));
        const before = requests.map(({ at, length }) => seen(recorded, BASE + BigInt(at), length));
        await recorded.close();
        const replay = io(openRecording(path));
        const after = requests.map(({ at, length }) => seen(replay, BASE + BigInt(at), length));
        await replay.close();
        expect(after).toEqual(before);
      }),
      { numRuns: 30 },
    );
  });

  it("gives other questions bytes that were read there at some time, and nothing where nobody read", async () => {
    await fc.assert(
      fc.asyncProperty(REQUESTS, REQUESTS, async (requests, others) => {
        const path = newFile();
        const recorded = io(withRecording(moving(), path, "virtual"));
        const known = new Map<number, Set<number>>();
        for (const { at, length } of requests) {
          seen(recorded, BASE + BigInt(at), length).forEach((value, i) => {
            known.set(at + i, (known.get(at + i) ?? new Set()).add(value));
          });
        }
        await recorded.close();
        const replay = io(openRecording(path));
        for (const { at, length } of others) {
          seen(replay, BASE + BigInt(at), length).forEach((value, i) => {
            const times = known.get(at + i);
            if (times === undefined ? value !== -2 : !times.has(value)) {
              throw new Error(`${at + i}: ${value}, and not ${[...(times ?? ["unrecorded"])]}`);
            }
          });
        }
        await replay.close();
      }),
      { numRuns: 30 },
    );
  });

  it("stays at the last time that a place was read", async () => {
    const path = newFile();
    const recorded = io(withRecording(moving(), path, "virtual"));
    for (let i = 0; i < 3; i++) readInto(recorded, BASE, 8).sync();
    await recorded.close();
    const replay = io(openRecording(path));
    const values = Array.from({ length: 5 }, () => readInto(replay, BASE, 8).sync()[0]);
    expect(values).toEqual([1, 2, 3, 3, 3]);
    await replay.close();
  });

  it("has the name, the kind and the ranges of the source, and can't be written", async () => {
    const path = newFile();
    await io(
      withRecording(memorySource(pattern(5000, 1), { base: 0x1000, live: true }), path, "physical"),
    ).close();
    const source = openRecording(path);
    expect([source.name, source.kind, source.supports, [...source.ranges()]]).toEqual([
      "memory",
      "physical",
      { write: false, live: true },
      [{ start: 0x1000, end: 0x1000 + 5000 }],
    ]);
    source.close?.();
  });

  it("has the machine's notes", async () => {
    const path = newFile();
    const notes = {
      cpus: [{ pid: 1, registers: { rip: 0xffff_ffff_8100_0000n, cr3: 0x1000n } }],
      architecture: "x86_64" as const,
      vmcoreinfo: Uint8Array.of(1, 2, 255),
      raw: [{ name: "QEMU", type: 0, description: Uint8Array.of(9) }],
    };
    const machine: MachineSource = { ...memorySource(pattern(5000, 1)), notes: () => notes };
    const source = withRecording(machine, path, "physical");
    await source.notes();
    await source.close?.();
    const replay = openRecording(path) as unknown as MachineSource;
    expect(await replay.notes()).toEqual(notes);
    await replay.close?.();
  });

  it.skipIf(process.platform !== "linux")("has a process's mappings (elsewhere there are none)", async () => {
    const path = newFile();
    const source = withRecording(openProcess(process.pid), path, "virtual");
    const maps = source.maps();
    await source.close?.();
    const machine = await open({ connector: `proc:0:replay=${path}` });
    const [first] = maps;
    expect([...(machine.ranges?.ranges() ?? [])][0]).toEqual(first);
    expect(machine.name).toBe(`proc:${process.pid}`);
    await machine.close();
  });

  it("of failures of 2^47 bytes at once takes no more room than of one, and no time", async () => {
    const path = newFile();
    const nothing: Source = {
      name: "empty",
      supports: { write: false, live: true },
      ranges: () => AddressRanges.none,
      transferSync(batch) {
        for (let row = 0; row < batch.length; row++)
          batch.fail(row, fault("outside", "address", "connector"));
      },
    };
    const recorded = withRecording(nothing, path, "virtual");
    const ask = (source: Source, address: number, length: number) => {
      const { batch, answer } = oneRow(address, length);
      source.transferSync?.(batch);
      return answer();
    };
    ask(recorded, 0, 2 ** 47);
    ask(recorded, 4096 * 5, 4096);
    await recorded.close?.();
    expect(statSync(path).size).toBeLessThan(1000);
    const replay = openRecording(path);
    expect(ask(replay, 4096, 2 ** 46)).toEqual(["outside"]);
    expect(ask(replay, 2 ** 47 - 4096, 8192)).toEqual(["outside", "excluded"]);
    replay.close?.();
  });
});

/** A read of which only the answer counts. */
function oneRow(address: number, length: number) {
  const row = { states: new Map<number, string>() };
  const batch = {
    direction: "read",
    length: 1,
    addresses: BigUint64Array.of(BigInt(address)),
    words: new Uint32Array(0),
    lengths: Float64Array.of(length),
    offsets: Float64Array.of(0),
    status: Int32Array.of(-1),
    memory: [new Uint8Array(0)],
    faults: [] as { row: number; start: number; end: number; fault: number }[],
    bytes: () => ({ length, set() {}, subarray: () => new Uint8Array(0) }),
    done() {},
    fail(_row: number, why: number) {
      this.status[0] = why;
      row.states.set(0, stateOf(why));
    },
    failRange(_row: number, start: number, _end: number, why: number) {
      row.states.set(start, stateOf(why));
    },
  };
  batch.words = new Uint32Array(batch.addresses.buffer);
  return { batch: batch as unknown as Batch, answer: () => [...new Set(row.states.values())] };
}

function stateOf(why: number): string {
  return why === fault("outside", "address", "connector") ? "outside" : "excluded";
}

/** A recording of some reads of a memory with a hole. */
function sample(): { path: string; bytes: Uint8Array } {
  const path = newFile();
  const bytes = pattern(20_000, 3);
  const source = io(
    withRecording(
      memorySource(bytes, { broken: [{ start: 9000, end: 9100 }], live: true }),
      path,
      "physical",
    ),
  );
  for (const at of [0, 5000, 4096, 8000, 12_000, 0]) readPartial(source, at, 3000).sync();
  void source.close();
  return { path, bytes };
}

describe("a file that is not what it should be", () => {
  it("is no recording, or one of another version", () => {
    const path = newFile();
    for (const bytes of [new Uint8Array(0), pattern(100, 1)]) {
      writeFileSync(path, bytes);
      expect(() => openRecording(path)).toThrow(/this is no recording: record=FILE makes one/);
    }
    const { path: good } = sample();
    const later = readFileSync(good);
    later[8] = 2;
    writeFileSync(path, later);
    expect(() => openRecording(path)).toThrow(/a recording of version 2; this memtool reads version 1/);
    expect(() => openRecording(join(folder, "none"))).toThrow(/there is no such file/);
  });

  it("that is cut off anywhere gives what is whole, says so, and holds nothing wrong", () => {
    const { path, bytes } = sample();
    const whole = readFileSync(path);
    const cut = newFile();
    let most = 0;
    for (let length = 12; length < whole.length; length += length < 300 ? 3 : 101) {
      writeFileSync(cut, whole.subarray(0, length));
      let source: ReturnType<typeof openRecording>;
      try {
        source = openRecording(cut);
      } catch (error) {
        expect(error).toBeInstanceOf(ConnectorError);
        continue;
      }
      expect(source.complete).toBe(false);
      expect(source.warnings.join()).toMatch(/cut off|not ended/);
      most = Math.max(most, rightBytes(source, bytes));
      source.close?.();
    }
    expect(most).toBeGreaterThan(10_000);
  });

  it("with any bytes changed gives no wrong byte, and does not hang", () => {
    const { path, bytes } = sample();
    const whole = readFileSync(path);
    const changed = newFile();
    fc.assert(
      fc.property(
        fc.array(fc.record({ at: fc.nat(whole.length - 1), value: fc.integer({ min: 1, max: 255 }) }), {
          minLength: 1,
          maxLength: 4,
        }),
        (changes) => {
          const copy = new Uint8Array(whole);
          for (const { at, value } of changes) copy[at] = (copy[at] as number) ^ value;
          writeFileSync(changed, copy);
          try {
            const source = openRecording(changed);
            rightBytes(source, bytes);
            source.close?.();
          } catch (error) {
            expect(error).toBeInstanceOf(ConnectorError);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("whose frames hold anything at all is refused or read, and nothing else happens", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            type: fc.integer({ min: 1, max: 7 }),
            body: fc.oneof(
              fc.uint8Array({ maxLength: 60 }),
              fc.jsonValue().map((value) => new TextEncoder().encode(JSON.stringify(value))),
              fc.constant(new TextEncoder().encode(`{"ranges":[["0x0","0x10000"]]}`)),
            ),
          }),
          { maxLength: 12 },
        ),
        (frames) => {
          const path = newFile();
          const writer = new FrameWriter(path);
          writer.addText(FRAME.facts, { name: "x", kind: "physical", live: true });
          for (const { type, body } of frames) writer.add(type, body, true);
          writer.close();
          const source = openRecording(path);
          try {
            source.ranges();
            readPartial(io(source), 0, 100_000).sync();
            readPartial(io(source), 2n ** 64n - 9000n, 9000).sync();
          } catch (error) {
            expect(error).toBeInstanceOf(ConnectorError);
          }
          source.close?.();
          rmSync(path);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("that claims more bytes than it has is not believed", () => {
    const path = newFile();
    const writer = new FrameWriter(path);
    writer.addText(FRAME.facts, { name: "x", kind: "physical", live: true });
    writer.addText(FRAME.ranges, { ranges: [["0x0", "0x10000"]] });
    // One extent of 16,384 bytes at 0, which are not there.
    writer.add(FRAME.reads, Uint8Array.of(0, 0x80, 0x80, 1, 0), false);
    writer.add(FRAME.bytes, new Uint8Array(10), true);
    writer.close();
    const source = openRecording(path);
    expect(source.warnings).toEqual([expect.stringMatching(/1 of its frames are damaged/)]);
    expect(readPartial(io(source), 0, 100).sync().holes).toEqual([
      expect.objectContaining({ start: 0, end: 100, state: "excluded" }),
    ]);
    source.close?.();
  });
});

/** Checks each byte that a damaged recording gives. @returns how many there were. */
function rightBytes(source: Source, bytes: Uint8Array): number {
  const got = readPartial(
    new SourceIo({ ...plain(source), ranges: () => AddressRanges.single(0, 2 ** 30) }, new Scheduler()),
    0,
    20_000,
  ).sync();
  let good = 0;
  for (let i = 0; i < 20_000; i++) {
    if (got.holes.some(({ start, end }) => start <= i && i < end)) continue;
    good++;
    if (got.bytes[i] !== bytes[i]) throw new Error(`byte ${i} is ${got.bytes[i]}, and was ${bytes[i]}`);
  }
  return good;
}

function plain(source: Source): Source {
  return {
    name: source.name,
    supports: source.supports,
    ranges: () => source.ranges(),
    transferSync: (batch) => source.transferSync?.(batch),
  };
}
