/** `memtool yara`: what rules match, and whose memory that is. */
import { type YaraHit, type YaraRules, yaraScan } from "../../connectors/connectors.js";
import { hex } from "../../src/io/index.js";
import { listVmas, type OnDamage } from "../../src/linux/index.js";
import type { ScanRanges } from "../../src/search/index.js";
import { escapeText } from "../render/escape.js";
import type { ListValue } from "../rows/value.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";
import { Limit } from "./limit.js";
import { OWNER_COLUMNS, ownerText, withOwners } from "./owned.js";
import { type HitOwner, HitOwners } from "./owners.js";
import { checkPlaces, limitOf, type PlaceOptions } from "./place-options.js";
import { barOf, type Place, placesOf } from "./places.js";
import { Unseen } from "./unseen.js";

/** Options as the command line has them. */
export interface YaraCommandOptions extends PlaceOptions {
  /** False with `--no-owners`. */
  readonly owners?: boolean;
}

interface Row extends YaraHit, HitOwner {}

const COLUMNS: readonly RowColumn<Row>[] = [
  ...OWNER_COLUMNS,
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
  return await run.report(count, misfits);
}

/** One scan, and what it could not see. */
class YaraRun {
  readonly #session: Session;
  readonly #rules: YaraRules;
  readonly #options: YaraCommandOptions;
  readonly #unseen: Unseen;
  readonly #limits = new Set<string>();
  readonly #owners: HitOwners;

  constructor(session: Session, rules: YaraRules, options: YaraCommandOptions) {
    this.#session = session;
    this.#rules = rules;
    this.#options = options;
    this.#unseen = new Unseen(session);
    this.#owners = new HitOwners(session, options.owners !== false, this.#unseen.damage.add);
    if (rules.warnings.length > 0)
      session.warn(
        "what the compiler thinks of the rules:",
        rules.warnings.map(({ message }) => message),
      );
  }

  async *rows(): AsyncGenerator<Row> {
    const limit = new Limit(limitOf(this.#options));
    const { damage, holes } = this.#unseen;
    for await (const place of placesOf(this.#session, this.#options, damage.add)) {
      const hits = yaraScan(place.space, this.#rules, {
        regions: await regionsOf(this.#session, place, damage.add),
        onHole: holes.add,
        onLimit: ({ rule, pattern }) => this.#limits.add(`${rule} ${pattern}`),
        onProgress: barOf(this.#session, place, "scanning"),
      });
      yield* withOwners(this.#owners, place, limit.over(hits));
      if (limit.isReached) return;
    }
  }

  /** Says what is missing. @returns the exit status. */
  async report(count: number, misfits: number): Promise<number> {
    const isPart = this.#limits.size > 0 || misfits > 0 || this.#owners.failed;
    const status = await this.#unseen.report(count, "no rule matched", isPart);
    if (this.#limits.size > 0) {
      this.#session.warn("patterns with so many matches that there may be more, which were not told:", [
        ...this.#limits,
      ]);
    }
    return status;
  }
}

/** Of a process, its mappings and what lies between them; else what was asked for. */
async function regionsOf(
  { machine }: Session,
  { ranges, task }: Place,
  onDamage: OnDamage,
): Promise<readonly ScanRanges[] | undefined> {
  if (ranges === undefined) return undefined;
  if ("length" in ranges) return ranges.map((range) => [range]);
  const [start, end] = [BigInt(ranges.start), BigInt(ranges.end)];
  if (task?.pid === undefined) return [{ start, end }];
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
  for await (const row of rows) {
    const { physical, virtual, pid, rule, pattern } = row;
    session.clearProgress();
    if (count === 0) out.text(line("PHYSICAL", "VIRTUAL", "PID", "RULE", "PATTERN", "OWNER"));
    const address = (value: bigint | null) => (value === null ? "" : hex(value));
    const name = pattern ?? "(none)";
    out.text(
      line(
        address(physical),
        address(virtual),
        `${pid ?? ""}`,
        escapeText(rule),
        escapeText(name),
        ownerText(row),
      ),
    );
    count++;
    await out.settle();
  }
  return count;
}
