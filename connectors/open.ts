/** Opens a target and puts the layers of its machine together, all on one scheduler. */
import {
  abiOf,
  type DumpImage,
  type OpenDumpOptions,
  openDump,
  type RawRange,
} from "../src/formats/index.js";
import { MemtoolError, Scheduler, SourceIo } from "../src/io/index.js";
import { PhysicalMap, PhysicalMemory } from "../src/memory/index.js";
import { type Connector, isMortal, type MachineSource } from "./connector.js";
import { DecodePool } from "./decode-pool.js";
import { ConnectorError, cleanUpAfter, TargetGoneError } from "./errors.js";
import type { FileSource } from "./file.js";
import { FilesBeside, fileOf } from "./files-beside.js";
import { openGuest } from "./guest.js";
import { type Layers, Machine } from "./machine.js";
import { isInline } from "./mapped-file.js";
import { readMemoryMap } from "./memory-map.js";
import { type OpenedSource, openLayered } from "./middleware/options.js";
import { nodeDecoders } from "./node-decoders.js";
import type { OpenOptions, OpenTarget } from "./open-options.js";
import { checkOptions, findConnector, hintingAtOptions, parseTarget, withWishes } from "./registry.js";
import { SwapFiles } from "./swap-files.js";
import { readSymbolsFile } from "./symbols-file.js";
import { readTypesFile } from "./types-file.js";

/**
 * Opens a dump or a live target.
 *
 * @example
 * const machine = await open("vmcore");
 * const linux = await machine.linux();
 * await machine.close();
 *
 * @throws {TargetGoneError} for a target that vanishes while its kernel is looked for.
 * @throws {MemtoolError} (a `ConnectorError`, a `FormatError`) for what can't be opened, with what to try.
 */
export async function open(target: OpenTarget, given: OpenOptions = {}): Promise<Machine> {
  // Before anything is opened: nobody would close it.
  const types = typeof given.types === "string" ? readTypesFile(given.types) : given.types;
  const symbols = given.symbols === undefined ? undefined : readSymbolsFile(given.symbols);
  const opened = await openSource(target, given);
  const { kind, source, parts, memoryMap } = opened;
  const options = { ...given, ...opened.cache };
  const scheduler = new Scheduler();
  const io = new SourceIo(source, scheduler, { endsWhenGone: isMortal(source) });
  const files = new FilesBeside(io);
  let machine: Machine | undefined;
  let swap: SwapFiles | undefined;
  try {
    if (options.swap !== undefined && options.swap.length > 0) {
      if (kind === "virtual") {
        throw new MemtoolError(
          "NO_PHYSICAL_MEMORY",
          `${io.name} has no page tables: swap areas are of no use`,
        );
      }
      swap = await SwapFiles.open(options.swap, scheduler);
    }
    const layers = await layersOf(io, kind, options, files, parts, memoryMap);
    machine = new Machine(
      io,
      kind,
      { ...(await openGuest(io.name, layers, options)), swap, types, symbols },
      options,
    );
    await machine.prepare();
    const { noKernel, isGone } = machine;
    if (isGone && noKernel !== undefined) throw noKernel;
    return machine;
  } catch (error) {
    const why = io.gone === 0 || !isMortal(source) ? error : new TargetGoneError(io.name, error);
    throw await cleanUpAfter(why, async () => {
      try {
        await files.close();
        await swap?.close();
      } finally {
        await (machine ?? io).close();
      }
    });
  }
}

/** A source, and what its target said besides. */
interface Opened extends OpenedSource {
  /** Paths of the other files of a dump that was split. */
  readonly parts: readonly string[];
  readonly memoryMap: readonly RawRange[] | undefined;
}

