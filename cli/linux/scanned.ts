/** What the scans of memory, `ps --scan` and `sockets --scan`, show alike: what was found, on what evidence, and how many of each kind. */
import type { Session } from "../session.js";
import type { ListColumn } from "./listing.js";

/** What a scan found, whatever it looks like. */
interface Scanned {
  readonly status: string;
  readonly missedBy: readonly string[];
  readonly evidence: readonly string[];
  readonly against: readonly string[];
}

/**
 * The columns that say on what evidence, and what misses it.
 *
 * @param isUsual Whether it is as it should be: its evidence is only counted for people.
 */
export function evidenceColumns<T extends Scanned>(isUsual: (found: T) => boolean): readonly ListColumn<T>[] {
  return [
    { field: "missedBy", type: "json", title: "MISSED BY", value: ({ missedBy }) => missedBy },
    {
      field: "evidence",
      type: "json",
      title: "EVIDENCE",
      value: ({ evidence }) => evidence,
      cell: (found) => evidenceText(found, isUsual(found)),
    },
    { field: "against", type: "json", value: ({ against }) => against },
  ];
}

function evidenceText({ evidence, against }: Scanned, isUsual: boolean): string {
  const count = `${evidence.length} of ${evidence.length + against.length}`;
  return isUsual ? count : `${count}: ${[...evidence, ...against.map((each) => `not: ${each}`)].join(", ")}`;
}

/** Counts what is found by its status, to say at the end how many there are. */
export class StatusCounts<S extends string> {
  readonly #counts: Map<S, number>;

  /** @param order All that there are, in the order in which they are told. */
  constructor(order: readonly S[]) {
    this.#counts = new Map(order.map((status) => [status, 0]));
  }

  add(status: S): void {
    this.#counts.set(status, (this.#counts.get(status) ?? 0) + 1);
  }

  /** Says it on standard error, if there is anything. @param isWhole Whether everything could be read that tells what is hidden. */
  report(session: Session, isWhole: boolean): void {
    const told = [...this.#counts].filter(([, count]) => count > 0);
    if (told.length === 0) return;
    const text = told.map(([status, count]) => `${count} ${status}`).join(", ");
    const none = isWhole
      ? "; none is hidden"
      : "; none is known to be hidden, but not everything could be read";
    session.warn(`${text}${told.some(([status]) => status === "hidden") ? "" : none}`);
  }
}
