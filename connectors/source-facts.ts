/** What a source tells of itself, as JSON: for recordings, and for sources at the other end of a line. */
import type { Architecture, CpuState, DumpNotes, RawNote } from "../src/formats/index.js";
import { AddressRanges, type Source } from "../src/io/index.js";
import { MalformedError } from "./byte-code.js";
import type { Connector } from "./connector.js";
import type { ProcessMap } from "./proc/maps.js";

/** What stays the same while a source is open. */
export interface SourceFacts {
  readonly name: string;
  readonly kind: Connector["kind"];
  readonly write: boolean;
  readonly live: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/** @throws {MalformedError} unless the text is a JSON object. */
export function parseObject(text: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(text));
  } catch {
    throw new MalformedError("a text is no JSON");
  }
  return objectOf(value, "a text");
}

/** @throws {MalformedError} unless a value is an object. */
export function objectOf(value: unknown, what: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MalformedError(`${what} is no object`);
  }
  return value as Json;
}

/** @throws {MalformedError} unless a value is a list. */
export function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new MalformedError(`${what} is no list`);
  return value;
}

function textOf(value: unknown, what: string): string {
  if (typeof value !== "string") throw new MalformedError(`${what} is no text`);
  return value;
}

function numberOf(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new MalformedError(`${what} is no number`);
  }
  return value;
}

/** `0x…`, up to 2^64. */
function bigOf(value: unknown, what: string): bigint {
  if (typeof value !== "string" || !/^0x[0-9a-f]{1,17}$/.test(value) || BigInt(value) > 1n << 64n) {
    throw new MalformedError(`${what} is no number of 64 bits`);
  }
  return BigInt(value);
}

const big = (value: bigint): string => `0x${value.toString(16)}`;
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const fromBase64 = (value: unknown, what: string): Uint8Array =>
  new Uint8Array(Buffer.from(textOf(value, what), "base64"));

/** @throws {MalformedError} */
export function readFacts(facts: Json): SourceFacts {
  const { kind } = facts;
  if (kind !== "file" && kind !== "physical" && kind !== "virtual")
    throw new MalformedError("kind is none of file, physical, virtual");
  return {
    name: textOf(facts.name, "name").slice(0, 1024),
    kind,
    write: facts.write === true,
    live: facts.live === true,
  };
}

/** The facts of a source. */
export function factsOf({ name, supports }: Source, kind: Connector["kind"]): SourceFacts {
  return { name, kind, write: supports.write, live: supports.live };
}

/** Ranges as JSON. Bounds are numbers of up to 2^64, so texts. */
export function rangesToJson(ranges: AddressRanges): Json {
  return { ranges: [...ranges].map(({ start, end }) => [big(BigInt(start)), big(BigInt(end))]) };
}

/** @throws {MalformedError} */
export function rangesFromJson(value: Json): AddressRanges {
  return AddressRanges.from(
    listOf(value.ranges, "ranges").map((each) => {
      const [start, end] = listOf(each, "a range");
      return { start: Number(bigOf(start, "a start")), end: Number(bigOf(end, "an end")) };
    }),
  );
}

/** Mappings of a process as JSON. */
export function mapsToJson(maps: readonly ProcessMap[]): Json {
  return {
    maps: maps.map(({ start, end, offset, ...rest }) => ({
      start: big(start),
      end: big(end),
      offset: big(offset),
      ...rest,
    })),
  };
}

/** @throws {MalformedError} */
export function mapsFromJson(value: Json): ProcessMap[] {
  return listOf(value.maps, "maps").map((each) => {
    const map = objectOf(each, "a mapping");
    return {
      start: bigOf(map.start, "a start"),
      end: bigOf(map.end, "an end"),
      readable: map.readable === true,
      writable: map.writable === true,
      executable: map.executable === true,
      shared: map.shared === true,
      offset: bigOf(map.offset, "an offset"),
      inode: numberOf(map.inode, "an inode"),
      path: textOf(map.path, "a path"),
    };
  });
}

/** What a machine's notes say, as JSON. */
export function notesToJson(notes: DumpNotes): Json {
  const { vmcoreinfo, cpus, raw, ...rest } = notes;
  return {
    ...rest,
    ...(vmcoreinfo === undefined ? {} : { vmcoreinfo: base64(vmcoreinfo) }),
    cpus: cpus.map(({ pid, registers }) => ({
      pid,
      registers: Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, big(value)])),
    })),
    ...(raw === undefined
      ? {}
      : { raw: raw.map((note) => ({ ...note, description: base64(note.description) })) }),
  };
}

const ARCHITECTURES: readonly string[] = ["x86_64", "i386", "aarch64", "arm", "ppc64", "s390x", "riscv64"];

/** @throws {MalformedError} */
export function notesFromJson(value: Json): DumpNotes {
  const { architecture, byteOrder, pointerSize } = value;
  const optional = <T>(given: unknown, what: string, read: (given: unknown, what: string) => T) =>
    given === undefined ? undefined : read(given, what);
  return {
    vmcoreinfo: optional(value.vmcoreinfo, "VMCOREINFO", fromBase64),
    cpus: listOf(value.cpus, "cpus").map(cpuOf),
    architecture: ARCHITECTURES.includes(architecture as string) ? (architecture as Architecture) : undefined,
    otherMachine: optional(value.otherMachine, "a machine", textOf),
    pageSize: optional(value.pageSize, "a page size", numberOf),
    physBase: optional(value.physBase, "phys_base", numberOf),
    byteOrder: byteOrder === "big" || byteOrder === "little" ? byteOrder : undefined,
    raw: optional(value.raw, "notes", (list) => listOf(list, "notes").map(noteOf)),
    pointerSize: pointerSize === 4 || pointerSize === 8 ? pointerSize : undefined,
  };
}

function cpuOf(value: unknown): CpuState {
  const { pid, registers } = objectOf(value, "a CPU");
  return {
    ...(pid === undefined ? {} : { pid: numberOf(pid, "a number") }),
    registers: Object.fromEntries(
      Object.entries(objectOf(registers, "registers")).map(([name, each]) => [name, bigOf(each, name)]),
    ),
  };
}

function noteOf(value: unknown): RawNote {
  const { name, type, description } = objectOf(value, "a note");
  return {
    name: textOf(name, "a note's name"),
    type: numberOf(type, "a note's type"),
    description: fromBase64(description, "a note"),
  };
}
