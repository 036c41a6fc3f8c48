/** Raw memory images: physical address = file offset. Any length, a multiple of a page or not. */
import type { BoundView, PacketIo, Routine, Scheduler } from "../io/index.js";
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
class RawIo implements PacketIo<number> {
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
}
