/** Runs rows with tinybench on the CPU clock, and prints each beside the limit it is measured against. */
import { Bench } from "tinybench";

/** One row: `run` does `operations` operations. */
export interface Row {
  readonly name: string;
  readonly operations: number;
  /** Name of a row that states how fast the same job can be. A row without one is a limit itself. */
  readonly limit?: string;
  readonly run: () => unknown | Promise<unknown>;
  /** Something else worth saying, asked for after the run. */
  readonly note?: () => string | Promise<string>;
}

/** What was measured. Operations per second, in millions. */
export interface Measured {
  readonly group: string;
  readonly name: string;
  readonly cpu: number;
  readonly wall: number;
  readonly limit?: string;
  /** `cpu` over the limit's. */
  readonly ratio?: number;
  readonly note?: string;
}

/** CPU time of this process, all its threads, in milliseconds. */
function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Measures the rows of a group, the limits among them too. */
export async function measure(group: string, rows: readonly Row[], time: number): Promise<Measured[]> {
  const results: Measured[] = [];
  for (const { name, operations, limit, run, note } of rows) {
    const bench = new Bench({
      now: cpuMilliseconds,
      time,
      warmupTime: time / 4,
      iterations: 5,
      throws: true,
    });
    let calls = 0;
    bench.add(name, async () => {
      calls++;
      await run();
    });
    const start = performance.now();
    await bench.run();
    const wall = (calls * operations) / (performance.now() - start) / 1000;
    const latency = bench.tasks[0]?.result;
    if (latency === undefined || !("latency" in latency)) throw new Error(`${name}: no result`);
    // Milliseconds an iteration; the median, since a collection of garbage falls into few of them.
    const cpu = operations / latency.latency.p50 / 1000;
    const against = limit === undefined ? undefined : results.find((row) => row.name === limit);
    if (limit !== undefined && against === undefined)
      throw new Error(`${name}: no limit "${limit}" above it`);
    results.push({
      group,
      name,
      cpu,
      wall,
      ...(limit === undefined || against === undefined ? {} : { limit, ratio: cpu / against.cpu }),
      ...(note === undefined ? {} : { note: await note() }),
    });
  }
  return results;
}

/** A table for people. */
export function print(rows: readonly Measured[]): void {
  let group = "";
  for (const row of rows) {
    if (row.group !== group) {
      group = row.group;
      console.log(`\n${group.padEnd(52)} ${"M/s CPU".padStart(9)} ${"M/s wall".padStart(9)}  of its limit`);
    }
    const ratio = row.ratio === undefined ? "(limit)" : `${row.ratio.toFixed(3)}  of ${row.limit}`;
    const note = row.note === undefined ? "" : `; ${row.note}`;
    console.log(
      `${row.name.padEnd(52)} ${row.cpu.toFixed(3).padStart(9)} ${row.wall.toFixed(3).padStart(9)}  ${ratio}${note}`,
    );
  }
}
