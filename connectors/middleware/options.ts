/** What every connector's target takes beside the connector's own options: layers around its source. */
import type { RawRange } from "../../src/formats/index.js";
import { hex, type Source } from "../../src/io/index.js";
import type { Connector, KindedSource, OptionKind, OptionValues } from "../connector.js";
import { ConnectorError, cleanUpAfter } from "../errors.js";
import { readMemoryMap } from "../memory-map.js";
import { withDelay } from "./delay.js";
import { withMetrics } from "./metrics.js";
import { withReadOnly } from "./read-only.js";
import { withMap } from "./remap.js";

/** Options of every connector, by name. Where a connector has one of that name itself, it is the connector's. */
export const MIDDLEWARE_OPTIONS: Readonly<Record<string, OptionKind>> = {
  cache: "size",
  age: "duration",
  map: "string",
  readonly: "boolean",
  delay: "duration",
  metrics: "boolean",
  record: "string",
  replay: "string",
};

/** A source within its layers. */
export interface OpenedSource {
  readonly source: Source;
  /** What its addresses are. */
  readonly kind: Connector["kind"];
  /** What is for the layers above: `OpenOptions.cacheBytes` and `OpenOptions.maxAge`. */
  readonly cache: { readonly cacheBytes?: number; readonly maxAge?: number };
}

/**
 * Opens a target, or the recording in its place, and puts its layers around it, each over those before: `map`, `readonly`, `delay`,
 * `metrics`, `record`; `cache` and `age` are above all of them.
 *
 * @param text As it was given, for messages.
 * @throws {ConnectorError}
 */
export async function openLayered(
  text: string,
  connector: Connector,
  target: string,
  values: OptionValues,
): Promise<OpenedSource> {
  const own = connector.options ?? {};
  const isLayer = (name: string) => Object.hasOwn(MIDDLEWARE_OPTIONS, name) && !Object.hasOwn(own, name);
  const pick = (wanted: boolean): OptionValues =>
    Object.fromEntries(Object.entries(values).filter(([name]) => isLayer(name) === wanted));
  const layers = pick(true);
  const { map, record, replay, cache, age } = layers;
  const writes = values.write === true;
  const refuse = (problem: string) => new ConnectorError("BAD_OPTION", text, problem);
  if (writes && layers.readonly === true) throw refuse("write and readonly exclude each other");
  if (writes && replay !== undefined) throw refuse("a recording can't be written: leave out write");
  if (record !== undefined && replay !== undefined) throw refuse("record and replay exclude each other");
  // Before anything is opened: nobody would close it.
  const ranges = typeof map === "string" ? readMemoryMap(map) : undefined;
  let source =
    typeof replay === "string"
      ? (await import("./replay.js")).openRecording(replay)
      : await connector.open(target, pick(false));
  try {
    const kind = ranges === undefined ? kindOf(source, connector) : "physical";
    if (kind === "virtual" && (cache !== undefined || age !== undefined)) {
      const name = cache === undefined ? "age" : "cache";
      throw refuse(`${name} is for physical memory, and this has virtual addresses: nothing of it is kept`);
    }
    if (ranges !== undefined && replay === undefined) checkMap(text, source, ranges);
    source = await wrapped(source, kind, layers, ranges);
    return {
      source,
      kind,
      cache: {
        ...(typeof cache === "number" ? { cacheBytes: cache } : {}),
        ...(typeof age === "number" ? { maxAge: age } : {}),
      },
    };
  } catch (error) {
    throw await cleanUpAfter(error, () => source.close?.());
  }
}

/** A part of a map may come into being later, so it is none only where nothing of it is there. @throws {ConnectorError} `NOT_MAPPED` */
function checkMap(text: string, source: Source, map: readonly RawRange[]): void {
  const there = source.ranges();
  const isThere = ({ start, end, offset }: RawRange) =>
    (there.starts[there.indexAfter(offset)] ?? Number.POSITIVE_INFINITY) < offset + (end - start);
  const [first] = map;
  // (What has nothing at all says itself why.)
  if (first === undefined || there.length === 0 || map.some(isThere)) return;
  throw new ConnectorError(
    "NOT_MAPPED",
    text,
    `map: ${hex(first.start)} would be at ${hex(first.offset)}, which is not mapped there${map.length > 1 ? `, nor is any other of its ${map.length} ranges` : ""}`,
  );
}

function kindOf(source: Source, connector: Connector): Connector["kind"] {
  return (source as Partial<KindedSource>).kind ?? connector.kind;
}

async function wrapped(
  plain: Source,
  kind: Connector["kind"],
  { readonly, delay, metrics, record }: OptionValues,
  ranges: readonly RawRange[] | undefined,
): Promise<Source> {
  let source = plain;
  if (ranges !== undefined) source = withMap(source, ranges);
  if (readonly === true) source = withReadOnly(source);
  if (typeof delay === "number" && delay > 0) source = withDelay(source, delay);
  if (metrics === true) source = withMetrics(source);
  if (typeof record === "string") source = (await import("./record.js")).withRecording(source, record, kind);
  return source;
}
