import {
  findProcess,
  type KernelSymbol,
  type LinuxKernel,
  type NamedAddress,
  SymbolError,
} from "../../src/linux/index.js";
import { isGlob } from "../../src/linux/names.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { parseAddress } from "../parse.js";
import { escapeText, toJson } from "../render/escape.js";
import { hex, hex16 } from "../render/numbers.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";

/** Lines about damage that are shown. */
const LISTED = 8;

/** Options as the command line has them. */
export interface SymbolsCommandOptions {
  readonly near?: string;
}

/** `memtool symbols`. @returns the exit status. */
export async function symbols(
  session: Session,
  names: readonly string[],
  options: SymbolsCommandOptions,
): Promise<number> {
  if (options.near !== undefined) {
    if (names.length > 0) throw new UsageError("--near takes one address, and no names beside it");
    return near(session, options.near);
  }
  if (names.length === 0)
    throw new UsageError("no name: give one or more, a pattern such as '*_task', or --near ADDRESS");
  const linux = await session.machine.linux();
  // The kernel's symbols are the same in every process: but not in one that there isn't.
  if (session.pid !== undefined) await findProcess(linux, session.pid);
  const missed: string[] = [];
  const found = await show(session, symbolsOf(linux, names, missed));
  const good = found > 0;
  let bad = missed.length > 0;
  for (const name of missed) {
    session.report(
      isGlob(name) ? new Error(`no kernel symbol matches "${name}"`) : await whyNot(session, name),
    );
  }
  // Whoever asks for a pattern, or for what is not there, may miss what could not be read. (A kernel without types says so only to
  // who finds nothing.)
  if (bad || names.some(isGlob)) {
    const { damage } = await linux.moduleSymbols();
    if (damage.length > 0) session.warn("symbols of modules that could not be read:", await missing(linux));
    bad ||= damage.length > 0;
    bad = warnOfLost(session, linux) || bad;
  }
  return statusOf(good, bad);
}

/** Says which of the kernel's own symbols are missing. @returns whether some are. */
function warnOfLost(session: Session, { symbolDamage }: LinuxKernel): boolean {
  if (symbolDamage !== undefined) session.warn(symbolDamage);
  return symbolDamage !== undefined;
}

/** The error that says so, with names like it. */
async function whyNot(session: Session, name: string): Promise<unknown> {
  const linux = await session.machine.linux();
  try {
    await linux.symbol(name);
    return new SymbolError("NO_SYMBOL", name, []);
  } catch (error) {
    return error;
  }
}

/** Those of each name; the names of none are `missed`. */
async function* symbolsOf(
  linux: LinuxKernel,
  names: readonly string[],
  missed: string[],
): AsyncGenerator<KernelSymbol, void, void> {
  for (const name of names) {
    let found = false;
    for await (const symbol of linux.symbols(name)) {
      found = true;
      yield symbol;
    }
    if (!found) missed.push(name);
  }
}

/** Columns of rows for programs. */
const COLUMNS: readonly RowColumn<KernelSymbol | NamedAddress>[] = [
  { field: "name", value: ({ name }) => name },
  { field: "address", type: "address", value: ({ address }) => address },
  { field: "type", value: ({ type }) => type },
  { field: "module", value: ({ module }) => module },
  { field: "offset", type: "address", value: (symbol) => ("offset" in symbol ? symbol.offset : undefined) },
];

/** @returns how many there were. */
async function show(
  session: Session,
  symbols: AsyncIterable<KernelSymbol> | Iterable<NamedAddress>,
): Promise<number> {
  if (session.rows !== undefined) {
    return (await writeRows<KernelSymbol | NamedAddress>(session, symbols, COLUMNS)).count;
  }
  let count = 0;
  for await (const symbol of symbols) {
    count++;
    showOne(session, symbol);
    await session.out.settle();
  }
  return count;
}

function showOne(session: Session, symbol: KernelSymbol | NamedAddress): void {
  const { out, options } = session;
  const { name, address, type, module } = symbol;
  const offset = "offset" in symbol ? symbol.offset : undefined;
  if (options.json === true) {
    const more = offset === undefined ? {} : { offset: hex(offset) };
    const of = module === undefined ? {} : { module };
    out.text(`${toJson({ name, address: hex(address), type, ...of, ...more })}\n`);
    return;
  }
  const plus = offset === undefined || offset === 0n ? "" : `+${hex(offset)}`;
  const inModule = module === undefined ? "" : `  [${escapeText(module)}]`;
  out.text(
    `${session.environment.style.dim(hex16(address + (offset ?? 0n)))}  ${escapeText(type)}  ${escapeText(name)}${plus}${inModule}\n`,
  );
}

/** What hides symbols of modules, in lines. */
async function missing(linux: LinuxKernel): Promise<string[]> {
  const { error, damage } = await linux.moduleSymbols();
  const lines = damage.slice(0, LISTED).map(({ message }) => message);
  if (damage.length > LISTED) lines.push(`and ${damage.length - LISTED} more`);
  return error === undefined ? lines : [error.message, ...lines];
}

async function near(session: Session, text: string): Promise<number> {
  const address = await session.resolve(parseAddress(text));
  const linux = await session.machine.linux();
  const found = await linux.nameOf(address);
  if (found === undefined) {
    session.warn(
      `no kernel symbol near ${hex(address)}: it is outside of the kernel's image, of its modules and of BPF's programs`,
      await missing(linux),
    );
    warnOfLost(session, linux);
    return EXIT.failed;
  }
  await show(session, [found]);
  return EXIT.ok;
}
