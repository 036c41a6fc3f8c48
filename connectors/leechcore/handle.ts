/** An open device of LeechCore's: options, commands, the memory map. Every call checks that it is still open. */

import type { RawRange } from "../../src/formats/index.js";
import { MemtoolError } from "../../src/io/index.js";
import { ConnectorError } from "../errors.js";
import { bytesAt } from "../ffi.js";
import {
  COMMAND,
  CONFIG,
  CONFIG_VERSION,
  ERROR_INFO,
  FORCE_OFFSET,
  LEECHCORE_OPTIONS,
  MAP_ENTRY,
  TEXT_SIZE,
  VERBOSE,
} from "./abi.js";
import { printable, withCapturedOutput } from "./captured-output.js";
import type { DeviceString } from "./device-string.js";
import type { LeechCoreLibrary } from "./library.js";

/** What LeechCore says of a device that it opened. */
export interface OpenedDevice {
  /** `file`, `fpga` … */
  readonly kind: string;
  readonly isVolatile: boolean;
  readonly isWritable: boolean;
  /** End of the memory map, or what was found by other means. */
  readonly maxAddress: number;
}

/** More than any machine's ranges take. */
const MAX_RANGES = 2 ** 20;
/** No machine has physical addresses of more than 52 bits. */
const MAX_ADDRESS = 2 ** 52;

/** See the module's comment. */
export class LeechCoreHandle {
  readonly name: string;
  readonly library: LeechCoreLibrary;
  readonly device: OpenedDevice;
  /** `2.23.3`. */
  readonly version: string;
  /** Whether reads tell why they failed: `LcReadScatterEx` is there. */
  readonly hasResults: boolean;
  /** Signed, as a foreign call takes it; 0 once it is closed. */
  #handle: bigint;
  /** Whether somebody else in this process opened the device, and uses it. */
  readonly #isAnothers: boolean;

  private constructor(
    name: string,
    library: LeechCoreLibrary,
    device: OpenedDevice,
    handle: bigint,
    isAnothers: boolean,
  ) {
    this.name = name;
    this.#isAnothers = isAnothers;
    this.library = library;
    this.device = device;
    this.#handle = handle;
    this.version = this.#askVersion();
    this.hasResults = this.#probeResults();
  }

  /**
   * @param maxAddress 0 lets the device find it out.
   * @throws {ConnectorError} `OPEN_FAILED`, with what LeechCore printed; `BAD_LIBRARY` for another version of it.
   */
  static open(name: string, library: LeechCoreLibrary, what: DeviceString, maxAddress = 0): LeechCoreHandle {
    const config = Buffer.alloc(CONFIG.size);
    config.writeUInt32LE(CONFIG_VERSION, CONFIG.version);
    config.writeUInt32LE(VERBOSE, CONFIG.verbosity);
    writeText(config, CONFIG.device, what.device);
    writeText(config, CONFIG.remote, what.remote);
    config.writeBigUInt64LE(BigInt(maxAddress), CONFIG.maxAddress);
    const error = Buffer.alloc(8);
    let handle = 0n;
    let text: string;
    try {
      const create = library.call("LcCreateEx", "bb", [config, error], "BigInt");
      const captured = withCapturedOutput(library.ffi, () => library.ffi.load(create) as bigint);
      handle = captured.result;
      text = captured.text;
    } catch (cause) {
      throw notLeechCore(name, library, cause);
    }
    if (handle === 0n) {
      const said = [userText(library, error.readBigUInt64LE()), text]
        .filter((part) => part !== "")
        .join(" | ");
      throw new ConnectorError(
        "OPEN_FAILED",
        name,
        `LeechCore could not open "${what.device}"${what.remote === "" ? "" : ` at ${what.remote}`}: ` +
          `${said === "" ? "it does not say why" : `it says: ${said}`}; ${advice(what.device)}`,
      );
    }
    const device: OpenedDevice = {
      kind: textAt(config, CONFIG.deviceName),
      isVolatile: config.readUInt32LE(CONFIG.isVolatile) !== 0,
      isWritable: config.readUInt32LE(CONFIG.isWritable) !== 0,
      maxAddress: Math.min(Number(config.readBigUInt64LE(CONFIG.maxAddress)), MAX_ADDRESS),
    };
    try {
      return new LeechCoreHandle(name, library, device, handle, /^existing(:|$)/i.test(what.device));
    } catch (cause) {
      library.once("LcClose", "p", [handle], "Void");
      throw cause;
    }
  }

