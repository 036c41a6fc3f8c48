import { type Column, type ColumnIo, SAFE_HIGH, sendColumn, sendRecords } from "../src/io/column.js";
import { type Address, type BoundView, OUTSIDE, type PacketIo, type Scheduler } from "../src/io/index.js";
import type { PhysicalMemory } from "../src/memory/index.js";

/** Physical memory under 64-bit addresses. */
export class IdentityIo implements PacketIo<Address>, ColumnIo {
  readonly scheduler: Scheduler;
  readonly #physical: PhysicalMemory;

  constructor(physical: PhysicalMemory) {
    this.#physical = physical;
    this.scheduler = physical.scheduler;
  }

  sendIo(address: Address, view: BoundView): void {
    const number = Number(address);
    if (Number.isSafeInteger(number)) this.#physical.sendIo(number, view);
    else view.fail(OUTSIDE);
  }

  sendColumn(column: Column, from: number, view: BoundView): void {
    const { words, size } = column;
    const until = 2 * (from + view.length / size);
    for (let i = 2 * from + 1; i < until; i += 2) {
      if ((words[i] as number) >= SAFE_HIGH) {
        sendRecords(this, column, from, view);
        return;
      }
    }
    sendColumn(this.#physical, column, from, view);
  }
}
