/** What a benchmark is made of: groups of rows, each measured against limits. */

/** What one call of a row gives, when the time it took is not what this process's CPU clock says. */
export interface Timed {
  /** Milliseconds of CPU time (of another process, or with a virtual clock's added). */
  readonly cpu: number;
  /** Milliseconds. */
  readonly wall: number;
  readonly checksum: number;
}

/** A row that is ready to run. */
export interface Ready {
  /**
   * Does the row's operations once, and gives a number that depends on all of their results (or leaves the results
   * where `check` looks), so that nothing can be optimised away.
   */
  readonly run: () => number | Timed | Promise<number | Timed>;
  /** Adds up the results that the last call left; outside the time that is measured. Default: what `run` gave. */
  readonly check?: () => number;
  /** What that must be: the same job, done another way. */
  readonly expected?: number;
  readonly operations?: number;
  /** Something else worth saying, asked for after the run. */
  readonly note?: () => string | Promise<string>;
  readonly close?: () => unknown;
}

/** A ratio to be reached. */
export interface Goal {
  /** Who reached it, or who asks for it. */
  readonly name: string;
  readonly ratio: number;
}

/** A row's limit: another row of the group, measured again right before and right after it. */
export interface Against {
  /** Name of that row. */
  readonly limit: string;
  readonly goals?: readonly Goal[];
}

/** What a row measures that is not a speed: `run` gives the figure itself. */
export interface Figure {
  readonly unit: string;
  /** A bound to stay within. */
  readonly most?: number;
}

/** One line of the table. */
export interface Row {
  readonly name: string;
  /** Operations in one call of `run`; where only `prepare` can tell, it does. */
  readonly operations?: number;
  readonly figure?: Figure;
  /** Samples enough for a row that takes seconds or starts processes: no warm-up, and no more than these. */
  readonly samples?: number;
  /** What it is compared with. A row with `isLimit` is what others are compared with. */
  readonly against?: readonly Against[];
  readonly isLimit?: boolean;
  /** Left out where there is no C compiler (or the program can't do its work here, as `prepare` then says). */
  readonly needsCompiler?: boolean;
  /** Builds what the row runs on; called right before it is measured. `undefined`: can't be measured here. */
  readonly prepare: () => Ready | undefined | Promise<Ready | undefined>;
}

/** Rows about one thing. */
export interface Group {
  /** What `--group` takes. */
  readonly name: string;
  readonly title: string;
  /** Names are unique; limits may stand anywhere in it. */
  readonly rows: readonly Row[];
  /** Said after the table. */
  readonly summary?: (measured: readonly Measured[]) => string[];
  /** Releases what rows share. */
  readonly close?: () => unknown;
}

/** A ratio as it was measured. */
export interface Ratio {
  readonly limit: string;
  /** The limit's millions of operations per second of CPU time, right beside the row. */
  readonly limitCpu: number;
  /** `cpu` over `limitCpu`. */
  readonly ratio: number;
  readonly goals: readonly (Goal & { readonly met: boolean })[];
}

/** What was measured of a row; what `--json` writes. */
export interface Measured {
  readonly group: string;
  readonly name: string;
  readonly isLimit: boolean;
  /** Millions of operations per second of CPU time (all threads of the process): the median of the samples. */
  readonly cpu?: number;
  /** Millions of operations per second of wall time, over all samples. */
  readonly wall?: number;
  /** In place of both, where the row measures something else: the median, its unit, and its bound if it has one. */
  readonly figure?: Figure & { readonly value: number; readonly met?: boolean };
  readonly samples: number;
  /** Median distance of the samples from their median, as a part of it: how noisy the machine was. */
  readonly spread: number;
  readonly against: readonly Ratio[];
  readonly note?: string;
}
