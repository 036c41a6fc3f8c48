/** The conformance suite itself: an honest source passes every rule, and for each rule there is one that it catches. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  type Batch,
  fault,
  MemtoolError,
  type Source,
  withDetail,
} from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { memorySource, SOURCE_RULES, type SourceSubject, sourceSuite, trySourceRule } from "./index.js";

const GONE = fault("gone", "device", "connector");
const OUTSIDE = fault("outside", "address", "connector");
const IO = fault("io", "memory", "connector");
const BASE = 0x5_0000_0f00;
const BAD = [
  { start: 5000, end: 5100, state: "io" },
  { start: 9000, end: 9040, state: "outside" },
] as const;

type Mode = "sync" | "async" | "both";

/** What a source of the tests is made of; a broken one has other parts. */
interface Parts {
  readonly mode?: Mode;
  readonly live?: boolean;
  readonly write?: boolean;
  /** What the subject says; default `write`. */
  readonly writable?: boolean;
  readonly name?: string;
  readonly ranges?: (bytes: Uint8Array) => AddressRanges;
  /** Instead of what serves a batch. */
  readonly serve?: (batch: Batch, honest: (batch: Batch) => void, state: State) => void;
  /** What comes before and after an asynchronous batch. */
  readonly before?: (batch: Batch, state: State) => void | Promise<void>;
  readonly after?: (batch: Batch) => Promise<void>;
  readonly close?: () => Promise<void>;
}