async function openSource(target: OpenTarget, options: OpenOptions): Promise<Opened> {
  // Before anything is opened: nobody would close it.
  const given = options.memoryMap;
  const memoryMap = typeof given === "string" ? readMemoryMap(given) : given;
  if (typeof target === "string" || !("connector" in target)) {
    const [path, ...parts] = typeof target === "string" ? [target] : target;
    if (path === undefined)
      throw new MemtoolError("NO_TARGET", "no file to open: the list of paths is empty");
    const connector = findConnector("file");
    if (options.freeze === true) throw new MemtoolError("NO_FREEZE", `${path}: a file has nothing to pause`);
    const source = await connector.open(path, { write: options.write, map: options.map });
    return { source, kind: connector.kind, cache: {}, parts, memoryMap };
  }
  const text = target.connector;
  const parsed = parseTarget(text);
  const connector = findConnector(parsed.name);
  const asked = withWishes(text, connector, parsed.options, {
    ...options,
    map: options.map === true,
  });
  const values = checkOptions(text, connector, asked);
  const ranges = connector.kind === "file" && typeof values.map === "string" ? values.map : undefined;
  if (memoryMap !== undefined && (connector.kind !== "file" || ranges !== undefined)) {
    throw new ConnectorError(
      "BAD_MEMORY_MAP",
      text,
      ranges === undefined
        ? "a memory map is for raw images in files, and this is none; the connector's option map=… maps it"
        : "a memory map is given twice, as an option of the connector and beside it",
    );
  }
  const ownMap = ranges === undefined ? memoryMap : readMemoryMap(ranges);
  // Ranges and a mapped file at once: what is asked for beside the connector still holds.
  const how = ranges === undefined ? values : { ...values, map: options.map };
  const opening = openLayered(text, connector, parsed.target, how);
  const opened = await hintingAtOptions(text, connector, opening);
  return { ...opened, parts: [], memoryMap: ownMap };
}

async function layersOf(
  io: SourceIo,
  kind: Connector["kind"],
  options: OpenOptions,
  files: FilesBeside,
  parts: readonly string[],
  memoryMap: readonly RawRange[] | undefined,
): Promise<Layers> {
  const { live } = io.source.supports;
  const cacheBytes = options.cacheBytes === undefined ? {} : { cacheBytes: options.cacheBytes };
  switch (kind) {
    case "virtual":
      return { image: undefined, physical: undefined };
    case "physical": {
      const notes = await (io.source as Partial<MachineSource>).notes?.();
      const ranges = [...io.ranges].map((range) => ({ ...range, state: "present" as const }));
      const map = PhysicalMap.from(ranges);
      return {
        image: undefined,
        notes,
        physical: new PhysicalMemory(io, {
          map,
          live,
          ...cacheBytes,
          name: io.name,
          ...(notes === undefined ? {} : abiOf(notes)),
        }),
      };
    }
    case "file": {
      const { source } = io;
      const holes = options.holes === true ? await (source as Partial<FileSource>).findHoles?.() : undefined;
      const file = { ...fileOf(io), zeroRanges: holes };
      const pool = new DecodePool();
      const decoders = { ...nodeDecoders, many: pool };
      let image: DumpImage;
      const how: OpenDumpOptions = { decoders, format: options.format, ...cacheBytes, memoryMap };
      try {
        image = await openDump(file, {
          ...how,
          parts: parts.map((path) => files.open(path)),
          beside: (name) => files.beside(name),
        });
      } catch (error) {
        await pool.close();
        throw error;
      }
      const { map, slab } = image;
      // A page of a mapped file, unless it must be decompressed, is as near as one in a cache: going without, 1,000
      // scattered values of 8 bytes took 0.5 µs each instead of 2.8, a few over and over no more than through a cache.
      const cached = isInline(source) && slab === undefined ? { cacheBytes: 0, ...cacheBytes } : cacheBytes;
      const physical = new PhysicalMemory(image.io, {
        map,
        live,
        ...cached,
        slab,
        name: file.name,
        ...abiOf(image.notes),
      });
      const findZeros = async () => {
        if (image.mapWithZeros !== undefined) return image.mapWithZeros();
        // Other formats store no page that is a hole, or have their own way of saying so.
        if (image.format !== "raw") return undefined;
        const zeroRanges = await (source as Partial<FileSource>).findHoles?.();
        if (zeroRanges === undefined) return undefined;
        const again = await openDump({ ...file, zeroRanges }, how);
        return again.mapWithZeros?.();
      };
      return { image, physical, pool, files, findZeros };
    }
  }
}
