import type { Fault } from "../src/io/index.js";
import { rangeText } from "./pieces.js";
import { reasonOf, reasonText } from "./render/hole.js";
import { bytesText } from "./render/numbers.js";
import type { Session } from "./session.js";

/** Ranges that are listed; the rest is counted. */
const LISTED = 16;

/** What could not be read, in all requests of a run. */
export class HoleSummary {
  bytesGood = 0n;
  bytesMissing = 0n;
  #ranges = 0;
  readonly #listed: string[] = [];

  /** Bytes that were read. */
  good(bytes: number): void {
    this.bytesGood += BigInt(bytes);
  }

  /** Bytes that were not. */
  hole(address: bigint, length: bigint, fault: Fault): void {
    this.bytesMissing += length;
    this.#ranges++;
    if (this.#listed.length < LISTED) {
      this.#listed.push(
        `${rangeText(address, length)}  ${bytesText(length)}  ${reasonText(reasonOf(fault))}`,
      );
    }
  }

  /** Says on standard error which ranges are missing, and why. */
  report(session: Session): void {
    if (this.bytesMissing === 0n) return;
    const lines = [...this.#listed];
    if (this.#ranges > LISTED) lines.push(`and ${this.#ranges - LISTED} more ranges`);
    const total = this.bytesGood + this.bytesMissing;
    session.warn(
      `${bytesText(this.bytesMissing)} of ${bytesText(total)} could not be read (ends are exclusive):`,
      lines,
    );
  }
}
