/** The door of the connector `qemu`: what it does is loaded when a guest is opened. */
import type { QemuOptions, QemuSource } from "./open-qemu.js";

export type { PlacedRam } from "./monitor.js";
export type { QemuOptions, QemuSource } from "./open-qemu.js";

/**
 * Opens a guest that QEMU runs on this machine: a source of its physical memory.
 *
 * Where its RAM is, QEMU's monitor says (QMP); if there is none, or another client has it, the mappings of the process are compared
 * with the command line. What is a shared mapping of a file is read from the file.
 *
 * @param target The guest's `-name`, the number of its process, or the path of its QMP socket; empty: the only one there is.
 * @throws {ConnectorError} `NO_SUCH_GUEST`, `AMBIGUOUS_GUEST`, `RAM_NOT_FOUND` with what to give,
 * `NO_PERMISSION`, `NO_MONITOR` where `qmp` can't be used, and what `openProcess` throws.
 */
export async function openQemu(target: string, options: QemuOptions = {}): Promise<QemuSource> {
  const { openGuestOfQemu } = await import("./open-qemu.js");
  return await openGuestOfQemu(target, options);
}
