/**
 * QEMU's migration streams: what `migrate "exec:cat > FILE"` and `migrate file:FILE` write, and libvirt's save files hold.
 *
 * Layout: QEMU's migration/savevm.c, migration/ram.c and docs/devel/migration; the parts are in `qemu-config.ts`,
 * `qemu-sections.ts`, `qemu-blocks.ts` and `qemu-ram-records.hot.ts`, where RAM is in `qemu-machine.ts`. All numbers are
 * big-endian.
 *
 * The stream has no index: opening it reads every page's header, and with 4 KiB from one to the next that is all of the
 * file, once, from front to back. A guest that ran meanwhile was sent in several rounds: the last copy of a page counts.
 */
import { defaultScheduler, hex, Io, type Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { FormatError, Warnings } from "../errors.js";
import { hasText } from "../fields.js";
import type { DumpFile, DumpImage, Format, FormatContext } from "../types.js";
import { type BlockList, logMapped, readBlocks } from "./qemu-blocks.js";
import { readConfig, type StreamConfig } from "./qemu-config.js";
import { type PlacedRam, placeRam } from "./qemu-machine.js";
import { SpecialPageReader } from "./qemu-ram-decoding.js";
import { mapOfRam, RamIo, type RamLayout } from "./qemu-ram-io.js";
import { RamLog } from "./qemu-ram-log.js";
import { RamRecords, RECORD_HEAD } from "./qemu-ram-records.hot.js";
import { type RamSections, readSections, type SectionEnd, type StreamEnd } from "./qemu-sections.js";
import { StreamWindow } from "./stream-window.js";

/** Bytes of pages that were decompressed or put together from deltas, to keep. */
const CACHE_BYTES = 32 * 2 ** 20;

/** RAM blocks that `info` names; a guest has a few dozen. */
const MAX_SHOWN = 64;

/** Migration streams. */
export const qemuStream: Format = {
  name: "qemu-stream",
  takesMap: true,
  detect: (head) => hasText(head, "QEVM"),
  open: openQemuStream,
};

export function* openQemuStream(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const warnings = new Warnings();
  const window = new StreamWindow(file);
  if ((yield* window.load(0, 4)) < 4 && window.problem !== undefined) {
    throw new FormatError("UNREADABLE_DUMP", { file: file.name, offset: 0, field: "magic" }, window.problem);
  }
  if (!hasText(window.bytes, "QEVM")) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: 0, field: "magic" },
      "no QEMU migration stream begins here: they begin with QEVM",
    );
  }
  const config = yield* readConfig(window);
  const stream = new Stream(window, config, warnings);
  const read = yield* readSections(window, config.end, stream);
  const problem = read.complete ? undefined : window.problem;
  const end = problem === undefined ? read : { ...read, cut: problem };
  if (!end.found) {
    throw new FormatError(
      problem !== undefined
        ? "UNREADABLE_DUMP"
        : end.cut?.includes("ends") === true
          ? "TRUNCATED_DUMP"
          : "MALFORMED_DUMP",
      { file: file.name, offset: end.position, field: "section ram" },
      `${end.cut ?? "there is no RAM in the stream"}; copy the stream again, or save the memory anew`,
    );
  }
  const { list, log } = stream;
  for (const block of list.mapped) {
    if (yield* logMapped(window, block, config.pageSize, log, end.last)) continue;
    warnings.add(
      `the file ends at ${hex(file.size)}, before all of the RAM block ${block.block.name} (mapped-ram): copy the stream again`,
    );
  }
  const ram = placeRam(config.machine, list.blocks, config.pageSize, context.memoryMap, warnings);
  const layout: RamLayout = {
    places: ram.places,
    pages: log.lay(),
    stride: log.stride,
    pageSize: config.pageSize,
    reason: end.complete || problem !== undefined ? "unknown" : "incomplete",
  };
  warn(end, stream, config, context, warnings);
  const map = mapOfRam(layout, false);
  if (end.complete && map.bytesExcluded > 0) {
    warnings.add(
      `${map.bytesExcluded} bytes of RAM are not in the stream: the guest had given them back (balloon), or they were ` +
        "sent through other channels (multifd)",
    );
  }
  const specials = new SpecialPageReader(
    file,
    log.specials,
    config.pageSize,
    context.decoders?.inflate,
    context.cacheBytes ?? CACHE_BYTES,
  );
  return image(file, stream, config, ram, layout, map, specials, end, warnings);
}

