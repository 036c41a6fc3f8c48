/**
 * Where QEMU's machines have their RAM: a migration stream names RAM blocks, not physical addresses.
 *
 * Sources, all QEMU: hw/i386/pc_piix.c (`pc_init1`: RAM of 3.5 GiB or more is split at 3 GiB, and at 3.5 GiB before
 * machine version 2.0 and in isapc), pc_q35.c (2.75 GiB or more: split at 2 GiB, and at 2.75 GiB before 2.0), microvm.c (3 GiB), pc.c (the rest at
 * 4 GiB; beyond 1012 GiB guests with an AMD processor have it at 1 TiB), pc_sysfw.c and x86.c (firmware ends at 4 GiB);
 * hw/arm/virt.c (1 GiB), hw/riscv/virt.c (2 GiB), hw/ppc/spapr.c and hw/s390x/s390-virtio-ccw.c (0); hw/core/numa.c
 * (the blocks of NUMA nodes follow each other).
 */
import { hex } from "../../io/index.js";
import type { Warnings } from "../errors.js";
import { Intervals, layIntervals } from "../pieces.js";
import { bytesCovered } from "../raw/raw-map.js";
import type { Architecture, RawRange } from "../types.js";
import type { RamBlock } from "./qemu-ram-records.hot.js";

const GIB = 2 ** 30;
const FOUR_GIB = 4 * GIB;
/** From here on AMD guests have no RAM (HyperTransport). */
const AMD_HOLE = 0xfd_0000_0000;

/** Blocks that machines and their users give RAM; `ram` is what QEMU's documentation calls a memory backend. */
const KNOWN_RAM = /^(?:pc\.ram|mach-virt\.ram|riscv_virt_board\.ram|ppc_spapr\.ram|s390\.ram|ram)$/;
const NODE_RAM = /^(?:\/objects\/)?ram-node(\d+)$/;
/** Blocks of devices and firmware. */
const DEVICE =
  /rom|bios|flash|vram|vgamem|^\/rom@|virtio-|\.mmio|option|tpm|nvdimm|sram|isa-|fw_cfg|vmgenid/i;

/** A machine's RAM in a stream. */
export interface PlacedRam {
  /** Physical addresses; targets are byte offsets in the RAM blocks, put one after another in their order. */
  readonly places: Intervals;
  readonly architecture: Architecture | undefined;
  /** The blocks that are the machine's main RAM, in the order of their addresses. */
  readonly main: readonly RamBlock[];
}

