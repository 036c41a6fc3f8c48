import { bytesText } from "./numbers.js";

/** Where a bar is drawn. */
export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  /** 0 where nobody has said how wide it is. */
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Nothing is shown for what ends sooner, in milliseconds. */
const PATIENCE = 1000;
const REDRAW = 100;
const WIDTH = 30;

/** A bar on standard error for what takes over a second; only on a terminal. */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #started: number;
  #drawn = Number.NEGATIVE_INFINITY;
  #visible = false;

  constructor(stream: ProgressStream, now: () => number = Date.now) {
    this.#stream = stream;
    this.#now = now;
    this.#started = now();
  }

  /** So much of so many bytes is done. */
  update(what: string, done: bigint | number, total: bigint | number): void {
    if (this.#stream.isTTY !== true) return;
    const now = this.#now();
    if (now - this.#started < PATIENCE || now - this.#drawn < REDRAW) return;
    this.#drawn = now;
    this.#visible = true;
    const part = Number(total) === 0 ? 1 : Math.min(1, Number(done) / Number(total));
    const full = Math.round(part * WIDTH);
    const bar = `${"█".repeat(full)}${"░".repeat(WIDTH - full)}`;
    const line = `${what} ${bar} ${Math.floor(part * 100)}% of ${bytesText(total)}`;
    this.#stream.write(`\r\x1b[K${line.slice(0, (this.#stream.columns || 80) - 1)}`);
  }

  /** Takes the bar away: before anything else is written to the terminal, and at the end. */
  clear(): void {
    if (this.#visible) this.#stream.write("\r\x1b[K");
    this.#visible = false;
  }
}