interface State {
  bytes: Uint8Array;
  gone: boolean;
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function subjectOf(parts: Parts, patience?: number): SourceSubject {
  const { mode = "both", live = true, write = true } = parts;
  const state: State = { bytes: pattern(9000, 3), gone: false };
  const under = memorySource(state.bytes, { base: BASE, live, broken: [{ start: 5000, end: 5100 }] });
  const honest = (batch: Batch) => {
    for (let row = 0; row < batch.length && state.gone; row++) batch.fail(row, GONE);
    if (state.gone) return;
    under.transferSync?.(batch);
    const end = BASE + state.bytes.length;
    for (let row = 0; row < batch.length; row++) {
      const at = batch.address(row);
      // The array's source calls everything "broken": what lies behind its end is outside here.
      if (at >= end) batch.fail(row, OUTSIDE);
      else if (at + (batch.lengths[row] as number) > end) relabel(batch, row, end - at);
    }
  };
  const serve = (batch: Batch) => (parts.serve ?? ((b: Batch, ok) => ok(b)))(batch, honest, state);
  const transfer = async (batch: Batch) => {
    await (parts.before ?? turn)(batch, state);
    serve(batch);
    await parts.after?.(batch);
  };
  const source: Source = {
    name: parts.name ?? "trial",
    supports: { write, live },
    ranges: () =>
      parts.ranges?.(state.bytes) ?? AddressRanges.single(BASE, BASE + (state.gone ? 0 : state.bytes.length)),
    ...(mode === "async" ? {} : { transferSync: serve }),
    ...(mode === "sync" ? {} : { transfer }),
    ...(parts.close === undefined ? {} : { close: parts.close }),
  };
  return {
    source,
    base: BASE,
    truth: () => state.bytes,
    bad: BAD,
    writable: parts.writable ?? write,
    vanish: () => {
      state.gone = true;
    },
    ...(patience === undefined ? {} : { patience }),
  };
}

function relabel(batch: Batch, row: number, from: number): void {
  const faults = batch.faults.filter((entry) => entry.row !== row || entry.start < from);
  batch.faults.length = 0;
  batch.faults.push(...faults);
  batch.failRange(row, from, batch.lengths[row] as number, OUTSIDE);
}

/** Honest, but what fails is told in pieces, each with a detail of its own. */
function inPieces(batch: Batch, honest: (batch: Batch) => void): void {
  honest(batch);
  batch.faults = batch.faults.flatMap((entry) => {
    const middle = entry.start + Math.ceil((entry.end - entry.start) / 2);
    return [
      { ...entry, end: middle, fault: withDetail(entry.fault, 1) },
      { ...entry, start: middle, fault: withDetail(entry.fault, 2) },
    ].filter(({ start, end }) => start < end);
  });
}

for (const mode of ["sync", "async", "both"] as const) {
  for (const live of [true, false]) {
    sourceSuite(`memory, ${mode}, ${live ? "live" : "still"}, written to`, () => subjectOf({ mode, live }));
  }
  sourceSuite(`memory, ${mode}, only read, that says another detail of each page that fails`, () =>
    subjectOf({ mode, write: false, serve: inPieces }),
  );
}
sourceSuite("a source of 64 bytes at a virtual address", () => {
  const bytes = pattern(64, 3);
  return { source: memorySource(bytes), base: 0n, truth: () => bytes, writable: true };
});

/** Ways to be wrong, by the rule that must notice. Each is honest in all other things. */
const BROKEN: Readonly<Record<string, Readonly<Record<string, Parts>>>> = {
  "says what it is": {
    "has no name": { name: "" },
    "claims to write": { write: true, writable: false },
    "forgets a range": { ranges: (bytes) => AddressRanges.single(BASE + 1, BASE + bytes.length) },
    "says nothing of what it holds": { ranges: () => AddressRanges.none },
  },
  "reads every size at every edge": {
    "drops the last byte of a row": {
      serve: (batch, honest) => {
        const last = batch.bytes(0).slice(-1);
        honest(batch);
        batch.bytes(0).set(last, batch.bytes(0).length - 1);
      },
    },
    "gives zeros for what can't be read": {
      serve: (batch, honest) => {
        honest(batch);
        batch.faults.length = 0;
        for (let row = 0; row < batch.length; row++) {
          if (batch.status[row] !== 0) batch.status[row] = 0;
        }
      },
    },
    "fails whole rows for a bad byte": {
      serve: (batch, honest) => {
        honest(batch);
        for (let row = 0; row < batch.length; row++) if (batch.status[row] !== 0) batch.fail(row, IO);
      },
    },
    "calls everything outside": {
      serve: (batch, honest) => {
        honest(batch);
        batch.faults = batch.faults.map((entry) => ({ ...entry, fault: OUTSIDE }));
      },
    },
    "never answers": { mode: "async", before: () => new Promise(() => {}) },
  },
  "gives synchronously what it gives asynchronously": {
    "is off by one when asked asynchronously": {
      after: async (batch) => {
        batch.bytes(0)[0] = (batch.bytes(0)[0] as number) + 1;
      },
    },
  },
  "answers every row of a batch": {
    "leaves the last row without an answer": {
      serve: (batch, honest) => {
        honest(batch);
        batch.status[batch.length - 1] = -1;
      },
    },
    "writes a byte behind a row": {
      serve: (batch, honest) => {
        honest(batch);
        const end = (batch.offsets[0] as number) + (batch.lengths[0] as number);
        (batch.memory[0] as Uint8Array)[end] = 0;
      },
    },
    "writes a byte before a row": {
      serve: (batch, honest) => {
        honest(batch);
        (batch.memory[0] as Uint8Array)[(batch.offsets[0] as number) - 1] = 0;
      },
    },
    "moves its rows' columns on": {
      serve: (batch, honest) => {
        honest(batch);
        batch.addresses[0] = (batch.addresses[0] as bigint) + 1n;
      },
    },
    "sets a status that is none": {
      serve: (batch, honest) => {
        honest(batch);
        batch.status[0] = -7;
      },
    },
  },
  "lets a bad row cost only itself": {
    "stops at the first bad row": {
      serve: (batch, honest) => {
        honest(batch);
        let first = batch.length;
        for (let row = batch.length - 1; row >= 0; row--) if (batch.status[row] !== 0) first = row;
        for (let row = first + 1; row < batch.length; row++) batch.fail(row, IO);
      },
    },
    "throws for a bad row": {
      serve: (batch, honest) => {
        honest(batch);
        if (batch.status.subarray(0, batch.length).every((status) => status === 0)) return;
        batch.status.fill(-1);
        throw new MemtoolError("BAD", "a bad row");
      },
    },
  },
  "takes thousands of rows at once": {
    "takes a thousand rows": {
      serve: (batch, honest) => {
        honest(batch);
        for (let row = 1000; row < batch.length; row++) batch.fail(row, IO);
      },
    },
  },
  "gives results in the order in which they were asked for": {
    "swaps the bytes of two rows": {
      serve: (batch, honest) => {
        honest(batch);
        const [a, b] = [batch.bytes(0), batch.bytes(batch.length - 1)];
        const kept = a.slice(0, 1);
        a.set(b.subarray(0, 1));
        b.set(kept);
      },
    },
  },
  "leaves memory alone once its rows are answered": {
    "still writes when it has answered": {
      serve: (batch, honest) => {
        honest(batch);
        const bytes = batch.bytes(0);
        setTimeout(() => bytes.fill(1), 5);
      },
    },
  },
  "lets go of memory whose rows a synchronous call took over": {
    "keeps what it was given before it waited": {
      before: async (batch) => {
        const bytes = batch.bytes(0);
        await turn();
        bytes.fill(1);
      },
    },
  },
  "refuses what lies outside its ranges": {
    "gives zeros there": {
      serve: (batch, honest) => {
        honest(batch);
        for (let row = 0; row < batch.length; row++) {
          if (batch.address(row) >= 2 ** 50) batch.status[row] = 0;
        }
      },
    },
    "takes the low half of an address for the whole": {
      serve: (batch, honest) => {
        for (let row = 0; row < batch.length; row++) {
          if ((batch.words[2 * row + 1] as number) > 2 ** 16) batch.words[2 * row + 1] = 5;
        }
        honest(batch);
      },
    },
  },
  "lands writes of every size whole": {
    "drops the last byte of a write": {
      serve: (batch, honest, { bytes }) => {
        const last = batch.address(batch.length - 1) + (batch.lengths[batch.length - 1] as number) - 1 - BASE;
        const kept = bytes[last] as number;
        honest(batch);
        if (batch.direction === "write") bytes[last] = kept;
      },
    },
    "writes a whole page back": {
      serve: (batch, honest, { bytes }) => {
        honest(batch);
        if (batch.direction === "write") bytes[bytes.length - 2] = (bytes[bytes.length - 2] as number) ^ 1;
      },
    },
    "says done and does nothing": {
      serve: (batch, honest) => {
        if (batch.direction === "read") honest(batch);
        else for (let row = 0; row < batch.length; row++) batch.done(row);
      },
    },
    "uses the caller's bytes as its own": {
      serve: (batch, honest) => {
        honest(batch);
        if (batch.direction === "write") batch.bytes(0).fill(0);
      },
    },
  },
  "lets a write that can't land cost only itself": {
    "says done for what did not land": {
      serve: (batch, honest) => {
        honest(batch);
        if (batch.direction === "read") return;
        batch.faults.length = 0;
        for (let row = 0; row < batch.length; row++) batch.status[row] = 0;
      },
    },
  },
  "serves reads and writes in flight together": {
    "loses every other write": {
      serve: (batch, honest, { bytes }) => {
        const before = bytes.slice();
        honest(batch);
        if (batch.direction === "write") bytes.set(before);
      },
    },
  },
  "refuses writes where it does not take them": {
    "takes writes all the same": { write: true, writable: false },
  },
  "serves many callers at once": {
    "has one place for all callers": {
      mode: "async",
      before: (() => {
        let last: Batch | undefined;
        return async (batch: Batch) => {
          last = batch;
          await turn();
          for (let i = 0; i < 2 * Math.min(batch.length, last.length); i++) {
            batch.words[i] = last.words[i] as number;
          }
        };
      })(),
    },
  },
  "an abort ends its own operation only": {
    "writes into memory that it gave back": {
      mode: "async",
      serve: (batch, honest) => {
        honest(batch);
        for (let row = 0; row < batch.length; row++) {
          const bytes = batch.bytes(row);
          setTimeout(() => bytes.fill(3), 5);
        }
      },
    },
    "fails all for one": {
      before: async (batch) => {
        await turn();
        if (batch.length > 1) throw new MemtoolError("ABORTED", "given up");
      },
    },
  },
  "settles what is in flight when it is closed": {
    "never ends its close": { close: () => new Promise(() => {}) },
    "fails its close": { close: () => Promise.reject(new Error("stuck")) },
    "leaves what is in flight": { mode: "async", before: () => new Promise(() => {}) },
  },
  "counts what it is asked for": {
    "gives merged rows the bytes of the first": {
      serve: (batch, honest) => {
        honest(batch);
        const bytes = batch.bytes(0);
        if (bytes.length > 16) bytes.copyWithin(16, 0, 16);
      },
    },
  },
  "fails everything as gone once its target has vanished": {
    "still has what went": {
      serve: (batch, honest, state) => {
        state.gone = false;
        honest(batch);
      },
    },
    "calls it io": {
      serve: (batch, honest, state) => {
        if (!state.gone) return honest(batch);
        for (let row = 0; row < batch.length; row++) batch.fail(row, IO);
      },
    },
    "waits for it": {
      mode: "async",
      before: (_batch, { gone }) => (gone ? new Promise(() => {}) : turn()),
    },
    "gives zeros": {
      serve: (batch, honest, state) => {
        if (!state.gone) return honest(batch);
        for (let row = 0; row < batch.length; row++) batch.done(row);
      },
    },
  },
  "keeps what was read when its target vanishes meanwhile": {
    "waits for what was under way": {
      mode: "async",
      before: async (_batch, state) => {
        await turn();
        await turn();
        if (state.gone) await new Promise(() => {});
      },
    },
    "says done for what did not come": {
      mode: "async",
      serve: (batch, honest, state) => {
        if (!state.gone) return honest(batch);
        for (let row = 0; row < batch.length; row++) batch.done(row);
      },
    },
  },
};

for (const rule of SOURCE_RULES) {
  describe(`the rule "${rule.name}"`, () => {
    const key = Object.keys(BROKEN).find((start) => rule.name.startsWith(start));
    const broken = Object.entries((key === undefined ? undefined : BROKEN[key]) ?? {});
    it("is one that some source of this test breaks", () => {
      expect(broken.length).toBeGreaterThan(0);
    });
    for (const [how, parts] of broken) {
      it(`catches a source that ${how}`, async () => {
        const failed = await trySourceRule(rule, () => subjectOf(parts, 60)).then(
          (lacking) => `it passed${lacking === undefined ? "" : `, for it lacks ${lacking}`}`,
          () => "caught",
        );
        expect(failed).toBe("caught");
      });
    }
  });
}
