/** `memtool search`: prints hits with their owners, batch by batch. */
import { search, searchMachine } from "../../connectors/search-machine.js";
import { hex } from "../../src/io/index.js";
import type { SearchHit } from "../../src/search/index.js";
import { EXIT, statusOf } from "../errors.js";
import { DamageSummary } from "../linux/listing.js";
import { escapeText, toJson } from "../render/escape.js";
import { HexDump } from "../render/hexdump.js";
import type { Session } from "../session.js";
import { Holes } from "./holes.js";
import { type HitOwner, HitOwners } from "./owners.js";
import { type SearchCommandOptions, type SearchWanted, searchWanted } from "./patterns.js";
import { type Place, placesOf } from "./places.js";
import { Stopping } from "./stopping.js";

/** Hits whose owners are asked for together: each time takes a second, and a pass over all page tables. */
const BATCH = 16_384;

interface Hit {
  readonly address: bigint;
  readonly length: number;
  readonly pattern: string;
}

/** @returns the exit status. */
export async function searchCommand(session: Session, options: SearchCommandOptions): Promise<number> {
  const wanted = searchWanted(options);
  const damage = new DamageSummary();
  const owners = new HitOwners(session, options.owners !== false, damage.add);
  const printer = new HitPrinter(session, wanted);
  const holes = new Holes();
  const stopping = new Stopping(session);
  const patterns = [];
  for (const { make } of wanted.patterns)
    patterns.push(await make((expression) => session.resolve(expression)));
  let left = wanted.limit;
  let found = 0;
  for await (const place of placesOf(session, options, damage.add)) {
    const onProgress = (at: bigint) => {
      if (place.end > 0) session.progress("searching", at, place.end);
    };
    let batch: Hit[] = [];
    const show = async () => {
      if (batch.length === 0) return;
      const list = await owners.of(
        place,
        batch.map(({ address }) => address),
      );
      session.clearProgress();
      for (const [i, hit] of batch.entries()) await printer.print(place, hit, list[i] ?? []);
      batch = [];
    };
    const { ranges } = place;
    const searched = { ranges, onHole: holes.add, onProgress };
    const hits =
      place.space === session.machine.physical
        ? searchMachine(session.machine, patterns, searched)
        : search(place.space, patterns, searched);
    for await (const { address, length, pattern } of stopping.over<SearchHit>(hits)) {
      batch.push({ address: BigInt(address), length, pattern: wanted.patterns[pattern]?.name ?? "" });
      found++;
      left--;
      if (left === 0) break;
      if (batch.length === BATCH) await show();
    }
    await show();
    if (left === 0 || stopping.isStopped) break;
  }
  session.clearProgress();
  await session.out.flush();
  stopping.report();
  holes.report(session);
  damage.report(session);
  if (found === 0) {
    if (!stopping.isStopped) session.warn("nothing was found");
    return EXIT.failed;
  }
  return statusOf(true, stopping.isStopped || holes.isFailure || owners.failed || damage.count > 0);
}

/** Prints hits: an object for each owner, or a line for people. */
class HitPrinter {
  readonly #session: Session;
  readonly #wanted: SearchWanted;
  #printed = 0;

  constructor(session: Session, wanted: SearchWanted) {
    this.#session = session;
    this.#wanted = wanted;
  }

  async print(place: Place, hit: Hit, owners: readonly HitOwner[]): Promise<void> {
    const { out, options } = this.#session;
    for (const owner of owners) {
      if (options.json === true) out.text(jsonOf(hit, owner));
      else {
        if (this.#printed++ === 0)
          out.text(`${this.#line("PHYSICAL", "VIRTUAL", "PID", "PATTERN", "OWNER")}\n`);
        out.text(`${this.#lineOf(hit, owner)}\n`);
      }
    }
    if (options.json !== true && this.#wanted.context > 0) out.text(await this.#around(place, hit));
    await out.settle();
  }

  #lineOf({ pattern }: Hit, { physical, virtual, pid, kind, owner }: HitOwner): string {
    const who = [kind, owner].filter((each) => each !== null && each !== "").join("  ");
    return this.#line(
      physical === null ? "" : hex(physical),
      virtual === null ? "" : hex(virtual),
      pid === null ? "" : String(pid),
      pattern,
      who === "" ? "?" : who,
    );
  }

  /** The pattern is shown where there are several. */
  #line(physical: string, virtual: string, pid: string, pattern: string, owner: string): string {
    const names = this.#wanted.patterns.map(({ name }) => escapeText(name).length);
    const cells = [physical.padStart(14), virtual.padStart(18), pid.padStart(7)];
    if (names.length > 1) cells.push(escapeText(pattern).padEnd(Math.max(7, ...names)));
    return [...cells, escapeText(owner)].join("  ").trimEnd();
  }

  /** The bytes before and behind a hit. */
  async #around({ space }: Place, { address, length }: Hit): Promise<string> {
    const { context } = this.#wanted;
    const start = address > BigInt(context) ? (address - BigInt(context)) & ~15n : 0n;
    const size = Number(address - start) + length + context;
    const at = "map" in space ? Number(start) : start;
    const { bytes, holes } = await (space as { readPartial: Place["space"]["readPartial"] }).readPartial(
      at as never,
      size,
    );
    const dump = new HexDump(start, { squeeze: false });
    let text = "";
    let from = 0;
    for (const hole of [...holes, undefined]) {
      text += dump.data(bytes.subarray(from, hole?.start ?? bytes.length));
      if (hole === undefined) break;
      text += dump.hole(BigInt(hole.end - hole.start), hole.state);
      from = hole.end;
    }
    return `${text}${dump.end()}\n`;
  }
}

function jsonOf({ length, pattern }: Hit, { physical, virtual, pid, kind, owner }: HitOwner): string {
  const address = (value: bigint | null) => (value === null ? null : hex(value));
  return `${toJson({ physical: address(physical), virtual: address(virtual), pid, owner, kind, pattern, length })}\n`;
}