function image(
  file: DumpFile,
  { list, log }: Stream,
  config: StreamConfig,
  ram: PlacedRam,
  layout: RamLayout,
  map: PhysicalMap,
  specials: SpecialPageReader,
  end: StreamEnd,
  warnings: Warnings,
): DumpImage {
  const { machine, uuid } = config;
  return {
    format: "qemu-stream",
    description: `QEMU migration stream, ${machine ?? "of an old machine"}, ${log.sent} pages of ${config.pageSize} bytes`,
    io: new RamIo(file, layout, specials),
    map,
    mapWithZeros: () => Io.of(file.scheduler ?? defaultScheduler, zerosRoutine, layout),
    notes: { cpus: [], architecture: ram.architecture },
    warnings: warnings.list(),
    details: {
      ...(machine === undefined ? {} : { machine }),
      ...(uuid === undefined ? {} : { uuid }),
      pageSize: config.pageSize,
      pagesSent: log.sent,
      ramBlocks: firstOf(list.blocks.map(({ name, length }) => `${name} ${hex(length)}`)),
      mainRam: firstOf(ram.main.map(({ name }) => name)),
      mappedRam: list.mapped.length > 0,
      complete: end.complete,
    },
  };
}

/** A list for people: its first items, and how many more there are. */
function firstOf(items: readonly string[]): string {
  const shown = items.slice(0, MAX_SHOWN).join(", ");
  return items.length > MAX_SHOWN ? `${shown} and ${items.length - MAX_SHOWN} more` : shown;
}

// biome-ignore lint/correctness/useYield: there is nothing to wait for.
function* zerosRoutine(layout: RamLayout): Routine<PhysicalMap> {
  return mapOfRam(layout, true);
}

/** What the sections say of RAM, as they are read. */
class Stream implements RamSections {
  readonly #window: StreamWindow;
  readonly #config: StreamConfig;
  readonly #warnings: Warnings;
  readonly log: RamLog;
  list: BlockList = { blocks: [], mapped: [], end: 0, cut: false };
  records: RamRecords;

  constructor(window: StreamWindow, config: StreamConfig, warnings: Warnings) {
    this.#window = window;
    this.#config = config;
    this.#warnings = warnings;
    const { pageSize, capabilities } = config;
    // From a page to the next: its record's head between them, or nothing at fixed places.
    this.log = new RamLog(capabilities.has("mapped-ram") ? pageSize : pageSize + 8);
    this.records = new RamRecords(this.log, [], pageSize, window.file.size);
  }

  *begin(position: number): Routine<SectionEnd> {
    const { stride } = this.log;
    this.list = yield* readBlocks(this.#window, position, this.#config, stride, this.#warnings);
    const { blocks, end, cut } = this.list;
    if (cut) return { position: end, cut: "the stream ends in its list of RAM blocks" };
    this.records = new RamRecords(this.log, blocks, this.#config.pageSize, this.#window.file.size);
    return yield* this.pages(end);
  }

  *pages(position: number): Routine<SectionEnd> {
    const { records } = this;
    const window = this.#window;
    records.position = position;
    for (;;) {
      const before = records.position;
      const loaded = yield* window.load(before, RECORD_HEAD);
      const end = records.scan(window);
      if (end === "end") return { position: records.position };
      if (end === "bad") {
        return { position: records.position, cut: `the stream can't be read on: ${records.problem}` };
      }
      if (end === "full") {
        return { position: records.position, cut: "the stream has more single pages than memtool reads" };
      }
      if (records.position === before && loaded < RECORD_HEAD) {
        return { position: before, cut: "the stream ends in the middle of RAM" };
      }
      // A page whose head is there, and whose bytes the file has no room for.
      if (records.position === before) return { position: before, cut: "the stream ends in a page" };
    }
  }
}

/** Says what is not as in a plain stream. */
function warn(
  end: StreamEnd,
  { records }: Stream,
  { capabilities }: StreamConfig,
  { decoders }: FormatContext,
  warnings: Warnings,
): void {
  if (end.cut !== undefined) {
    warnings.add(
      `${end.cut}: pages that were not sent by then are missing, and of a guest that ran meanwhile others may be ` +
        "of an earlier moment; copy the stream again if it was cut",
    );
  }
  if (end.skipped.length > 0) {
    warnings.add(`skipped before the end of RAM: the sections ${end.skipped.join(", ")}`);
  }
  if (records.usesMultifd) {
    warnings.add(
      "pages were sent through other channels (multifd), which are not in this file: save the memory without multifd",
    );
  }
  if (capabilities.has("x-ignore-shared")) {
    warnings.add("memory that the guest shares with other processes is not in the stream (x-ignore-shared)");
  }
  if (records.usesCompression && decoders?.inflate === undefined) {
    warnings.add("pages are compressed with zlib, for which there is no decoder here: they can't be read");
  }
}
