/** `memtool search`: prints hits as they come, batch by batch. */
import { hex as hexText } from "../../src/io/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";
import { type ScanHole, type SearchHit, search } from "../../src/search/index.js";
import { compilePattern } from "../../src/search/patterns.js";
import { EXIT, UsageError } from "../errors.js";
import { END_OF_SPACE, parseAddress, parseSize } from "../parse.js";
import { escapeText, toJson } from "../render/escape.js";
import type { Session } from "../session.js";
import { type HitOwner, ownersOf } from "./owners.js";
import { asUsage, type NamedPattern, patternsOf, type SearchCommandOptions } from "./patterns.js";

/** Hits whose owners are asked for together. */
const BATCH = 1024;

/** What is asked for. @throws {UsageError} before the target is opened. */
export function searchWanted(options: SearchCommandOptions): { patterns: NamedPattern[]; limit: number } {
  const patterns = patternsOf(options);
  try {
    for (const { pattern } of patterns) compilePattern(pattern, { littleEndian: true, pointerSize: 8 });
  } catch (error) {
    throw asUsage(error);
  }
  const limit = options.limit === undefined ? Number.POSITIVE_INFINITY : Number(parseSize(options.limit));
  if (limit === 0) throw new UsageError("--limit 0: there is nothing to show");
  if (options.length !== undefined && options.from === undefined)
    throw new UsageError("--length goes with --from ADDRESS");
  if (options.from !== undefined) parseAddress(options.from);
  if (options.length !== undefined) parseSize(options.length);
  return { patterns, limit };
}

/** @returns the exit status. */
export async function searchCommand(session: Session, options: SearchCommandOptions): Promise<number> {
  const { patterns, limit } = searchWanted(options);
  const { out, machine } = session;
  const isRange = options.from !== undefined;
  const usePhysical = !isRange && session.pid === undefined && session.options.root === undefined;
  const memory =
    (usePhysical ? machine.physical : undefined) ??
    session.space.virtual ??
    machine.ranges ??
    machine.physical;
  if (memory === undefined) throw new UsageError(`${machine.name}: nothing tells what memory there is`);
  const isPhysical = memory instanceof PhysicalMemory;
  const searched = {
    isPhysical,
    pid: session.pid,
    name: isPhysical ? "physical memory" : session.space.name,
  };
  const ranges = isRange ? await rangeOf(session, options) : undefined;
  const holes = new Map<string, bigint>();
  const onHole = ({ start, end, state }: ScanHole) =>
    holes.set(state, (holes.get(state) ?? 0n) + end - start);
  const total = isPhysical ? memory.map.end : 0;
  const onProgress = (at: bigint) => {
    if (total > 0) session.progress("searching", at, total);
  };
  let batch: SearchHit[] = [];
  let found = 0;
  const list = patterns.map(({ pattern }) => pattern);
  for await (const hit of search(memory, list, { ranges, onHole, onProgress })) {
    batch.push(hit);
    found++;
    if (batch.length === BATCH) await show();
    if (found >= limit) break;
  }
  await show();
  session.clearProgress();
  const missing = [...holes].map(([state, bytes]) => `${hexText(bytes)} bytes: ${state}`);
  if (missing.length > 0) session.warn("not searched, since it could not be read:", missing);
  return found > 0 ? EXIT.ok : EXIT.failed;

  async function show(): Promise<void> {
    const owners = await ownersOf(batch, searched);
    if (batch.length > 0) session.clearProgress();
    for (const [i, hit] of batch.entries()) {
      const { name } = patterns[hit.pattern] as NamedPattern;
      for (const owner of owners[i] as HitOwner[])
        out.text(session.options.json === true ? jsonOf(hit, name, owner) : lineOf(hit, name, owner));
      await out.settle();
    }
    batch = [];
    await out.flush();
  }
}

function jsonOf({ length }: SearchHit, pattern: string, { physical, virtual, pid, owner }: HitOwner): string {
  const address = (value: bigint | undefined) => (value === undefined ? null : hexText(value));
  const where = {
    physical: address(physical),
    virtual: address(virtual),
    pid: pid ?? null,
    owner: owner ?? null,
  };
  return `${toJson({ ...where, pattern, length })}\n`;
}

function lineOf(hit: SearchHit, pattern: string, { owner }: HitOwner): string {
  const address = `0x${hit.address.toString(16).padStart(16, "0")}`;
  return `${address}  ${hit.length}  ${escapeText(pattern)}${owner === undefined ? "" : `  ${escapeText(owner)}`}\n`;
}

async function rangeOf(session: Session, { from, length }: SearchCommandOptions) {
  const start = await session.resolve(parseAddress(from as string));
  const end = length === undefined ? END_OF_SPACE : start + parseSize(length);
  if (end > END_OF_SPACE) throw new UsageError(`--length ${length}: beyond the end of the address space`);
  return { start, end };
}
