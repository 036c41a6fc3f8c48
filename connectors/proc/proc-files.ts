/** The files of a process under /proc, held open: what they are of stays what it was when they were opened. */
import { closeSync, openSync, readSync } from "node:fs";

/**
 * `maps`, `mem` and `pagemap` belong to the address space that the process had when they were opened: once it starts another
 * program they are empty, and never another program's. `comm` belongs to the process itself: once it has ended, and even if
 * its number was given to another, it can't be read.
 */
export interface ProcessFiles {
  readonly mem: number;
  readonly maps: number;
  readonly comm: number;
  /** Or why it could not be opened: the name of an error. */
  readonly pagemap: number | string;
}

/** Opens them. @throws as `openSync` does. */
export function openProcessFiles(pid: number, write: boolean): ProcessFiles {
  const opened: number[] = [];
  const openOne = (name: string, flags: string) => {
    const fd = openSync(`/proc/${pid}/${name}`, flags);
    opened.push(fd);
    return fd;
  };
  try {
    const mem = openOne("mem", write ? "r+" : "r");
    const maps = openOne("maps", "r");
    const comm = openOne("comm", "r");
    let pagemap: number | string;
    try {
      pagemap = openOne("pagemap", "r");
    } catch (error) {
      pagemap = (error as NodeJS.ErrnoException).code ?? "not there";
    }
    return { mem, maps, comm, pagemap };
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    throw error;
  }
}

export function closeProcessFiles({ mem, maps, comm, pagemap }: ProcessFiles): void {
  for (const fd of [mem, maps, comm, pagemap]) if (typeof fd === "number") closeSync(fd);
}

const CHUNK = 65_536;

/** All that a file of /proc says now, whose size nobody knows before. @throws as `readSync` does. */
export function readAgain(fd: number): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const got = readSync(fd, chunk, 0, CHUNK, at);
    if (got === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, got));
    at += got;
  }
}
