/**
 * Where a machine has its RAM, by its command line alone: for guests whose monitor can't be asked.
 *
 * Sources, all QEMU: hw/i386/pc_piix.c (`pc_init1`), pc_q35.c, microvm.c, pc.c (`pc_memory_init`: RAM beyond the hole at 4 GiB, memory
 * devices from the next GiB on); hw/arm/virt.c and hw/riscv/virt.c (RAM at 1 and 2 GiB; virt.c: devices from the next GiB on);
 * hw/mem/memory-device.c (the first place that is free), hw/core/numa.c (RAM of nodes is put together in their order).
 */
import type { Architecture } from "../../src/formats/index.js";
import { hex } from "../../src/io/index.js";
import type { QemuCommandLine } from "./command-line.js";
import { parseSize } from "./option-text.js";

const GIB = 2 ** 30;
const FOUR_GIB = 4 * GIB;
/** RAM of a machine that nobody gave any (hw/core/machine.c). */
const DEFAULT_RAM = 128 * 2 ** 20;
/** From here on an AMD guest's RAM is moved to 1 TiB (HyperTransport; hw/i386/pc.c). */
const AMD_HOLE = 0xfd_0000_0000;
/** QEMU aligns memory that devices bring as it aligns its own: to what a huge page takes (QEMU_VMALLOC_ALIGN). */
const DEVICE_ALIGN = 2 * 2 ** 20;

/** What of a PC's first MiB is RAM for sure: the chipset hides the rest behind VGA and ROMs, as the firmware tells it. */
const LOW_END = 0xa_0000;
const LOW_AGAIN = 0x10_0000;

/** A part of a backend's memory, and where it is in the guest. */
export interface LaidOut {
  /** Id of the backend; `undefined` for RAM that was given no backend. */
  readonly backend: string | undefined;
  /** Physical address. */
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** In the backend, bytes. */
  readonly offset: number;
}

/** Memory that the machine has, in one piece in QEMU's process. */
export interface Block {
  readonly backend: string | undefined;
  /** Bytes. */
  readonly size: number;
}

/** See the module's comment. */
export interface RamLayout {
  readonly architecture: Architecture | undefined;
  readonly blocks: readonly Block[];
  readonly parts: readonly LaidOut[];
  /** What it can't be certain of, or leaves out. */
  readonly remarks: readonly string[];
}

/** Why the command line does not tell where RAM is. */
export class UnknownLayout extends Error {}

/** @throws {UnknownLayout} */
export function layOut(line: QemuCommandLine): RamLayout {
  const remarks: string[] = [];
  const blocks = mainBlocks(line);
  const size = blocks.reduce((sum, block) => sum + block.size, 0);
  const machine = layoutOf(line, size);
  const parts = placeMain(machine.parts, blocks);
  if (line.devices.length > 0) placeDevices(line, machine.devicesFrom, blocks, parts);
  if (line.otherDevices.length > 0) {
    remarks.push(
      `memory of ${line.otherDevices.join(", ")} is left out: only QEMU's monitor tells where it is`,
    );
  }
  if (line.pluggable) {
    remarks.push("memory that was plugged in since it started is left out: only QEMU's monitor tells of it");
  }
  if (machine.isPc) {
    remarks.push(
      `RAM from ${hex(LOW_END)} to ${hex(LOW_AGAIN)} is left out: only QEMU's monitor tells what is seen of it`,
    );
  }
  return { architecture: machine.architecture, blocks, parts, remarks };
}

function mainBlocks({ nodes, backends, machineOptions, ram = DEFAULT_RAM }: QemuCommandLine): Block[] {
  const sizeOf = (id: string) => {
    const backend = backends.get(id);
    if (backend === undefined) throw new UnknownLayout(`its memory backend ${id} is not on the command line`);
    return backend.size;
  };
  if (nodes.length > 0) return nodes.map((backend) => ({ backend, size: sizeOf(backend) }));
  const backend = machineOptions.get("memory-backend");
  // (QEMU rounds what was asked for up to 8 KiB.)
  if (backend === undefined) return [{ backend, size: Math.ceil(ram / 8192) * 8192 }];
  return [{ backend, size: sizeOf(backend) }];
}

interface MachineLayout {
  readonly architecture: Architecture | undefined;
  readonly isPc: boolean;
  /** Of all main RAM put together: where its bytes from `offset` on are. */
  readonly parts: readonly { readonly start: number; readonly offset: number; readonly length: number }[];
  readonly devicesFrom: number;
}

