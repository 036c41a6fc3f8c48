/**
 * Layers that do anything with their views: answer, fail, lose, keep and answer later, lend (at once, later, again), rebound, throw.
 * Outputs run what others have put off, abort and throw, and the packets are submitted again as they complete. Whatever they
 * do, every byte is answered or dropped exactly once, and no packet waits for ever.
 */
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  type BoundView,
  type Fragment,
  fault,
  layer,
  Packet,
  sendKept,
  sendRebound,
} from "../../src/io/index.js";

const FAILED = fault("io", "memory", "application");

/** Numbers that decide what happens; 0, which is the plainest choice everywhere, once they have run out. */
class Script {
  #at = 0;
  readonly #numbers: readonly number[];

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  below(limit: number): number {
    return (this.#numbers[this.#at++] ?? 0) % limit;
  }
}

/** Things that are put off, done in any order. */
class Later {
  readonly #script: Script;
  readonly #tasks: (() => void)[] = [];

  constructor(script: Script) {
    this.#script = script;
  }

  add(task: () => void): void {
    this.#tasks.push(task);
  }

  /** @returns whether there was one. */
  doOne(): boolean {
    const [task] = this.#tasks.splice(this.#script.below(Math.max(1, this.#tasks.length)), 1);
    task?.();
    return task !== undefined;
  }
}

const MAX_DEPTH = 5;

function serve(script: Script, later: Later, first: number, view: BoundView, depth: number): void {
  let rest: BoundView | undefined = view;
  let at = first;
  while (rest !== undefined) {
    const piece: BoundView = rest;
    const address = at;
    const size = piece.length > 1 ? [piece.length, 1 + script.below(piece.length - 1)][script.below(2)] : 1;
    rest = size !== undefined && size < piece.length ? piece.split(size) : undefined;
    at += piece.length;
    const below = () => serve(script, later, address, piece, depth + 1);
    switch (script.below(depth < MAX_DEPTH ? 9 : 4)) {
      case 0:
        piece.complete();
        break;
      case 1:
        piece.fail(FAILED);
        break;
      case 2:
        break; // It is lost.
      case 3:
        piece.keep();
        later.add(() => (piece.abortFault === 0 ? piece.complete() : piece.fail(piece.abortFault)));
        break;
      case 4:
        piece.keep();
        later.add(() => sendKept(piece, below));
        break;
      case 5:
        sendKept(piece, below);
        break;
      case 6:
        below();
        break;
      case 7: {
        const io = layer<number>(undefined, (to, part: BoundView) =>
          serve(script, later, to, part, depth + 1),
        );
        sendRebound(io, address, piece, (part, offset, why) => {
          if (why === 0 && script.below(2) === 0) part.complete();
          else serve(script, later, address + offset, part, depth + 2);
        });
        break;
      }
      default:
        if (rest !== undefined) throw new Error("half-way");
        piece.complete();
    }
  }
}

/** Packets under way together. */
class Run {
  readonly script: Script;
  readonly later: Later;
  readonly packets = [Packet.reading(16), Packet.reading(12)];
  /** What was told or dropped of each submission, in order: it must be the whole packet. */
  readonly accounts: string[] = [];
  #again: number;

  /** @param again How often packets are submitted again as they complete. */
  constructor(numbers: readonly number[], again: number) {
    this.script = new Script(numbers);
    this.later = new Later(this.script);
    this.#again = again;
  }

  submit(packet: Packet): void {
    const { script, later, packets } = this;
    const told: { start: number; end: number }[] = [];
    const onFragment = ({ start, end }: Fragment) => {
      told.push({ start, end });
      const what = script.below(8);
      if (what === 1) later.doOne();
      if (what === 2) packets[script.below(packets.length)]?.abort();
      if (what === 3) throw new Error("output");
    };
    try {
      serve(script, later, 0, packet.bind({ onFragment }), 0);
    } catch {
      // A layer that throws at its first sender.
    }
    // (Not compared here: a layer may be about to catch what is thrown.)
    const over = () => {
      const all = [...told, ...packet.dropped()].sort((a, b) => a.start - b.start);
      let at = 0;
      for (const { start, end } of all) at = start === at ? end : Number.NaN;
      this.accounts.push(`${at} of ${packet.length}`);
      if (this.#again-- > 0) this.submit(packet);
    };
    if (!packet.park({ wake: over })) over();
  }
}

it("every byte is told or dropped once, and every packet completes, whatever the layers do", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(255), { maxLength: 200 }), fc.nat(3), (numbers, again) => {
      const run = new Run(numbers, again);
      for (const packet of run.packets) run.submit(packet);
      while (run.later.doOne());
      expect(run.packets.map(({ complete }) => complete)).toEqual([true, true]);
      expect(run.accounts).toHaveLength(2 + again);
      for (const account of run.accounts) expect(["16 of 16", "12 of 12"]).toContain(account);
    }),
    { numRuns: 1000 },
  );
});
