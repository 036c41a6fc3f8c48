/** Raw memory images: physical address = file offset. Any length, a multiple of a page or not. */
import { HIGH } from "../io/address.js";
import { type Column, type ColumnIo, sendColumn, sendRecords } from "../io/column.js";
import type { Address, BoundView, PacketIo, Routine, Scheduler } from "../io/index.js";
import { PhysicalMap } from "../memory/physical-map.js";
import { NO_MEMORY } from "./pieces.js";
import type { DumpFile, DumpImage, Format } from "./types.js";

/** What is opened when nothing else is recognised. */
export const raw: Format = { name: "raw", detect: () => true, open: openRaw };

// biome-ignore lint/correctness/useYield: a raw image has no headers to wait for.
export function* openRaw(file: DumpFile): Routine<DumpImage> {
  return {
    format: "raw",
    description: "raw memory image (physical address = file offset)",
    io: new RawIo(file),
    map: PhysicalMap.single(0, file.size),
    notes: { cpus: [] },
    warnings: [],
    details: { bytes: file.size },
  };
}

/** The file, with what lies beyond its end `outside`. */
class RawIo implements PacketIo<number>, ColumnIo {
  readonly #file: DumpFile;

  constructor(file: DumpFile) {
    this.#file = file;
  }

  get scheduler(): Scheduler | undefined {
    return this.#file.scheduler;
  }

  sendIo(address: number, view: BoundView): void {
    const room = this.#file.size - address;
    if (!(address >= 0 && room > 0)) return view.fail(NO_MEMORY);
    if (view.length > room) view.split(room).fail(NO_MEMORY);
    this.#file.sendIo(address, view);
  }

  sendColumn(column: Column, from: number, view: BoundView): void {
    const { words, size } = column;
    const last = this.#file.size - size;
    const until = 2 * (from + view.length / size);
    for (let i = 2 * from; i < until; i += 2) {
      if ((words[i + 1] as number) * HIGH + (words[i] as number) > last) {
        sendRecords(this as PacketIo<Address>, column, from, view);
        return;
      }
    }
    sendColumn(this.#file, column, from, view);
  }
}
