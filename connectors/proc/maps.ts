/** /proc/PID/maps: what a process has mapped (proc_pid_maps(5)). */

/** A line of /proc/PID/maps. */
export interface ProcessMap {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly shared: boolean;
  /** In the mapped file, bytes. */
  readonly offset: bigint;
  readonly inode: number;
  /** File, `[heap]`, `[stack]` …; empty for anonymous memory. As the kernel prints it (newlines as `\012`). */
  readonly path: string;
}

const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([sp]) ([0-9a-f]+) \S+ (\d+) *(.*)$/;

/** Parses /proc/PID/maps; lines of another form are skipped. */
export function parseMaps(text: string): ProcessMap[] {
  const maps: ProcessMap[] = [];
  for (const line of text.split("\n")) {
    const match = MAP_LINE.exec(line);
    if (match === null) continue;
    const [, start, end, r, w, x, s, offset, inode, path] = match;
    maps.push({
      start: BigInt(`0x${start}`),
      end: BigInt(`0x${end}`),
      readable: r === "r",
      writable: w === "w",
      executable: x === "x",
      shared: s === "s",
      offset: BigInt(`0x${offset}`),
      inode: Number(inode),
      path: path ?? "",
    });
  }
  return maps;
}
