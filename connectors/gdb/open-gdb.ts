/** A machine through a stub that speaks GDB's remote serial protocol: QEMU's, kgdb, OpenOCD, VMware's. */

import type { DumpNotes } from "../../src/formats/index.js";
import type { Batch } from "../../src/io/batch.hot.js";
import { AddressRanges } from "../../src/io/index.js";
import { ConnectorError, cleanUpAfter } from "../errors.js";
import { readMemoryMap } from "../memory-map.js";
import { parseFlatView } from "../qemu/flat-view.js";
import { ResumeGuard } from "../resume-guard.js";
import { GdbConnection, GdbError, type StubAddress } from "./connection.js";
import type { GdbOptions, GdbSource } from "./gdb.js";
import { type MemoryPackets, transferBatch } from "./memory.js";
import { bytesOf, decodeHex, encodeHex, textOf } from "./packets.js";
import { readNotes } from "./registers.js";
import { readDescription, type TargetDescription } from "./target-description.js";
import { attributeOf, tagsOf } from "./xml-tags.js";

/** Packets of a stub that does not say how large they may be (GDB's own guess). */
const SMALL_PACKET = 400;
/** No memory is asked for in larger ones, however large a stub allows them. */
const LARGE_PACKET = 0x2_0000;
/** Requests under way, of a stub that can take several: from there on QEMU's answers no faster. */
const WINDOW = 16;
/** A description is read in parts of that many bytes at most. */
const PART = 0x1000;
const MAX_DESCRIPTION = 2 ** 20;

/** See `openGdb`. */
export async function openStub(target: string, options: GdbOptions): Promise<GdbSource> {
  const name = target === "" ? "gdb" : `gdb:${target}`;
  const address = parseStub(name, target);
  const resumes = options.resume !== false;
  const given = options.map === undefined ? undefined : AddressRanges.from(readMemoryMap(options.map));
  // Before the connection, which pauses the machine.
  const guard = resumes ? await ResumeGuard.start(name, { stub: address }) : undefined;
  let connection: GdbConnection | undefined;
  try {
    connection = await GdbConnection.connect(name, address, options.timeout);
    const stub = await Stub.greet(name, connection, options, given);
    return new OpenStub(name, connection, guard, stub, options);
  } catch (error) {
    connection?.close();
    const told =
      error instanceof GdbError
        ? new ConnectorError(error.code, name, error.message.replace(`${name}: `, ""), { cause: error })
        : error;
    // Nothing was paused where no stub was connected to; one pauses before it says a word, and may take its time for that.
    const mayBePaused = connection?.hasSpoken === true || connection?.isSilent === true;
    throw await cleanUpAfter(told, async () =>
      mayBePaused ? guard?.resume(options.timeout, connection?.hasSpoken) : guard?.leave(),
    );
  }
}

