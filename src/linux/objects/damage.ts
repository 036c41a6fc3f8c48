/** What was wrong in a kernel's own data: reported beside what could still be read, never instead of it. */
import { describeFault, type Fault, hex, MemtoolError } from "../../io/index.js";

/**
 * Why a part of something is missing.
 *
 * `unreadable`: a page is missing, or a pointer leads nowhere (the fault says which). `loop`: it comes back to where it was.
 * `mismatch`: two pointers that must agree don't. `too long`: more than any kernel has. `invalid`: a value that can't be.
 */
export type DamageReason = "unreadable" | "loop" | "mismatch" | "too long" | "invalid";

/** One thing that was wrong. */
export interface Damage {
  /** What could not be read on: "the list of tasks", "comm of a task". */
  readonly what: string;
  /** Virtual address of what is damaged. */
  readonly address: bigint;
  readonly reason: DamageReason;
  /** The fault of the read, where there was one; else 0. */
  readonly fault: Fault;
  /** All of it in a sentence. */
  readonly message: string;
}

/** Is told of damage as it is found. */
export type OnDamage = (damage: Damage) => void;

/** Options of what gives a list: see {@link DamageError}. */
export interface DamageOptions {
  /** Is told of each thing that is wrong. Without it, the list throws a {@link DamageError} after its last item. */
  readonly onDamage?: OnDamage | undefined;
}

/** Makes a {@link Damage}. */
export function damage(
  what: string,
  address: bigint,
  reason: DamageReason,
  fault: Fault = 0,
  more = "",
): Damage {
  const why = fault !== 0 ? describeFault(fault) : more === "" ? reason : `${reason}: ${more}`;
  return { what, address, reason, fault, message: `${what} at ${hex(address)}: ${why}` };
}

/** Tells each thing once, however often it is come by. */
export function once(report: OnDamage): OnDamage {
  const told = new Set<string>();
  return (found) => {
    if (told.has(found.message)) return;
    told.add(found.message);
    report(found);
  };
}

/** Things that are listed in a message. */
const LISTED = 3;
/** Things that are kept. */
const KEPT = 1000;

/** What could be read of a list has been given; this says what could not. */
export class DamageError extends MemtoolError {
  /** The first thousand. */
  readonly damage: readonly Damage[];
  readonly count: number;

  constructor(found: readonly Damage[], count: number) {
    const list = found.slice(0, LISTED).map(({ message }) => message);
    if (count > LISTED) list.push(`${count - LISTED} more`);
    super("DAMAGED", `${list.join("; ")} (onDamage takes these instead)`);
    this.damage = found;
    this.count = count;
  }
}

/** Collects damage for a list whose caller gave nobody to tell. */
export class DamageLog {
  readonly #tell: OnDamage | undefined;
  readonly #found: Damage[] = [];
  #count = 0;

  constructor({ onDamage }: DamageOptions) {
    this.#tell = onDamage;
  }

  /** Takes one. A function of its own, so that it can be handed on. */
  readonly report: OnDamage = (found) => {
    if (this.#tell !== undefined) {
      this.#tell(found);
      return;
    }
    this.#count++;
    if (this.#found.length < KEPT) this.#found.push(found);
  };

  /** To be called after the last item. @throws {DamageError} if there was any, and nobody was told. */
  end(): void {
    if (this.#count > 0) throw new DamageError(this.#found, this.#count);
  }
}
