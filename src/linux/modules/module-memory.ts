/** A module's memory as it is now: what is there of it, and with which rights it is mapped. */
import { faultState, type Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { ModulePart } from "./module-parts.js";

const PAGE = 4096;
/** Pages that are asked for at once. */
const BATCH = 256;
/** More memory than any module has. */
const MAX_BYTES = 1 << 28;

/** Bytes of a module that are there, in a row, and mapped with the same rights. @internal */
export interface ModuleRun {
  readonly address: bigint;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** A range of a module's memory that could not be read. */
export interface ModuleHole {
  /** From `start` to `end` (exclusive). */
  readonly start: bigint;
  readonly end: bigint;
  /** Such as "excluded": see docs/concepts.md. */
  readonly why: string;
}

/** Reads the parts of a module: ascending by address in each. What lies in two parts is read once. @internal */
export function* readModuleMemory(
  { memory }: KernelData,
  module: string,
  parts: readonly ModulePart[],
  report: OnDamage,
): Routine<{ runs: ModuleRun[]; holes: ModuleHole[] }> {
  const runs: ModuleRun[] = [];
  const holes: ModuleHole[] = [];
  let left = MAX_BYTES;
  let last = 0n;
  for (const part of [...parts].sort((a, b) => (a.address < b.address ? -1 : 1))) {
    const begin = part.address < last ? last : part.address;
    let end = part.address + BigInt(part.size);
    if (end <= begin) continue;
    if (end - begin > BigInt(left)) {
      report(damage(`module ${module}`, part.address, "too long", 0, `more than ${MAX_BYTES} bytes`));
      end = begin + BigInt(left);
    }
    left -= Number(end - begin);
    last = end;
    const builder = new RunBuilder(runs);
    for (let at = begin; at < end; ) {
      const inPage = Number(at & BigInt(PAGE - 1));
      const step = Math.min(BATCH * PAGE - inPage, Number(end - at));
      const pages = BigUint64Array.from(
        { length: Math.ceil((inPage + step) / PAGE) },
        (_, i) => at - BigInt(inPage) + BigInt(i * PAGE),
      );
      const found = yield* memory.translateMany(pages);
      const { bytes, holes: missing } = yield* memory.readPartial(at, step);
      for (const hole of missing) {
        addHole(holes, at + BigInt(hole.start), at + BigInt(hole.end), faultState(hole.fault));
      }
      for (let i = 0; i < pages.length; i++) {
        const from = Math.max(0, i * PAGE - inPage);
        const to = Math.min(step, (i + 1) * PAGE - inPage);
        const row = found.row(i);
        if (row.state !== undefined) continue;
        let start = from;
        for (const hole of missing) {
          if (hole.end <= from || hole.start >= to) continue;
          builder.add(at + BigInt(start), bytes.subarray(start, Math.max(start, hole.start)), row);
          start = Math.min(to, hole.end);
        }
        builder.add(at + BigInt(start), bytes.subarray(start, to), row);
      }
      at += BigInt(step);
    }
    builder.end();
  }
  return { runs, holes };
}

function addHole(holes: ModuleHole[], start: bigint, end: bigint, why: string): void {
  const last = holes.at(-1);
  if (last?.end === start && last.why === why) holes[holes.length - 1] = { ...last, end };
  else holes.push({ start, end, why });
}

interface Rights {
  readonly writable: boolean;
  readonly executable: boolean;
}

/** Puts pieces that follow each other together. */
class RunBuilder {
  readonly #runs: ModuleRun[];
  #pieces: Uint8Array[] = [];
  #start = 0n;
  #length = 0;
  #rights: Rights = { writable: false, executable: false };

  constructor(runs: ModuleRun[]) {
    this.#runs = runs;
  }

  add(address: bigint, bytes: Uint8Array, { writable, executable }: Rights): void {
    if (bytes.length === 0) return;
    const isNext = address === this.#start + BigInt(this.#length);
    if (!isNext || writable !== this.#rights.writable || executable !== this.#rights.executable) {
      this.end();
      this.#start = address;
      this.#rights = { writable, executable };
    }
    this.#pieces.push(bytes);
    this.#length += bytes.length;
  }

  end(): void {
    if (this.#length === 0) return;
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    this.#runs.push({ address: this.#start, bytes, ...this.#rights });
    this.#pieces = [];
    this.#length = 0;
  }
}
