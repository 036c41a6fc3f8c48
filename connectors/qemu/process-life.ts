/** Whether a process still has memory, asked in a microsecond. */
import { closeSync, openSync, readSync } from "node:fs";

/** Of one process, also when its number belongs to another by now. */
export class ProcessLife {
  #fd: number;
  readonly #bytes = new Uint8Array(2);

  /** @throws what Node throws if there is no such process. */
  constructor(pid: number) {
    this.#fd = openSync(`/proc/${pid}/statm`, "r");
  }

  /** Of a process that is a zombie, or is gone, `statm` (proc(5)) begins with 0, or can't be read. */
  get isAlive(): boolean {
    try {
      return (
        readSync(this.#fd, this.#bytes, 0, 2, 0) === 2 &&
        !(this.#bytes[0] === 0x30 && this.#bytes[1] === 0x20)
      );
    } catch {
      return false;
    }
  }

  /** It counts as gone then. Idempotent. */
  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) closeSync(fd);
  }
}
