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

const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([sp]) ([0-9a-f]+) \S+ (\d+) *(.*)$/s;

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

const DEVICE = /^([0-9a-f]+)-[0-9a-f]+ \S+ [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) /;

/** The devices of mapped files, as stat(2) gives them (makedev(3)), by the first addresses of the mappings in /proc/PID/maps. */
export function parseDevices(text: string): Map<bigint, bigint> {
  const devices = new Map<bigint, bigint>();
  for (const line of text.split("\n")) {
    const match = DEVICE.exec(line);
    if (match === null) continue;
    const [major, minor] = [BigInt(`0x${match[2]}`), BigInt(`0x${match[3]}`)];
    const device =
      ((major & ~0xfffn) << 32n) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | (minor & 0xffn);
    devices.set(BigInt(`0x${match[1]}`), device);
  }
  return devices;
}
