/** `memtool search`: hits with their owners, as they come. */
import { search, searchMachine } from "../../connectors/search-machine.js";
import { hex } from "../../src/io/index.js";
import type { SearchHit } from "../../src/search/index.js";
import { escapeText } from "../render/escape.js";
import { HexDump } from "../render/hexdump.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";
import { Limit } from "./limit.js";
import { eachWithOwners, OWNER_COLUMNS, ownerText } from "./owned.js";
import { type HitOwner, HitOwners } from "./owners.js";
import { type SearchCommandOptions, type SearchWanted, searchWanted } from "./patterns.js";
import { barOf, type Place, placesOf } from "./places.js";
import { Unseen } from "./unseen.js";

interface Hit {
  readonly address: bigint;
  readonly length: number;
  readonly pattern: string;
}

/** A hit, and whose it is: several, where a page is mapped several times. */
interface Found {
  readonly place: Place;
  readonly hit: Hit;
  readonly owners: readonly HitOwner[];
}

interface Row extends Hit, HitOwner {}

const COLUMNS: readonly RowColumn<Row>[] = [
  ...OWNER_COLUMNS,
  { field: "pattern", value: ({ pattern }) => pattern },
  { field: "length", type: "integer", value: ({ length }) => length },
];

/** @returns the exit status. */
export async function searchCommand(session: Session, options: SearchCommandOptions): Promise<number> {
  const wanted = searchWanted(options);
  const unseen = new Unseen(session);
  const owners = new HitOwners(session, options.owners !== false, unseen.damage.add);
  const found = findAll(session, options, wanted, owners, unseen);
  const { count, misfits } = session.isForPrograms
    ? await writeRows(session, rowsOf(found), COLUMNS)
    : { count: await new HitPrinter(session, wanted).printAll(found), misfits: 0 };
  return await unseen.report(count, "nothing was found", owners.failed || misfits > 0);
}

async function* findAll(
  session: Session,
  options: SearchCommandOptions,
  wanted: SearchWanted,
  owners: HitOwners,
  { damage, holes, stopping }: Unseen,
): AsyncGenerator<Found, void, void> {
  const patterns = [];
  for (const { make } of wanted.patterns)
    patterns.push(await make((expression) => session.resolve(expression)));
  const limit = new Limit(wanted.limit);
  for await (const place of placesOf(session, options, damage.add)) {
    const { ranges } = place;
    const searched = { ranges, onHole: holes.add, onProgress: barOf(session, place, "searching") };
    const hits =
      place.space === session.machine.physical
        ? searchMachine(session.machine, patterns, searched)
        : search(place.space, patterns, searched);
    const named = namedHits(limit.over(stopping.over<SearchHit>(hits)), wanted);
    for await (const [hit, all] of eachWithOwners(owners, place, named)) yield { place, hit, owners: all };
    if (limit.isReached || stopping.isStopped) return;
  }
}

async function* namedHits(
  hits: AsyncIterable<SearchHit>,
  { patterns }: SearchWanted,
): AsyncGenerator<Hit, void, void> {
  for await (const { address, length, pattern } of hits)
    yield { address: BigInt(address), length, pattern: patterns[pattern]?.name ?? "" };
}

/** A row for each owner. */
async function* rowsOf(found: AsyncIterable<Found>): AsyncGenerator<Row, void, void> {
  for await (const { hit, owners } of found) for (const owner of owners) yield { ...hit, ...owner };
}

/** Prints hits for people: a line for each owner. */
class HitPrinter {
  readonly #session: Session;
  readonly #wanted: SearchWanted;

  constructor(session: Session, wanted: SearchWanted) {
    this.#session = session;
    this.#wanted = wanted;
  }

  /** @returns how many there are. */
  async printAll(found: AsyncIterable<Found>): Promise<number> {
    const { out } = this.#session;
    let count = 0;
    for await (const { place, hit, owners } of found) {
      this.#session.clearProgress();
      if (count++ === 0) out.text(`${this.#line("PHYSICAL", "VIRTUAL", "PID", "PATTERN", "OWNER")}\n`);
      for (const owner of owners) out.text(`${this.#lineOf(hit, owner)}\n`);
      if (this.#wanted.context > 0) out.text(await this.#around(place, hit));
      await out.settle();
    }
    return count;
  }

  #lineOf({ pattern }: Hit, owner: HitOwner): string {
    const { physical, virtual, pid } = owner;
    return this.#line(
      physical === null ? "" : hex(physical),
      virtual === null ? "" : hex(virtual),
      pid === null ? "" : String(pid),
      pattern,
      ownerText(owner),
    );
  }

  /** The pattern is shown where there are several. */
  #line(physical: string, virtual: string, pid: string, pattern: string, owner: string): string {
    const names = this.#wanted.patterns.map(({ name }) => escapeText(name).length);
    const cells = [physical.padStart(14), virtual.padStart(18), pid.padStart(7)];
    if (names.length > 1) cells.push(escapeText(pattern).padEnd(Math.max(7, ...names)));
    return [...cells, owner].join("  ").trimEnd();
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