/** A part of main RAM: where it is, and which bytes of RAM. */
interface Part {
  readonly start: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Finds where RAM blocks belong.
 *
 * @param machine   As the stream names it, `pc-q35-7.2`; `undefined` in streams of old machines.
 * @param pageSize  Of the pages that blocks are counted in.
 * @param memoryMap The user's word for where main RAM is: offsets in it.
 */
export function placeRam(
  machine: string | undefined,
  blocks: readonly RamBlock[],
  pageSize: number,
  memoryMap: readonly RawRange[] | undefined,
  warnings: Warnings,
): PlacedRam {
  const main = mainBlocks(blocks, warnings);
  const size = main.reduce((sum, block) => sum + block.length, 0);
  const { architecture, parts } = layoutOf(machine, main[0]?.name ?? "", size, warnings);
  const wanted =
    memoryMap?.map(({ start, end, offset }): Part => ({ start, offset, length: end - start })) ??
    parts(memoryMap === undefined);
  const found = new Intervals();
  for (const { start, offset, length } of wanted) {
    const end = Math.min(offset + length, size);
    if (!(end > offset && start + length <= Number.MAX_SAFE_INTEGER)) {
      warnings.add(
        `no RAM of the stream is at physical address ${hex(start)}: it has ${hex(size)} bytes of it`,
      );
      continue;
    }
    if (end < offset + length) {
      warnings.add(
        `the memory map reaches beyond the RAM of the stream, which has ${hex(size)} bytes: there is none from physical ` +
          `address ${hex(start + end - offset)} to ${hex(start + length)}`,
      );
    }
    let at = 0;
    for (const block of main) {
      const from = Math.max(offset, at);
      const to = Math.min(end, at + block.length);
      if (from < to)
        found.push(start + from - offset, start + to - offset, block.base * pageSize + from - at);
      at += block.length;
    }
  }
  const unused = memoryMap === undefined ? 0 : size - bytesCovered(memoryMap, size);
  if (unused > 0) {
    warnings.add(`${unused} bytes of RAM are in no range of the memory map, and can't be read through it`);
  }
  if (architecture === "x86_64") placeFirmware(blocks, pageSize, found);
  const placed = new Set(main);
  for (const block of blocks) {
    if (!placed.has(block) && !DEVICE.test(block.name)) {
      warnings.add(
        `the RAM block ${block.name} (${hex(block.length)} bytes) is no part of main RAM, and the stream does not say ` +
          "at which physical address it is: it can't be read",
      );
    }
  }
  return { places: layIntervals(found, "first"), architecture, main };
}

function mainBlocks(blocks: readonly RamBlock[], warnings: Warnings): readonly RamBlock[] {
  const nodes = blocks.filter(({ name }) => NODE_RAM.test(name));
  if (nodes.length > 0) {
    const number = ({ name }: RamBlock) => Number(NODE_RAM.exec(name)?.[1]);
    return nodes.sort((a, b) => number(a) - number(b));
  }
  const known = blocks.find(({ name }) => KNOWN_RAM.test(name));
  if (known !== undefined) return [known];
  const others = blocks.filter(({ name }) => !DEVICE.test(name));
  const largest = others.reduce<RamBlock | undefined>(
    (best, block) => (best === undefined || block.length > best.length ? block : best),
    undefined,
  );
  if (largest !== undefined && others.length > 1) {
    warnings.add(
      `no RAM block has a name that memtool knows as main RAM's: the largest, ${largest.name}, is taken for all of it; if the ` +
        "guest has several NUMA nodes, this is at wrong addresses",
    );
  }
  return largest === undefined ? [] : [largest];
}

interface Layout {
  readonly architecture: Architecture | undefined;
  /** @param warn Whether to say what is not certain. */
  readonly parts: (warn: boolean) => readonly Part[];
}

function layoutOf(machine: string | undefined, ram: string, size: number, warnings: Warnings): Layout {
  const from = (start: number) => () => [{ start, offset: 0, length: size }];
  const version = /-(\d+)\.\d+/.exec(machine ?? "");
  const split = (name: string, limit: number, low: number): Layout => ({
    architecture: "x86_64",
    parts: (warn) => {
      if (size < limit) return from(0)();
      if (warn) {
        warnings.add(
          `RAM beyond ${hex(low)} is taken to be at 4 GiB, as ${name} has it unless it was started with ` +
            "max-ram-below-4g: then give a memory map",
        );
      }
      if (warn && FOUR_GIB + size - low > AMD_HOLE) {
        warnings.add(
          "with an AMD processor, RAM beyond 4 GiB may be at 1 TiB instead: then give a memory map",
        );
      }
      return [
        { start: 0, offset: 0, length: low },
        { start: FOUR_GIB, offset: low, length: size - low },
      ];
    },
  });
  if (machine !== undefined) {
    // Before version 2.0 low RAM was not cut down to whole GiB.
    const old = Number(version?.[1] ?? 9) < 2;
    if (/^pc-q35-/.test(machine)) return split(machine, 0xb000_0000, old ? 0xb000_0000 : 2 * GIB);
    if (/^(?:pc-i440fx-|pc-\d|xenfv)/.test(machine)) {
      return split(machine, 0xe000_0000, old ? 0xe000_0000 : 3 * GIB);
    }
    if (machine === "isapc") return split(machine, 0xe000_0000, 0xe000_0000);
    if (machine === "microvm") return split(machine, 3 * GIB, 3 * GIB);
    if (/^virt-\d/.test(machine)) return { architecture: "aarch64", parts: from(GIB) };
    if (/^pseries-/.test(machine)) return { architecture: "ppc64", parts: from(0) };
    if (/^s390-ccw-virtio-/.test(machine)) return { architecture: "s390x", parts: from(0) };
  }
  if (ram === "riscv_virt_board.ram") return { architecture: "riscv64", parts: from(2 * GIB) };
  if (ram === "mach-virt.ram") return { architecture: "aarch64", parts: from(GIB) };
  if (machine === undefined && ram === "pc.ram") return split("a machine of type pc", 0xe000_0000, 3 * GIB);
  return {
    architecture: undefined,
    parts: (warn) => {
      if (warn) {
        warnings.add(
          `${machine === undefined ? "the stream names no machine" : `memtool does not know where the machine ${machine} has its RAM`}: ` +
            `${ram === "" ? "it" : ram} is taken to begin at physical address 0; else give a memory map`,
        );
      }
      return from(0)();
    },
  };
}

/** The firmware's ROM ends at 4 GiB, its second flash below the first. */
function placeFirmware(blocks: readonly RamBlock[], pageSize: number, found: Intervals): void {
  let end = FOUR_GIB;
  for (const name of ["pc.bios", "system.flash0", "system.flash1"]) {
    const block = blocks.find((one) => one.name === name);
    if (block === undefined || block.length > 16 * 2 ** 20 || block.length === 0) continue;
    found.push(end - block.length, end, block.base * pageSize);
    end -= block.length;
  }
}
