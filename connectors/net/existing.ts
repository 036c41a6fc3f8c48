/** What there is of a source, and what it warns of, as its server tells its clients: over several messages where one is too short. */
import { AddressRanges, type Source } from "../../src/io/index.js";
import { MalformedError } from "../byte-code.js";
import type { MachineSource } from "../connector.js";
import type { ProcessMap } from "../proc/maps.js";
import type { ProcessSource } from "../proc/open-process.js";
import { listOf, mapsFromJson, mapsToJson, rangesFromJson, rangesToJson } from "../source-facts.js";

/** Characters of one message. */
const PAGE_TEXT = 2 ** 20;
/** Ranges, and mappings, that are told: what lies higher is left out, and that is told. (Linux lets a process have 65,530.) */
export const MOST_TOLD = 2 ** 18;
/** Sentences of each kind that are told, and their characters. */
const MOST_SENTENCES = 64;
const SENTENCE = 1000;

/** What is told of a target that has gone. */
export const NOTHING_THERE = JSON.stringify({ ranges: [] });

type Pages = Record<"ranges" | "maps", string[]>;

/** Each text is a message: JSON with `more` unless it is the last. */
export function existingText(
  source: Source & Partial<ProcessSource> & Partial<MachineSource>,
  ranges: AddressRanges,
): string[] {
  const maps = source.maps?.();
  const warnings = [...(source.warnings ?? [])];
  const lists: [keyof Pages, readonly unknown[]][] = [["ranges", rangesToJson(ranges).ranges as unknown[]]];
  if (maps !== undefined) lists.push(["maps", mapsToJson(maps).maps as unknown[]]);
  for (const [what, list] of lists) {
    if (list.length > MOST_TOLD)
      warnings.unshift(
        `${source.name} has ${list.length} ${what}: the first ${MOST_TOLD} are told, and no more`,
      );
  }
  const texts: string[] = [];
  let page: Partial<Pages> = {};
  let size = 0;
  const sentences = (list: readonly string[]) =>
    list.slice(0, MOST_SENTENCES).map((text) => text.slice(0, SENTENCE));
  // (Short: with the first page, which has room for them.)
  let head = `"warnings":${JSON.stringify(sentences(warnings))},"remarks":${JSON.stringify(sentences(source.remarks ?? []))},`;
  const flush = (more: boolean) => {
    const { ranges: some = [], maps: others } = page;
    const mapped = others === undefined ? "" : `,"maps":[${others.join(",")}]`;
    texts.push(`{${head}${more ? '"more":true,' : ""}"ranges":[${some.join(",")}]${mapped}}`);
    head = "";
    page = {};
    size = 0;
  };
  for (const [what, list] of lists) {
    page[what] ??= [];
    for (const each of list.slice(0, MOST_TOLD)) {
      const text = JSON.stringify(each);
      if (size > 0 && size + text.length > PAGE_TEXT) flush(true);
      page[what] ??= [];
      page[what].push(text);
      size += text.length + 1;
    }
  }
  flush(false);
  return texts;
}

/** What a server told, once all of it is there. */
export interface Existing {
  readonly ranges: AddressRanges;
  /** Of a process. */
  readonly maps: ProcessMap[] | undefined;
  readonly warnings: readonly string[];
  readonly remarks: readonly string[];
}

/** Puts together what a server tells in several messages. */
export class ExistingReader {
  #ranges: AddressRanges[] = [];
  #maps: ProcessMap[] | undefined;
  #count = 0;
  #warnings: readonly string[] = [];
  #remarks: readonly string[] = [];

  /** @returns `undefined` while there is more to come. @throws {MalformedError} */
  take(json: Readonly<Record<string, unknown>>): Existing | undefined {
    const ranges = rangesFromJson(json);
    const maps = json.maps === undefined ? undefined : mapsFromJson(json);
    this.#ranges.push(ranges);
    if (maps !== undefined) {
      this.#maps ??= [];
      for (const map of maps) this.#maps.push(map);
    }
    // (Also those without anything: there is an end to all of them.)
    this.#count += Math.max(1, ranges.length, maps?.length ?? 0);
    if (this.#count > 2 * MOST_TOLD) throw new MalformedError("more ranges than are told");
    if (json.warnings !== undefined) this.#warnings = sentencesOf(json.warnings, "warnings");
    if (json.remarks !== undefined) this.#remarks = sentencesOf(json.remarks, "remarks");
    if (json.more === true) return undefined;
    const all: Existing = {
      ranges:
        this.#ranges.length === 1 ? ranges : AddressRanges.from(this.#ranges.flatMap((some) => [...some])),
      maps: this.#maps,
      warnings: this.#warnings,
      remarks: this.#remarks,
    };
    this.#ranges = [];
    this.#maps = undefined;
    this.#count = 0;
    this.#warnings = [];
    this.#remarks = [];
    return all;
  }
}

function sentencesOf(value: unknown, what: string): string[] {
  return listOf(value, what)
    .slice(0, MOST_SENTENCES)
    .map((text) => {
      if (typeof text !== "string") throw new MalformedError(`${what} are no texts`);
      return text.slice(0, SENTENCE);
    });
}