/** `unix:PATH`, `HOST:PORT`, `:PORT`, `[::1]:PORT`. @throws {ConnectorError} `BAD_TARGET` */
function parseStub(name: string, target: string): StubAddress {
  const path = /^unix:(.+)$/.exec(target)?.[1];
  if (path !== undefined) return { path };
  const match = /^(?:tcp:)?(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(target);
  const port = Number(match?.[3]);
  if (match === null || port === 0 || port > 65_535) {
    throw new ConnectorError(
      "BAD_TARGET",
      name,
      "say where the stub listens, as in gdb:localhost:1234 or gdb:unix:PATH",
    );
  }
  return { host: match[1] ?? (match[2] || "localhost"), port };
}

/** What was learned of a stub. */
class Stub {
  private constructor(
    readonly kind: "physical" | "virtual",
    readonly packets: MemoryPackets,
    readonly ranges: AddressRanges,
    readonly notes: DumpNotes,
    readonly remarks: readonly string[],
    /** Whether it is QEMU's: the machine ends with it then. */
    readonly isQemu: boolean,
  ) {}

  static async greet(
    name: string,
    connection: GdbConnection,
    options: GdbOptions,
    given: AddressRanges | undefined,
  ): Promise<Stub> {
    const features = featuresOf(await connection.askText("qSupported:xmlRegisters=i386;binary-upload+"));
    if (features.get("QStartNoAckMode") === "+" && (await connection.askText("QStartNoAckMode")) === "OK") {
      connection.acknowledges = false;
    }
    // (Also what makes some stubs ready to answer.)
    await connection.ask("?", () => true);
    const isQemu = /^[01]$/.test(await connection.askText("qqemu.PhyMemMode"));
    const physical = await turnToPhysical(connection, isQemu, options.memory);
    // A stub that waits for an acknowledgement loses what comes instead of it; QEMU's does not wait.
    connection.window =
      options.inflight ?? (physical === "switched" || !connection.acknowledges ? WINDOW : 1);
    const kind = physical === "no" ? "virtual" : "physical";
    const packets = packetsOf(features, isQemu);
    const description = await describe(connection, features);
    const notes = await readNotes(connection, description);
    const remarks: string[] = [];
    if (options.memory === undefined && kind === "virtual") {
      remarks.push(
        "the stub reads memory as the processor that it stopped at sees it, so addresses are virtual; where they are physical, say memory=physical",
      );
    }
    const ranges = given ?? (await rangesOf(name, connection, features, kind));
    return new Stub(kind, packets, ranges, notes, remarks, isQemu);
  }
}

/** `PacketSize=1000;qXfer:features:read+`: values, and `+`, `-`, `?`. */
function featuresOf(answer: string): ReadonlyMap<string, string> {
  return new Map(
    answer.split(";").map((part): [string, string] => {
      const equals = part.indexOf("=");
      return equals >= 0
        ? [part.slice(0, equals), part.slice(equals + 1)]
        : [part.slice(0, -1), part.slice(-1)];
    }),
  );
}

function packetsOf(features: ReadonlyMap<string, string>, isQemu: boolean): MemoryPackets {
  const told = Number.parseInt(features.get("PacketSize") ?? "", 16);
  const size = Math.min(Number.isNaN(told) || told < 16 ? SMALL_PACKET : told, LARGE_PACKET);
  const binaryReads = features.get("binary-upload") === "+";
  // Two digits a byte; as bytes, each may be escaped, and one says that they are bytes. A write has its address before them.
  return {
    most: Math.max(1, Math.floor(size / 2)),
    mostWritten: Math.max(1, Math.floor((size - 40) / 2)),
    binaryReads,
    decimalErrors: isQemu,
  };
}

/** Makes addresses physical, where the stub can (QEMU: `qqemu.PhyMemMode`). */
async function turnToPhysical(
  connection: GdbConnection,
  can: boolean,
  wanted: GdbOptions["memory"],
): Promise<"switched" | "taken" | "no"> {
  const on = wanted !== "virtual";
  if (can && (await connection.askText(`Qqemu.PhyMemMode:${on ? 1 : 0}`)) === "OK" && on) return "switched";
  return wanted === "physical" ? "taken" : "no";
}

async function describe(
  connection: GdbConnection,
  features: ReadonlyMap<string, string>,
): Promise<TargetDescription> {
  if (features.get("qXfer:features:read") !== "+") return { architecture: undefined, registers: [] };
  return await readDescription((name) => readObject(connection, "features", name));
}

/** An object of the stub's: `qXfer:KIND:read:NAME`. What it refuses is empty. */
async function readObject(connection: GdbConnection, kind: string, name: string): Promise<string> {
  let text = "";
  while (text.length < MAX_DESCRIPTION) {
    const ask = `qXfer:${kind}:read:${name}:${text.length.toString(16)},${PART.toString(16)}`;
    const answer = await connection.askText(ask);
    if (!/^[ml]/.test(answer)) return text;
    text += answer.slice(1);
    if (answer.startsWith("l") || answer.length === 1) return text;
  }
  return text;
}

async function rangesOf(
  name: string,
  connection: GdbConnection,
  features: ReadonlyMap<string, string>,
  kind: "physical" | "virtual",
): Promise<AddressRanges> {
  if (kind === "virtual") return AddressRanges.single(0, 2 ** 64);
  if (features.get("qXfer:memory-map:read") === "+") {
    const told = rangesOfMap(await readObject(connection, "memory-map", ""));
    if (told.length > 0) return told;
  }
  const ofMonitor = await rangesOfMonitor(connection);
  if (ofMonitor.length > 0) return ofMonitor;
  throw new ConnectorError(
    "NO_MEMORY_MAP",
    name,
    "the stub does not tell which physical addresses are RAM, and reads others as zeros, or worse, reads devices: give map=0-2G",
  );
}

/** RAM of a memory map (GDB manual, appendix F.7). */
function rangesOfMap(text: string): AddressRanges {
  const ranges: { start: number; end: number }[] = [];
  for (const tag of tagsOf(text)) {
    if (tag.name !== "memory" || attributeOf(tag, "type") !== "ram") continue;
    const start = Number(attributeOf(tag, "start") ?? Number.NaN);
    const end = start + Number(attributeOf(tag, "length") ?? Number.NaN);
    if (start >= 0 && end <= 2 ** 52 && ranges.length < 10_000) ranges.push({ start, end });
  }
  return AddressRanges.from(ranges);
}

/** QEMU's monitor behind its stub: RAM is what memory backends stand behind. */
async function rangesOfMonitor(connection: GdbConnection): Promise<AddressRanges> {
  const view = parseFlatView(await askMonitor(connection, "info mtree -f")) ?? [];
  const backends = await askMonitor(connection, "info memdev");
  const names = new Set(
    [...backends.matchAll(/^memory backend: (\S+)\r?$/gm)].flatMap(([, id]) => [id, `/objects/${id}`]),
  );
  return AddressRanges.from(view.filter(({ name }) => names.has(name)));
}

/** A line for the stub's monitor; what it prints, or nothing where there is none. */
async function askMonitor(connection: GdbConnection, line: string): Promise<string> {
  let text = "";
  const answer = await connection.askText(`qRcmd,${encodeHex(bytesOf(line))}`, (data) => {
    const isPrinted = data[0] === 0x4f && data[1] !== 0x4b;
    if (!isPrinted) return !"STWX".includes(String.fromCharCode(data[0] ?? 0));
    const bytes = new Uint8Array((data.length - 1) >> 1);
    if (text.length < 16 * 2 ** 20 && decodeHex(data.subarray(1), bytes) > 0) text += textOf(bytes);
    return false;
  });
  return answer === "OK" ? text : "";
}

class OpenStub implements GdbSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly isMortal = true;
  readonly kind: "physical" | "virtual";
  readonly remarks: readonly string[];
  readonly #connection: GdbConnection;
  readonly #guard: ResumeGuard | undefined;
  readonly #stub: Stub;
  /** A probe on a bus reads memory while the machine runs. */
  readonly #isOnBus: boolean;
  #closed: Promise<void> | undefined;

  constructor(
    readonly name: string,
    connection: GdbConnection,
    guard: ResumeGuard | undefined,
    stub: Stub,
    { write, memory }: GdbOptions,
  ) {
    this.kind = stub.kind;
    this.remarks = stub.remarks;
    this.supports = { write: write === true, live: true };
    this.#connection = connection;
    this.#guard = guard;
    this.#stub = stub;
    this.#isOnBus = memory === "physical" && !stub.isQemu;
  }

  notes(): DumpNotes {
    return this.#stub.notes;
  }

  ranges(): AddressRanges {
    return this.#stub.ranges;
  }

  async transfer(batch: Batch): Promise<void> {
    const { kind, packets, ranges } = this.#stub;
    await transferBatch(this.#connection, packets, kind === "physical" ? ranges : undefined, batch);
  }

  get still(): string | undefined {
    return this.#isOnBus ? undefined : "is paused while it is read";
  }

  async freeze(): Promise<void> {
    // A stub's machine is paused as long as somebody is connected.
  }

  async thaw(): Promise<void> {}

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const connection = this.#connection;
    const guard = this.#guard;
    if (guard === undefined) return connection.close();
    const isOver =
      connection.closed === undefined && (await connection.askText("D").catch(() => "")) === "OK";
    connection.close();
    if (isOver) return await guard.leave();
    // One that can still be reached may let it go on. Where none listens any more, QEMU's has ended with its machine.
    if ((await guard.resume()) || this.#stub.isQemu) return;
    throw new ConnectorError(
      "STILL_FROZEN",
      this.name,
      "its stub is gone, so nobody could tell the machine to go on: if it is still there, it is halted",
    );
  }
}
