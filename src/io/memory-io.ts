import { HIGH } from "./address.js";
import { addressAt, type Column, type ColumnIo } from "./column.js";
import { copyRecords } from "./copy.hot.js";
import { OUTSIDE, READ_ONLY } from "./fault.js";
import { asBytes, type PacketMemory } from "./packet.js";
import type { PacketIo } from "./packet-io.js";
import { defaultScheduler, type Scheduler } from "./scheduler.js";
import type { BoundView } from "./view.js";

/** Options of {@link MemoryIo}. */
export interface MemoryIoOptions {
  /** Refuse writes and exchanges. */
  readonly readOnly?: boolean;
  readonly scheduler?: Scheduler;
}

/**
 * Memory of this program as a `PacketIo` of offsets. Answers at once: no queue, no batch. (Packets over this very memory
 * must not overlap what they read or write there.)
 */
export class MemoryIo implements PacketIo<number>, ColumnIo {
  readonly bytes: Uint8Array;
  readonly scheduler: Scheduler;
  readonly #readOnly: boolean;

  constructor(memory: PacketMemory, options: MemoryIoOptions = {}) {
    this.bytes = asBytes(memory);
    this.scheduler = options.scheduler ?? defaultScheduler;
    this.#readOnly = options.readOnly ?? false;
  }

  sendIo(offset: number, view: BoundView): void {
    if (this.#readOnly && view.direction !== "read") return view.fail(READ_ONLY);
    const inside = this.bytes.length - offset;
    if (!(offset >= 0 && inside > 0 && Math.floor(offset) === offset)) return view.fail(OUTSIDE);
    const rest = inside < view.length ? view.split(inside) : undefined;
    view.transfer(this.bytes, offset);
    rest?.fail(OUTSIDE);
  }

  /** @internal */
  sendColumn(column: Column, from: number, view: BoundView): void {
    const { size } = column;
    let rest: BoundView | undefined = view;
    let i = from;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const inside = this.#leadInside(column, i, piece.length / size);
      const into = inside === 0 || piece.direction !== "read" ? undefined : piece.claim();
      const records = into === undefined ? 1 : inside;
      rest = records * size < piece.length ? piece.split(records * size) : undefined;
      if (into === undefined) {
        this.sendIo(Number(addressAt(column, i)), piece);
      } else {
        copyRecords(this.bytes, column.words, i, records, size, into);
        piece.complete();
      }
      i += records;
    }
  }

  /** How many of the next records lie wholly inside. */
  #leadInside({ words, size }: Column, from: number, count: number): number {
    const last = this.bytes.length - size;
    let i = 0;
    while (
      i < count &&
      (words[2 * (from + i) + 1] as number) * HIGH + (words[2 * (from + i)] as number) <= last
    )
      i++;
    return i;
  }
}
