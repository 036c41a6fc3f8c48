/** `memtool yara`: what rules match, and whose memory that is. */
import { type YaraHit, type YaraRules, yaraScan } from "../../connectors/connectors.js";
import { hex } from "../../src/io/index.js";
import { listVmas, type OnDamage } from "../../src/linux/index.js";
import { EXIT, statusOf } from "../errors.js";
import { DamageSummary } from "../linux/listing.js";
import { escapeText } from "../render/escape.js";
import type { ListValue } from "../rows/value.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";
import { Holes } from "./holes.js";
import { withOwners } from "./owned.js";
import { type HitOwner, HitOwners } from "./owners.js";
import { checkPlaces, limitOf, type PlaceOptions } from "./place-options.js";
import { type Place, placesOf } from "./places.js";

/** Hits whose owners are asked for together. */
const BATCH = 16_384;

/** Options as the command line has them. */
export interface YaraCommandOptions extends PlaceOptions {
  /** False with `--no-owners`. */
  readonly owners?: boolean;
}

interface Row extends YaraHit, HitOwner {}

const COLUMNS: readonly RowColumn<Row>[] = [
  { field: "physical", type: "address", value: ({ physical }) => physical },
  { field: "virtual", type: "address", value: ({ virtual }) => virtual },
  { field: "pid", type: "integer", value: ({ pid }) => pid },
  { field: "owner", value: ({ owner }) => owner },
  { field: "kind", value: ({ kind }) => kind },
  { field: "rule", value: ({ rule }) => rule },
  { field: "pattern", value: ({ pattern }) => pattern ?? null },
  { field: "length", type: "integer", value: ({ length }) => length },
  { field: "bytes", value: ({ bytes }) => Buffer.from(bytes).toString("hex") },
  { field: "tags", type: "json", value: ({ tags }) => tags },
  { field: "meta", type: "json", value: ({ meta }) => meta as ListValue },
  { field: "source", value: ({ source }) => source },
  { field: "whole", type: "boolean", value: ({ whole }) => whole },
];

/** @throws {UsageError} before the target is opened. */
export function checkYara(options: YaraCommandOptions): void {
  checkPlaces(options);
  limitOf(options);
}

/** @returns the exit status. */
export async function yaraCommand(
  session: Session,
  rules: YaraRules,
  options: YaraCommandOptions,
): Promise<number> {
  const run = new YaraRun(session, rules, options);
  const rows = run.rows();
  const { count, misfits } = session.isForPrograms
    ? await writeRows(session, rows, COLUMNS)
    : { count: await printLines(session, rows), misfits: 0 };
  session.clearProgress();
  await session.out.flush();
  return run.report(count, misfits);
}

/** One scan, and what it could not see. */
class YaraRun {
  readonly #session: Session;
  readonly #rules: YaraRules;
  readonly #options: YaraCommandOptions;
  readonly #damage = new DamageSummary();
  readonly #holes = new Holes();
  readonly #limits = new Set<string>();
  readonly #owners: HitOwners;

  constructor(session: Session, rules: YaraRules, options: YaraCommandOptions) {
    this.#session = session;
    this.#rules = rules;
    this.#options = options;
    this.#owners = new HitOwners(session, options.owners !== false, this.#damage.add);
    if (rules.warnings.length > 0)
      session.warn(
        "what the compiler thinks of the rules:",
        rules.warnings.map(({ message }) => message),
      );
  }

  async *rows(): AsyncGenerator<Row> {
    let left = limitOf(this.#options);
    for await (const place of placesOf(this.#session, this.#options, this.#damage.add)) {
      const hits = yaraScan(place.space, this.#rules, {
        regions: await regionsOf(this.#session, place, this.#damage.add),
        onHole: this.#holes.add,
        onLimit: ({ rule, pattern }) => this.#limits.add(`${rule} ${pattern}`),
        onProgress: (at) => {
          if (place.end > 0) this.#session.progress("scanning", at, place.end);
        },
      });
      let batch: YaraHit[] = [];
      for await (const hit of hits) {
        batch.push(hit);
        left--;
        if (left === 0) break;
        if (batch.length === BATCH) {
          yield* withOwners(this.#owners, place, batch);
          batch = [];
        }
      }
      yield* withOwners(this.#owners, place, batch);
      if (left === 0) return;
    }
  }

  /** Says what is missing. @returns the exit status. */
  report(count: number, misfits: number): number {
    const session = this.#session;
    this.#holes.report(session);
    this.#damage.report(session);
    if (this.#limits.size > 0) {
      session.warn("patterns with so many matches that there may be more, which were not told:", [
        ...this.#limits,
      ]);
    }
    if (count === 0) {
      session.warn("no rule matched");
      return EXIT.failed;
    }
    const isPart = this.#limits.size > 0 || misfits > 0 || this.#damage.count > 0 || this.#owners.failed;
    return statusOf(true, this.#holes.isFailure || isPart);
  }
}

/** Of a process, its mappings and what lies between them; else what was asked for. */
async function regionsOf(
  { machine }: Session,
  { ranges, task }: Place,
  onDamage: OnDamage,
): Promise<{ start: bigint; end: bigint }[] | undefined> {
  if (task?.pid === undefined || ranges === undefined) return ranges === undefined ? undefined : [ranges];
  const { start, end } = ranges;
  const vmas = await listVmas(await machine.linux(), { pid: task.pid, pages: false, onDamage }).toArray();
  const borders = new Set([start, end]);
  for (const vma of vmas) {
    for (const border of [vma.start, vma.end]) if (border > start && border < end) borders.add(border);
  }
  const list = [...borders].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return list.slice(0, -1).map((border, i) => ({ start: border, end: list[i + 1] as bigint }));
}

async function printLines(session: Session, rows: AsyncIterable<Row>): Promise<number> {
  const { out } = session;
  const line = (physical: string, virtual: string, pid: string, rule: string, pattern: string, who: string) =>
    `${[physical.padStart(14), virtual.padStart(18), pid.padStart(7), rule.padEnd(20), pattern.padEnd(8), who].join("  ").trimEnd()}\n`;
  let count = 0;
  for await (const { physical, virtual, pid, rule, pattern, kind, owner } of rows) {
    session.clearProgress();
    if (count === 0) out.text(line("PHYSICAL", "VIRTUAL", "PID", "RULE", "PATTERN", "OWNER"));
    const who = [kind, owner].filter((each) => each !== null && each !== "").join("  ");
    const address = (value: bigint | null) => (value === null ? "" : hex(value));
    const name = pattern ?? "(none)";
    out.text(
      line(
        address(physical),
        address(virtual),
        `${pid ?? ""}`,
        escapeText(rule),
        escapeText(name),
        escapeText(who === "" ? "?" : who),
      ),
    );
    count++;
    await out.settle();
  }
  return count;
}
