/** The worker's side of `openInWorker`: opens a source from a module and serves batches in shared memory. */
import { parentPort, workerData } from "node:worker_threads";
import type { DumpNotes } from "../../src/formats/index.js";
import { AddressRanges, type Batch, fault, ROW_UNANSWERED, type Source } from "../../src/io/index.js";
import { answerShared, openShared, type SharedHeader, STATE_WORD } from "../../src/io/shared-batch.js";
import type {
  FreezableSource,
  KindedSource,
  MachineSource,
  MortalSource,
  StillSource,
} from "../connector.js";

/** What the worker is started with. @internal */
export interface WorkerStart {
  readonly module: string;
  readonly factory: string;
  readonly options: unknown;
}

/** What a source tells besides its bytes: of its machine, and of its addresses. @internal */
export type SourceFacts = Partial<
  Pick<KindedSource, "kind"> &
    Pick<MachineSource, "warnings" | "remarks"> &
    Pick<MortalSource, "isMortal"> &
    Pick<StillSource, "still">
> & {
  /** Or why they are not known. */
  readonly notes?: DumpNotes | { readonly problem: string; readonly code: string };
  /** Whether it can be paused. */
  readonly freezable?: boolean;
};

/** What it says once the source is open. @internal */
export type WorkerHello =
  | {
      readonly name: string;
      readonly supports: Source["supports"];
      readonly starts: Float64Array;
      readonly ends: Float64Array;
      readonly facts: SourceFacts;
    }
  | { readonly error: unknown; readonly code?: string };

/** A request: a batch to serve, a pause or its end, or the end of all. @internal */
export type WorkerRequest =
  | { readonly id: number; readonly header: SharedHeader }
  | { readonly id: number; readonly call: "freeze" | "thaw" }
  | { readonly close: true };

/** An answer to a request, for callers that did not park their thread. @internal */
export interface WorkerAnswer {
  readonly id: number;
  readonly error?: unknown;
  readonly ranges?: { readonly starts: Float64Array; readonly ends: Float64Array };
  /** Why nothing of it changes, from here on. */
  readonly still?: string | undefined;
}

const THREW = fault("io", "device", "connector");

async function serve(source: Facts, id: number, header: SharedHeader): Promise<WorkerAnswer> {
  const batch: Batch = openShared(header);
  let error: unknown;
  try {
    if (source.transfer === undefined) source.transferSync?.(batch);
    else await source.transfer(batch);
  } catch (thrown) {
    error = thrown;
    for (let row = 0; row < batch.length; row++) {
      if (batch.status[row] === ROW_UNANSWERED) batch.fail(row, THREW);
    }
  }
  answerShared(header, batch);
  Atomics.notify(new Int32Array(header.buffer), STATE_WORD);
  let ranges = AddressRanges.none;
  try {
    if (source.supports.live) ranges = source.ranges();
  } catch (thrown) {
    // Of a target that has gone: nothing is there any more.
    error ??= thrown;
  }
  const { starts, ends } = ranges;
  return {
    id,
    ...(error === undefined ? {} : { error: errorOf(error) }),
    ...(source.supports.live ? { ranges: { starts, ends } } : {}),
    still: source.still,
  };
}

type Facts = Source & Partial<MachineSource & KindedSource & MortalSource & StillSource & FreezableSource>;

async function factsOf(source: Facts): Promise<SourceFacts> {
  const { kind, warnings, remarks, isMortal, still } = source;
  const notes = await notesOf(source);
  return {
    ...(kind === undefined ? {} : { kind }),
    ...(warnings === undefined ? {} : { warnings }),
    ...(remarks === undefined ? {} : { remarks }),
    ...(isMortal === undefined ? {} : { isMortal }),
    ...(still === undefined ? {} : { still }),
    ...(notes === undefined ? {} : { notes }),
    freezable: source.freeze !== undefined && source.thaw !== undefined,
  };
}

/** (Its bytes may well be read without them.) */
async function notesOf(source: Facts): Promise<SourceFacts["notes"]> {
  try {
    return await source.notes?.();
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    return { problem: errorOf(error).message, code: typeof code === "string" ? code : "NO_NOTES" };
  }
}

function errorOf(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

async function call(source: Facts, id: number, name: "freeze" | "thaw"): Promise<WorkerAnswer> {
  try {
    await source[name]?.();
    return { id, still: source.still };
  } catch (error) {
    return { id, error: errorOf(error), still: source.still };
  }
}

async function main(): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error("source-worker runs in a worker thread");
  const { module, factory, options } = workerData as WorkerStart;
  let source: Source;
  try {
    const exported = ((await import(module)) as Record<string, unknown>)[factory];
    if (typeof exported !== "function") throw new TypeError(`${module} exports no function "${factory}"`);
    source = (await exported(options)) as Source;
    const { starts, ends } = source.ranges();
    const { name, supports } = source;
    const hello: WorkerHello = {
      name,
      supports: { ...supports },
      starts,
      ends,
      facts: await factsOf(source),
    };
    port.postMessage(hello);
  } catch (error) {
    // (An error that is copied loses it.)
    const { code } = error as { readonly code?: unknown };
    const hello: WorkerHello = {
      error: errorOf(error),
      ...(typeof code === "string" ? { code } : {}),
    };
    port.postMessage(hello);
    return;
  }
  port.on("message", async (request: WorkerRequest) => {
    if ("close" in request) {
      await source.close?.();
      port.close();
      return;
    }
    const { id } = request;
    port.postMessage(
      "call" in request ? await call(source, id, request.call) : await serve(source, id, request.header),
    );
  });
}

void main();
