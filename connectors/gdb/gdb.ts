/** The door of the connector `gdb`: what it does is loaded when a stub is opened. */
import type { FreezableSource, MachineSource } from "../connector.js";

/** Options of {@link openGdb}. */
export interface GdbOptions {
  /** Allows writes. Default: false. */
  readonly write?: boolean | undefined;
  /**
   * What the stub's addresses are. Default: physical where it can be told to (QEMU's), else virtual: as the processor sees them that it
   * stopped at. `physical` also takes them as that where it can't be told (a probe on a bus).
   */
  readonly memory?: "physical" | "virtual" | undefined;
  /** Which addresses are RAM, where the stub does not tell: ranges such as `0-2G`, in the form of `readMemoryMap`. */
  readonly map?: string | undefined;
  /**
   * Lets the machine go on when the source is closed, or the program ends; default true. (A stub pauses it when somebody connects, and
   * does not tell whether it was paused before.)
   */
  readonly resume?: boolean | undefined;
  /** Requests under way at once; default 16 where the stub is known to take so many, else 1. */
  readonly inflight?: number | undefined;
  /** Milliseconds in which the stub has to answer; default 10,000. */
  readonly timeout?: number | undefined;
}

/** A machine through its stub. It answers asynchronously only. */
export interface GdbSource extends MachineSource, FreezableSource {
  readonly kind: "physical" | "virtual";
}

/**
 * Opens a machine through a stub that speaks GDB's remote serial protocol: a source that answers asynchronously only. It is paused until
 * the source is closed.
 *
 * @param target `HOST:PORT`, `:PORT` (of this machine), or `unix:PATH`.
 * @throws {ConnectorError} `GDB_REFUSED`, `GDB_TIMEOUT`, `GDB_PROTOCOL` for what is no stub; `NO_MEMORY_MAP` with what to give.
 */
export async function openGdb(target: string, options: GdbOptions = {}): Promise<GdbSource> {
  const { openStub } = await import("./open-gdb.js");
  return await openStub(target, options);
}
