/**
 * Runs rows with tinybench on the CPU clock.
 *
 * - The clock is the process's CPU time, all threads: collections of garbage and workers are paid for.
 * - It counts whole microseconds, and an awaited call costs a little by itself: so a sample is as many calls of a row
 *   as take 20 ms, which also makes each sample hold its share of garbage.
 * - The machine may be shared, and its speed drifts: a row's limits are measured again right before and after it.
 */
import { Bench } from "tinybench";
import type { Against, Figure, Group, Measured, Ratio, Ready, Row } from "./row.js";

/** Milliseconds of CPU time that a sample takes at least. */
const SAMPLE = 20;

/** How long to measure. */
export interface Patience {
  /** Milliseconds of CPU time a row. */
  readonly time: number;
  /** Samples a row, at least. */
  readonly samples: number;
}

/** CPU time of this process, all its threads, in milliseconds. */
export function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

interface Speed {
  /** Millions of operations per second. */
  readonly cpu: number;
  readonly wall: number;
  readonly samples: number;
  readonly spread: number;
}

/** A row that was prepared, and how many calls make a sample. */
class Runner {
  readonly row: Row;
  readonly ready: Ready;
  #calls = 1;
  #calibrated = false;
  #wall = 0;

  constructor(row: Row, ready: Ready) {
    this.row = row;
    this.ready = ready;
  }

