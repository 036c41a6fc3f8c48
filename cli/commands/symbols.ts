import {
  type Damage,
  type KernelSymbol,
  type LinuxKernel,
  type NamedAddress,
  SymbolError,
  type UserSymbol,
  type UserSymbolTable,
} from "../../src/linux/index.js";
import { isGlob } from "../../src/linux/names.js";
import { oneUserSymbol, userSymbolsOf } from "../../src/linux/userland/user-symbols.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { parseAddress } from "../parse.js";
import { escapeText, toJson } from "../render/escape.js";
import { hex, hex16 } from "../render/numbers.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import { KERNEL_OBJECT, type Session, withUserSymbols } from "../session.js";

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
  const own = await session.userSymbols();
  const missed: string[] = [];
  const found = await show(session, symbolsOfAll(linux, own, names, missed));
  const good = found > 0;
  let bad = missed.length > 0;
  const whose = own === undefined ? "kernel symbol" : "symbol of the process or the kernel";
  for (const name of missed) {
    session.report(
      isGlob(name) ? new Error(`no ${whose} matches "${name}"`) : await whyNot(session, own, name),
    );
  }
  if ((bad || names.some(isGlob)) && own !== undefined && own.damage.length > 0) {
    session.warn("symbols of the process that could not be read:", lines(own.damage));
    bad = true;
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

/** Those of each name; the names of none are `missed`. */
async function* symbolsOfAll(
  linux: LinuxKernel,
  own: UserSymbolTable | undefined,
  names: readonly string[],
  missed: string[],
): AsyncGenerator<KernelSymbol, void, void> {
  for (const name of names) {
    let found = false;
    for await (const symbol of symbolsOf(linux, own, name)) {
      found = true;
      yield symbol;
    }
    if (!found) missed.push(name);
  }
}

/** Those of a name or pattern: the process's, then the kernel's. With an object in front, its own. */
async function* symbolsOf(
  linux: LinuxKernel,
  own: UserSymbolTable | undefined,
  name: string,
): AsyncGenerator<KernelSymbol, void> {
  if (name.startsWith(KERNEL_OBJECT)) {
    yield* linux.symbols(name.slice(KERNEL_OBJECT.length));
    return;
  }
  if (own !== undefined) yield* userSymbolsOf(own, name);
  if (!name.includes(":")) yield* linux.symbols(name);
}

/** Says which of the kernel's own symbols are missing. @returns whether some are. */
function warnOfLost(session: Session, { symbolDamage }: LinuxKernel): boolean {
  if (symbolDamage !== undefined) session.warn(symbolDamage);
  return symbolDamage !== undefined;
}

/** The error that says so, with names like it. */
async function whyNot(session: Session, own: UserSymbolTable | undefined, name: string): Promise<unknown> {
  const linux = await session.machine.linux();
  const isKernels = name.startsWith(KERNEL_OBJECT);
  try {
    if (name.includes(":") && !isKernels) {
      if (own === undefined)
        return new UsageError(`"${name}" names an object of a process: say which, with --pid`);
      oneUserSymbol(own, name);
    } else {
      await linux.symbol(isKernels ? name.slice(KERNEL_OBJECT.length) : name);
    }
    return new SymbolError("NO_SYMBOL", name, []);
  } catch (error) {
    if (own === undefined || name.includes(":") || !(error instanceof SymbolError)) return error;
    return withUserSymbols(error, own);
  }
}

/** Columns of rows for programs. */
const COLUMNS: readonly RowColumn<KernelSymbol | NamedAddress | UserSymbol>[] = [
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
    return (await writeRows<KernelSymbol | NamedAddress | UserSymbol>(session, symbols, COLUMNS)).count;
  }
  let count = 0;
  for await (const symbol of symbols) {
    count++;
    showOne(session, symbol);
    await session.out.settle();
  }
  return count;
}

function showOne(session: Session, symbol: KernelSymbol | NamedAddress | UserSymbol): void {
  const { out, options } = session;
  const { name, address, type, module } = symbol;
  const offset = "offset" in symbol ? symbol.offset : undefined;
  if (options.json === true) {
    const more = offset === undefined ? {} : { offset: hex(offset) };
    const of = module === undefined ? {} : { module };
    const user =
      "size" in symbol
        ? { path: symbol.path ?? null, size: hex(symbol.size), version: symbol.version ?? null }
        : {};
    out.text(`${toJson({ name, address: hex(address), type, ...of, ...user, ...more })}\n`);
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
  return error === undefined ? lines(damage) : [error.message, ...lines(damage)];
}

function lines(damage: readonly Damage[]): string[] {
  const listed = damage.slice(0, LISTED).map(({ message }) => message);
  if (damage.length > LISTED) listed.push(`and ${damage.length - LISTED} more`);
  return listed;
}

async function near(session: Session, text: string): Promise<number> {
  const address = await session.resolve(parseAddress(text));
  const linux = await session.machine.linux();
  const own = await session.userSymbols();
  const found = own?.nameOf(address) ?? (await linux.nameOf(address));
  if (found === undefined) {
    const outside =
      own === undefined
        ? ""
        : "it is in no program or library of the process (memtool vmas tells what is there), and ";
    session.warn(
      `no ${own === undefined ? "kernel " : ""}symbol near ${hex(address)}: ${outside || "it is "}outside of the kernel's image, of its modules and of BPF's programs`,
      await missing(linux),
    );
    warnOfLost(session, linux);
    return EXIT.failed;
  }
  await show(session, [found]);
  return EXIT.ok;
}
