import { all, MemtoolError } from "../../src/io/index.js";
import { type ZeroPages, zeroPageAt } from "../../src/linux/index.js";
import type { TranslationColumns, VirtualMemory, Walk } from "../../src/paging/index.js";
import { AddressLines, MORE, OTHER } from "../address-lines.js";
import { statusOf, UsageError } from "../errors.js";
import { readLines } from "../lines.js";
import { noteIsolation } from "../page-table-isolation.js";
import { parseAddress } from "../parse.js";
import { toJson } from "../render/escape.js";
import { type TranslationMore, translationJson, translationText, walkText } from "../render/translation.js";
import { TranslationLines } from "../render/translation-lines.js";
import type { Session } from "../session.js";
import { noteSwapped } from "../swapped.js";
import { rangeTranslate } from "./ranges.js";

/** Options as the command line has them. */
export interface TranslateCommandOptions {
  readonly stdin?: boolean;
  readonly walk?: boolean;
  readonly reverse?: boolean;
  /** Of `reverse`: bytes from each address on. */
  readonly length?: string;
  /** Of `reverse`. */
  readonly allRoots?: boolean;
}

/** What is wrong with a line that nobody means as an address. */
export const TOO_LONG = "longer than 64 KiB";

/** The page tables that a command is about. @throws {UsageError} if the space has none. */
export function pageTablesOf(session: Session, command: string): VirtualMemory {
  const { virtual, name } = session.space;
  if (virtual !== undefined) return virtual;
  const { machine, options } = session;
  if (machine.physical === undefined)
    throw new UsageError(`${command} needs page tables, and ${name} is one process's memory`);
  if (options.physical !== true) {
    // The command line is right; it is the target that has no kernel.
    throw new MemtoolError("NO_KERNEL", `${command} needs page tables: give a root (--root, such as a CR3)`);
  }
  throw new UsageError(
    `${command} needs page tables, and ${name} has none: leave out --physical, or give a root (--root, such as a CR3)`,
  );
}

/** `memtool translate`. @returns the exit status. */
export async function translate(
  session: Session,
  addresses: readonly string[],
  options: TranslateCommandOptions,
): Promise<number> {
  const { ranges } = session.space;
  if (ranges !== undefined && options.walk !== true)
    return rangeTranslate(session, ranges, addresses, options.stdin === true);
  const memory = pageTablesOf(session, "translate");
  await noteIsolation(session, memory);
  let good = false;
  let bad = false;
  let zeros: ZeroPages | undefined;
  if (options.stdin !== true) {
    if (addresses.length === 0) throw new UsageError("no address: give one or more, or --stdin");
    const list: bigint[] = [];
    for (const text of addresses) list.push(await session.resolve(parseAddress(text)));
    await answer(list);
    return statusOf(good, bad);
  }
  if (addresses.length > 0)
    throw new UsageError("--stdin reads the addresses from standard input: give none as arguments");
  if (options.walk !== true) return translateLines(session, memory);
  for await (const lines of readLines(session.environment.stdin)) {
    const list: bigint[] = [];
    for (const line of lines) {
      try {
        if (line.text === undefined) throw new UsageError(TOO_LONG);
        const text = line.text.trim();
        if (text !== "" && !text.startsWith("#")) list.push(await session.resolve(parseAddress(text)));
      } catch (error) {
        bad = true;
        session.report(error, `line ${line.number}: `);
      }
    }
    await answer(list);
  }
  return statusOf(good, bad);

  /** Translates all of them side by side, and prints them in their order. */
  async function answer(list: readonly bigint[]): Promise<void> {
    const { out } = session;
    const json = session.options.json === true;
    const walks = await all(list.map((address) => memory.walk(address)));
    for (const walk of walks) {
      const { result } = walk;
      const shown = options.walk === true ? walk : undefined;
      const more = await moreOf(walk);
      if (result.state === undefined) good = true;
      else bad = true;
      if (json) out.text(`${toJson(translationJson(result, shown, more))}\n`);
      else out.text(`${translationText(result, more)}\n${shown === undefined ? "" : walkText(walk)}`);
      if (result.state === "swapped" && more.absent !== undefined) {
        noteSwapped(session, result.virtual, more.absent);
      }
      await out.settle();
    }
    await out.flush();
  }

  /** What the kernel means by it, as far as that is known. */
  async function moreOf({ steps, result }: Walk): Promise<TranslationMore> {
    const absent = steps.at(-1)?.absent;
    // A process' pages are meant; and only for a root that was given, symbols have been read anyway.
    if (result.state !== undefined || session.options.root === undefined) return { absent };
    zeros ??= await session.machine.zeroPages();
    return { absent, zero: zeroPageAt(zeros, result.physical) };
  }
}

/**
 * `translate --stdin`: lines as they come, answered in their order; who writes one and waits gets its answer. As
 * columns of bytes from end to end, so that a million lines take a fraction of a second.
 */
async function translateLines(session: Session, memory: VirtualMemory): Promise<number> {
  const lines = new AddressLines();
  const results = new TranslationLines(session.options.json === true);
  let columns: TranslationColumns | undefined;
  let good = false;
  let bad = false;
  for await (const chunk of session.environment.stdin) {
    lines.feed(chunk);
    await takeLines();
  }
  lines.end();
  await takeLines();
  return statusOf(good, bad);

  async function takeLines(): Promise<void> {
    for (;;) {
      const stop = lines.next();
      if (stop !== OTHER) {
        await answer();
        if (stop === MORE) return;
        continue;
      }
      try {
        if (lines.text === undefined) throw new UsageError(TOO_LONG);
        lines.push(await session.resolve(parseAddress(lines.text)));
      } catch (error) {
        bad = true;
        session.report(error, `line ${lines.number}: `);
      }
    }
  }

  async function answer(): Promise<void> {
    if (lines.length === 0) return;
    columns = await memory.translateMany(lines.take(), columns);
    if (columns.failed !== 0) bad = true;
    if (columns.failed !== columns.length) good = true;
    for (let row = 0; row < columns.length; ) {
      row = results.format(columns, row);
      await session.out.lend(results.bytes);
    }
  }
}