function layoutOf(line: QemuCommandLine, size: number): MachineLayout {
  const { system } = line;
  const isX86 = system === "x86_64" || system === "i386" || (system === undefined && process.arch === "x64");
  const machine = line.machine ?? (isX86 ? "pc" : undefined);
  if (machine === undefined) throw new UnknownLayout("its command line names no machine");
  if (isX86) return ofPc(line, machine, size);
  const whole = (start: number, architecture: Architecture): MachineLayout => ({
    architecture,
    isPc: false,
    parts: [{ start, offset: 0, length: size }],
    devicesFrom: roundUp(start + size, GIB),
  });
  if (/^virt(?:$|[-.+])/.test(machine)) {
    if (system === "aarch64" || (system === undefined && process.arch === "arm64"))
      return whole(GIB, "aarch64");
    if (system === "riscv64") return whole(2 * GIB, "riscv64");
  }
  throw new UnknownLayout(
    `memtool does not know where a machine ${machine} of qemu-system-${system ?? "?"} has its RAM`,
  );
}

function ofPc(line: QemuCommandLine, machine: string, size: number): MachineLayout {
  const given = parseSize(line.machineOptions.get("max-ram-below-4g"));
  const split = splitOf(machine, size, given);
  if (split === undefined)
    throw new UnknownLayout(`memtool does not know where a machine ${machine} has its RAM`);
  const architecture: Architecture | undefined = line.system === "i386" ? "i386" : undefined;
  const low = Math.min(size, split);
  if (FOUR_GIB + size - low > AMD_HOLE) {
    throw new UnknownLayout("with so much RAM the command line does not tell whether some of it is at 1 TiB");
  }
  const parts = [
    { start: 0, offset: 0, length: Math.min(low, LOW_END) },
    { start: LOW_AGAIN, offset: LOW_AGAIN, length: low - LOW_AGAIN },
    { start: FOUR_GIB, offset: low, length: size - low },
  ].filter(({ length }) => length > 0);
  return { architecture, isPc: true, parts, devicesFrom: roundUp(FOUR_GIB + size - low, GIB) };
}

/**
 * Bytes of RAM below 4 GiB. The larger the machine, the lower the split, so that it is at a whole GiB; not before version 2.0.
 *
 * @param given `max-ram-below-4g`. @returns `undefined` for a machine that it does not know.
 */
function splitOf(machine: string, size: number, given: number | undefined): number | undefined {
  const old = Number(/-(\d+)\.\d+/.exec(machine)?.[1] ?? 9) < 2;
  const most = given === undefined || given === 0 ? Number.POSITIVE_INFINITY : given;
  if (/^(?:pc-)?q35(?:$|[-.+])/.test(machine)) {
    return Math.min(most, size >= 0xb000_0000 && !old ? 2 * GIB : 0xb000_0000);
  }
  if (/^(?:pc|pc-i440fx|isapc)(?:$|[-.+])/.test(machine)) {
    const low = Math.min(most === Number.POSITIVE_INFINITY ? 0xe000_0000 : most, FOUR_GIB);
    return size >= low && !old && machine !== "isapc" ? Math.min(low, 3 * GIB) : low;
  }
  return machine === "microvm" ? Math.min(most, 3 * GIB) : undefined;
}

function placeMain(parts: MachineLayout["parts"], blocks: readonly Block[]): LaidOut[] {
  const placed: LaidOut[] = [];
  for (const { start, offset, length } of parts) {
    let at = 0;
    for (const { backend, size } of blocks) {
      const from = Math.max(offset, at);
      const to = Math.min(offset + length, at + size);
      if (from < to) {
        placed.push({ backend, start: start + from - offset, end: start + to - offset, offset: from - at });
      }
      at += size;
    }
  }
  return placed;
}

function placeDevices(line: QemuCommandLine, from: number, blocks: Block[], parts: LaidOut[]): void {
  const taken: { start: number; end: number }[] = [];
  for (const { memdev, address } of line.devices) {
    const backend = line.backends.get(memdev);
    if (backend === undefined)
      throw new UnknownLayout(`its memory backend ${memdev} is not on the command line`);
    const { size } = backend;
    const start = address ?? firstFree(taken, from, size);
    taken.push({ start, end: start + size });
    taken.sort((a, b) => a.start - b.start);
    blocks.push({ backend: memdev, size });
    parts.push({ backend: memdev, start, end: start + size, offset: 0 });
  }
}

function firstFree(taken: readonly { start: number; end: number }[], from: number, size: number): number {
  let at = from;
  for (const { start, end } of taken) {
    if (at + size <= start) break;
    at = Math.max(at, roundUp(end, DEVICE_ALIGN));
  }
  return at;
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