  /** One sample: milliseconds of CPU time. */
  async #sample(): Promise<number> {
    const { run, check, expected } = this.ready;
    let checksum = Number.NaN;
    let own: { cpu: number; wall: number } | undefined;
    const wall = performance.now();
    const cpu = cpuMilliseconds();
    for (let i = 0; i < this.#calls; i++) {
      let outcome = run();
      if (typeof outcome === "object") outcome = await outcome;
      if (typeof outcome === "object") {
        own = { cpu: (own?.cpu ?? 0) + outcome.cpu, wall: (own?.wall ?? 0) + outcome.wall };
        checksum = outcome.checksum;
      } else {
        checksum = outcome;
      }
    }
    const took = cpuMilliseconds() - cpu;
    this.#wall += own?.wall ?? performance.now() - wall;
    if (check !== undefined) checksum = check();
    if (Number.isNaN(checksum) || (expected !== undefined && checksum !== expected))
      throw new Error(`${this.row.name}: gives ${checksum}, must be ${expected ?? "a number"}`);
    return own?.cpu ?? took;
  }

  async #calibrate(): Promise<void> {
    this.#calibrated = true;
    // Three times: code gets faster while it warms up.
    for (let i = 0; i < 3; i++) {
      const took = await this.#sample();
      if (took >= SAMPLE) return;
      this.#calls = Math.ceil((this.#calls * SAMPLE * 1.2) / Math.max(took, 0.01));
    }
  }

  /** The median of what `run` gives, where that is the figure. */
  async measureFigure(figure: Figure): Promise<Pick<Measured, "figure" | "samples" | "spread">> {
    const bench = new Bench({ time: 0, iterations: this.row.samples ?? 3, warmup: false, throws: true });
    bench.add(this.row.name, async () => ({ overriddenDuration: (await this.ready.run()) as number }));
    await bench.run();
    const { p50: value, mad, samplesCount: samples } = latencyOf(bench);
    const bound = figure.most === undefined ? {} : { met: value <= figure.most };
    return { figure: { ...figure, value, ...bound }, samples, spread: value === 0 ? 0 : mad / value };
  }

  async measure(patience: Patience): Promise<Speed> {
    globalThis.gc?.();
    const fixed = this.row.samples;
    if (fixed === undefined && !this.#calibrated) await this.#calibrate();
    const { time, samples } = fixed === undefined ? patience : { time: 0, samples: fixed };
    const bench = new Bench({
      warmup: fixed === undefined,
      time,
      iterations: samples,
      warmupTime: time / 5,
      warmupIterations: 1,
      throws: true,
    });
    bench.add(this.row.name, async () => ({ overriddenDuration: await this.#sample() }), {
      beforeAll: () => {
        this.#wall = 0;
      },
    });
    await bench.run();
    const { p50, mad, samplesCount } = latencyOf(bench);
    const operations = (this.#calls * (this.ready.operations ?? this.row.operations ?? 1)) / 1000;
    return {
      cpu: operations / p50,
      wall: (operations * samplesCount) / this.#wall,
      samples: samplesCount,
      spread: mad / p50,
    };
  }
}

function latencyOf(bench: Bench) {
  const result = bench.tasks[0]?.result;
  if (result === undefined || !("latency" in result)) throw new Error(`${bench.tasks[0]?.name}: no result`);
  return result.latency;
}

/** Limits are measured this much shorter, but twice. */
const BESIDE = 1 / 4;

/** Is told of each row once. */
export interface Listener {
  readonly measured: (measured: Measured) => void;
  /** It can't be measured here. */
  readonly skipped: (row: Row) => void;
  /** It threw, or gave something wrong; the others go on. */
  readonly failed: (row: Row, error: unknown) => void;
}

/** Measures the rows of a group that `wanted` picks, with the limits that they need. */
export async function measureGroup(
  group: Group,
  wanted: (row: Row) => boolean,
  hasCompiler: boolean,
  patience: Patience,
  listener: Listener,
): Promise<void> {
  const runners = new Map<string, Runner | undefined>();
  const prepare = async (row: Row): Promise<Runner | undefined> => {
    const ready = row.needsCompiler === true && !hasCompiler ? undefined : await row.prepare();
    return ready === undefined ? undefined : new Runner(row, ready);
  };
  // Limits stay ready all the time; a row is let go once it was measured.
  const limitNamed = async (name: string): Promise<Runner | undefined> => {
    if (runners.has(name)) return runners.get(name);
    const row = group.rows.find((each) => each.name === name);
    if (row === undefined) throw new Error(`${group.name}: no row "${name}" to be a limit`);
    const runner = await prepare(row);
    runners.set(name, runner);
    return runner;
  };
  const measureRow = async (row: Row): Promise<Measured | undefined> => {
    const runner = row.isLimit === true ? await limitNamed(row.name) : await prepare(row);
    if (runner === undefined) return undefined;
    try {
      const about = { group: group.name, name: row.name, isLimit: row.isLimit === true };
      const noted = async () => {
        const note = await runner.ready.note?.();
        return note === undefined ? {} : { note };
      };
      if (row.figure !== undefined) {
        const figure = await runner.measureFigure(row.figure);
        return { ...about, ...figure, against: [], ...(await noted()) };
      }
      const limits: { against: Against; runner: Runner }[] = [];
      for (const against of row.against ?? []) {
        const limit = await limitNamed(against.limit);
        if (limit !== undefined) limits.push({ against, runner: limit });
      }
      const before: Speed[] = [];
      for (const limit of limits) before.push(await limit.runner.measure(beside));
      const speed = await runner.measure(patience);
      const ratios: Ratio[] = [];
      for (const [i, limit] of limits.entries()) {
        const after = await limit.runner.measure(beside);
        ratios.push(ratioOf(speed, limit.against, [before[i] as Speed, after]));
      }
      return { ...about, ...speed, against: ratios, ...(await noted()) };
    } finally {
      if (row.isLimit !== true) await runner.ready.close?.();
    }
  };
  const beside = { time: patience.time * BESIDE, samples: patience.samples };
  try {
    for (const row of group.rows.filter(wanted)) {
      try {
        const measured = await measureRow(row);
        if (measured === undefined) listener.skipped(row);
        else listener.measured(measured);
      } catch (error) {
        listener.failed(row, error);
      }
    }
  } finally {
    for (const runner of runners.values()) await runner?.ready.close?.();
    await group.close?.();
  }
}

function ratioOf(speed: Speed, against: Against, limits: readonly Speed[]): Ratio {
  const limitCpu = limits.reduce((sum, limit) => sum + limit.cpu, 0) / limits.length;
  const ratio = speed.cpu / limitCpu;
  const goals = (against.goals ?? []).map((goal) => ({ ...goal, met: ratio >= goal.ratio }));
  return { limit: against.limit, limitCpu, ratio, goals };
}
