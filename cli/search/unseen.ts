/** What a search could not see, which it tells at its end. */
import { EXIT, statusOf } from "../errors.js";
import { DamageSummary } from "../linux/listing.js";
import type { Session } from "../session.js";
import { Holes } from "./holes.js";
import { Stopping } from "./stopping.js";

/** Collects it. */
export class Unseen {
  readonly damage = new DamageSummary();
  readonly holes = new Holes();
  readonly stopping: Stopping;
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
    this.stopping = new Stopping(session);
  }

  /**
   * Tells it, behind what was found.
   *
   * @param none What to say where there is nothing.
   * @param isPart Whether something else is missing.
   * @returns the exit status.
   */
  async report(count: number, none: string, isPart: boolean): Promise<number> {
    const session = this.#session;
    session.clearProgress();
    await session.out.flush();
    this.stopping.report();
    this.holes.report(session);
    this.damage.report(session);
    const { isStopped } = this.stopping;
    if (count === 0) {
      if (!isStopped) session.warn(none);
      return EXIT.failed;
    }
    return statusOf(true, isPart || isStopped || this.holes.isFailure || this.damage.count > 0);
  }
}