  /** What calls take. @throws {MemtoolError} `CLOSED` */
  get value(): bigint {
    if (this.#handle === 0n) throw new MemtoolError("CLOSED", `${this.name} is closed`);
    return this.#handle;
  }

  get isOpen(): boolean {
    return this.#handle !== 0n;
  }

  /** Closes it, once. Nothing may be under way. */
  close(): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle !== 0n) this.library.once("LcClose", "p", [handle], "Void");
  }

  /** The value of an option; `undefined` where the device has none such. */
  getOption(option: bigint): bigint | undefined {
    const value = Buffer.alloc(8);
    const values = [this.value, BigInt.asIntN(64, option), value];
    const known = this.library.once("LcGetOption", "ppb", values, "I32") !== 0;
    return known ? value.readBigUInt64LE() : undefined;
  }

  /** Sets an option. @returns whether the device took it. */
  setOption(option: bigint, value: bigint): boolean {
    const values = [this.value, BigInt.asIntN(64, option), BigInt.asIntN(64, value)];
    return this.library.once("LcSetOption", "ppp", values, "I32") !== 0;
  }

  /**
   * The ranges of physical memory, and where the device has them; empty where it has no map.
   *
   * @throws {ConnectorError} `BAD_MEMORY_MAP` for one that no machine has: its numbers would not be exact.
   */
  memoryMap(): RawRange[] {
    const bytes = this.#command(COMMAND.getMap);
    const ranges: RawRange[] = [];
    for (let at = 0; at + MAP_ENTRY.size <= bytes.length; at += MAP_ENTRY.size) {
      const start = bytes.readBigUInt64LE(at + MAP_ENTRY.address);
      const size = bytes.readBigUInt64LE(at + MAP_ENTRY.bytes);
      const remap = bytes.readBigUInt64LE(at + MAP_ENTRY.remap);
      if (start + size > MAX_ADDRESS || remap + size > Number.MAX_SAFE_INTEGER) {
        throw new ConnectorError(
          "BAD_MEMORY_MAP",
          this.name,
          `the device's memory map has 0x${size.toString(16)} bytes at 0x${start.toString(16)}, at its offset 0x${remap.toString(16)}: ` +
            "no machine's memory; say where it is with the option map",
        );
      }
      // Read back, 0 is an offset of 0: "as the address" has been replaced by the address.
      ranges.push({ start: Number(start), end: Number(start + size), offset: Number(remap) });
    }
    return ranges;
  }

  /**
   * Replaces the memory map as a whole, and reads it back: LeechCore says yes and drops what it does not like. Nothing may be
   * under way: reads go by the map without a lock (memmap.c, LcMemMap_TranslateMEMs), and setting it empties it first.
   *
   * @throws {ConnectorError} `BAD_MEMORY_MAP`, naming the first range that is not there as it was given; or where the device
   * is another's (`existing`).
   */
  setMemoryMap(ranges: readonly RawRange[]): void {
    if (this.#isAnothers) {
      throw new ConnectorError(
        "BAD_MEMORY_MAP",
        this.name,
        "who opened the device may be reading by its memory map, which is not locked: set it there",
      );
    }
    const sorted = [...ranges].sort((a, b) => a.start - b.start);
    const bytes = Buffer.alloc(sorted.length * MAP_ENTRY.size);
    sorted.forEach(({ start, end, offset }, i) => {
      const at = i * MAP_ENTRY.size;
      bytes.writeBigUInt64LE(BigInt(start), at + MAP_ENTRY.address);
      bytes.writeBigUInt64LE(BigInt(end - start), at + MAP_ENTRY.bytes);
      const remap = offset === start ? 0n : BigInt(offset);
      bytes.writeBigUInt64LE(offset === 0 && start !== 0 ? FORCE_OFFSET : remap, at + MAP_ENTRY.remap);
    });
    const isTaken = sorted.length > 0 && sorted.length <= MAX_RANGES && this.#setMap(bytes);
    const kept = isTaken ? this.memoryMap() : [];
    const lost = sorted.find(
      (range, i) =>
        kept[i]?.start !== range.start || kept[i]?.end !== range.end || kept[i]?.offset !== range.offset,
    );
    if (isTaken && lost === undefined && kept.length === sorted.length) return;
    const which =
      lost === undefined
        ? "there are other ranges in it than were given"
        : `0x${lost.start.toString(16)}-0x${lost.end.toString(16)} is not in it as it was given`;
    throw new ConnectorError(
      "BAD_MEMORY_MAP",
      this.name,
      `LeechCore did not take the memory map: ${which} (bounds must be multiples of 4096, and nothing may overlap)`,
    );
  }

  #setMap(bytes: Buffer): boolean {
    const values = [this.value, COMMAND.setMap, bytes.length, bytes, 0n, 0n];
    return this.library.once("LcCommand", "ppibpp", values, "I32") !== 0;
  }

  #command(command: bigint): Buffer {
    const pointer = Buffer.alloc(8);
    const size = Buffer.alloc(8);
    const values = [this.value, command, 0, 0n, pointer, size];
    const isDone = this.library.once("LcCommand", "ppipbb", values, "I32") !== 0;
    const address = pointer.readBigUInt64LE();
    if (address === 0n) return Buffer.alloc(0);
    try {
      const length = size.readUInt32LE();
      if (!isDone || length === 0 || length > MAX_RANGES * MAP_ENTRY.size) return Buffer.alloc(0);
      return Buffer.from(bytesAt(this.library.ffi, address, length));
    } finally {
      this.library.once("LcMemFree", "p", [BigInt.asIntN(64, address)], "Void");
    }
  }

  #askVersion(): string {
    const { versionMajor, versionMinor, versionRevision } = LEECHCORE_OPTIONS;
    const parts = [versionMajor, versionMinor, versionRevision].map((option) => this.getOption(option));
    if (parts[0] !== 2n) {
      throw new ConnectorError(
        "BAD_LIBRARY",
        this.name,
        `${this.library.path} is LeechCore ${parts[0] ?? "of an unknown version"}; memtool knows version 2`,
      );
    }
    return parts.map((part) => part ?? 0n).join(".");
  }

  #probeResults(): boolean {
    try {
      this.library.once("LcReadScatterEx", "pipp", [this.value, 0, 0n, 0n], "I32");
      return true;
    } catch {
      return false;
    }
  }
}

/** Lays a text and the zero behind it into its field. (What is longer would run into the next field.) */
function writeText(config: Buffer, at: number, text: string): void {
  const bytes = Buffer.from(text);
  if (bytes.length >= TEXT_SIZE) {
    throw new RangeError(`LeechCore takes texts of ${TEXT_SIZE - 1} bytes at most, not of ${bytes.length}`);
  }
  config.set(bytes, at);
}

function textAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString("utf8", at, end < 0 ? at : end);
}

/** What LeechCore wants the user to know, from an LC_CONFIG_ERRORINFO, which is freed. */
function userText(library: LeechCoreLibrary, address: bigint): string {
  if (address === 0n) return "";
  try {
    const head = Buffer.from(bytesAt(library.ffi, address, ERROR_INFO.size));
    const room = Math.max(0, head.readUInt32LE(ERROR_INFO.structSize) - ERROR_INFO.text);
    const units = Math.min(head.readUInt32LE(ERROR_INFO.textLength), Math.floor(room / 2), 4096);
    const text = bytesAt(library.ffi, address, ERROR_INFO.text + 2 * units).slice(ERROR_INFO.text);
    return printable(Buffer.from(text).toString("utf16le"));
  } finally {
    library.once("LcMemFree", "p", [BigInt.asIntN(64, address)], "Void");
  }
}

function advice(device: string): string {
  const kind = device.split("://")[0]?.toLowerCase() ?? "";
  if (kind === "file" || kind === "hibr") return "is there such a file, of 16 MiB at least?";
  if (kind === "fpga" || kind === "usb3380") {
    return (
      "is it plugged in, has this user rights to it (lsusb, udev rules), and does its driver library " +
      "(leechcore_ft601_driver_linux.so) lie beside leechcore.so?"
    );
  }
  if (kind === "rawudp") return "does the card answer at that address?";
  return "see LeechCore's wiki for the devices that there are";
}

function notLeechCore(name: string, library: LeechCoreLibrary, cause: unknown): ConnectorError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ConnectorError("BAD_LIBRARY", name, `${library.path} is no LeechCore: ${why}`, { cause });
}
