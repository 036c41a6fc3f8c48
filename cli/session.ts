/** An opened target and the address space that the options choose. */

import type { FreezableSource, StillSource } from "../connectors/connector.js";
import {
  listConnectors,
  type Machine,
  type OpenTarget,
  OutputError,
  open,
  TargetGoneError,
} from "../connectors/connectors.js";
import { cleanUpAfter } from "../connectors/errors.js";
import { hex, MemtoolError } from "../src/io/index.js";
import {
  findProcess,
  KernelNotFoundError,
  type KernelSymbol,
  type LinuxKernel,
  memoryOfTask,
  readProcessSymbols,
  SymbolError,
  type UserSymbolTable,
} from "../src/linux/index.js";
import { oneUserSymbol } from "../src/linux/userland/user-symbols.js";
import { formatsOf } from "../src/paging/index.js";
import { describeError, EXIT, isUsage, UsageError } from "./errors.js";
import type { Output } from "./output.js";
import {
  type AddressExpression,
  checkAddress,
  parseEpt,
  parseKaslr,
  parseMmu,
  parsePid,
  parseRoot,
  parseSwapArea,
} from "./parse.js";
import { escapeText } from "./render/escape.js";
import { metricsLines } from "./render/metrics.js";
import { Progress } from "./render/progress.js";
import type { RowChoice } from "./rows/choice.js";
import type { Space } from "./space.js";
import type { Style } from "./style.js";

/** Options before or after any command. */
export interface GlobalOptions {
  readonly file?: readonly string[];
  readonly connector?: string;
  readonly dumpFormat?: string;
  readonly map?: string;
  readonly physical?: boolean;
  readonly root?: string;
  readonly mmu?: string;
  readonly ept?: readonly string[];
  readonly pid?: string;
  readonly swap?: readonly string[];
  readonly types?: string;
  readonly symbols?: string;
  readonly kaslr?: string;
  readonly write?: boolean;
  readonly freeze?: boolean;
  readonly json?: boolean;
  /** `--output` of what lists rows. */
  readonly rows?: RowChoice | undefined;
  /** `--cache`. */
  readonly cache?: boolean;
}

/** What surrounds the program. */
export interface Environment {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: AsyncIterable<Uint8Array | string>;
  readonly out: Output;
  readonly stderr: {
    readonly isTTY?: boolean | undefined;
    readonly columns?: number | undefined;
    write(text: string): unknown;
  };
  readonly style: Style;
}

/** The target as the options name it. @throws {UsageError} if there is none, or more than one. */
export function targetOf(options: GlobalOptions, env: Environment["env"]): OpenTarget {
  const { file, connector } = options;
  if (file !== undefined && connector !== undefined) {
    throw new UsageError("two targets: give -f FILE or -c CONNECTOR, not both");
  }
  if (file !== undefined) {
    if (file.includes("")) throw new UsageError("-f: the name of the file is empty");
    return file;
  }
  if (connector !== undefined) return { connector };
  const given = env.MEMTOOL_TARGET;
  if (given === undefined || given === "") {
    throw new UsageError(
      "no target: give a dump with -f FILE, a connector with -c (such as -c proc:1234), or set MEMTOOL_TARGET to either",
    );
  }
  return targetNamed(given);
}

/** A connector by the name in front of its first colon, else a path. */
export function targetNamed(given: string): string | { readonly connector: string } {
  const name = given.split(":", 1)[0] as string;
  return given.includes(":") && listConnectors().has(name) ? { connector: given } : given;
}

/**
 * What a target is opened for. `info`: the kernel is looked for in any case, and whoever asks reports that there is none.
 * `coverage`: without a kernel. Both tell holes of the file system from other bytes. `memory`: `--physical` and `--root` do
 * without a kernel, until a symbol is met; else with one that VMCOREINFO leads to. `virtual`: the same, where only a kernel will do:
 * page tables may lead to it too. `roots`: with the kernel that the dump's note tells of, and no scan for one. `kernel`: what is
 * asked of the kernel; without one there is nothing to say. `convert`: who converts looks for one where the new dump needs it.
 */
export type Purpose = "kernel" | "info" | "coverage" | "convert" | "roots" | "memory" | "virtual";

/**
 * What reads and writes are opened for: a symbol is an address of a kernel, and so is what no physical address can be. (A search for
 * page tables takes ten times as long as one for VMCOREINFO, and images without a kernel have physical addresses only.)
 *
 * @param stdin Whether the addresses come later.
 */
export function purposeOf(addresses: readonly AddressExpression[], stdin = false): Purpose {
  const isVirtual = ({ base, offset }: AddressExpression) =>
    typeof base === "string" || base + offset >= END_OF_PHYSICAL;
  return stdin || addresses.some(isVirtual) ? "virtual" : "memory";
}

/** Physical addresses have 52 bits at most. */
const END_OF_PHYSICAL = 1n << 52n;

/** Unknown symbols that similar ones are looked for. */
const SUGGESTED = 16;

/** One run of the program over one target. */
export class Session {
  readonly machine: Machine;
  readonly space: Space;
  readonly options: GlobalOptions;
  readonly environment: Environment;
  /** `--pid`. */
  readonly pid: number | undefined;
  /** Whether it was said how swapped pages are read. */
  hinted = false;
  readonly #progress: Progress;
  /** Symbols that were not found. */
  #unknown = 0;
  /** `null` for a process without memory. */
  #userSymbols: UserSymbolTable | null | undefined;
  /** Whether it is not to be said (any more) that the target is gone. */
  #toldGone = false;
  /** Whether it was said why there is no kernel. */
  #toldNoKernel = false;

  private constructor(
    machine: Machine,
    space: Space,
    options: GlobalOptions,
    environment: Environment,
    progress: Progress,
    pid: number | undefined,
  ) {
    this.pid = pid;
    this.machine = machine;
    this.space = space;
    this.options = options;
    this.environment = environment;
    this.#progress = progress;
  }

  /** Opens the target. */
  static async open(options: GlobalOptions, environment: Environment, purpose: Purpose = "memory") {
    const target = targetOf(options, environment.env);
    const pid = options.pid === undefined ? undefined : parsePid(options.pid);
    if (options.physical === true && options.root !== undefined) {
      throw new UsageError("--physical and --root exclude each other");
    }
    if (
      pid !== undefined &&
      (options.physical === true || (options.root !== undefined && purpose !== "kernel"))
    ) {
      throw new UsageError(
        `--pid and ${options.physical === true ? "--physical" : "--root"} exclude each other`,
      );
    }
    const root = options.root === undefined ? undefined : parseRoot(options.root);
    const progress = new Progress(environment.stderr);
    const machine = await open(target, {
      format: options.dumpFormat,
      write: options.write,
      freeze: options.freeze,
      root,
      mmu: options.mmu === undefined ? undefined : parseMmu(options.mmu),
      swap: options.swap?.map(parseSwapArea),
      ept: options.ept?.map(parseEpt),
      memoryMap: options.map,
      types: options.types,
      symbols: options.symbols,
      kaslr: options.kaslr === undefined ? undefined : parseKaslr(options.kaslr),
      holes: purpose === "info" || purpose === "coverage",
      kernel: kernelFor(purpose, options),
      cache: options.cache,
      onProgress: (done, total) =>
        progress.update(purpose === "roots" ? "looking for roots" : "looking for the kernel", done, total),
    });
    try {
      if (root !== undefined) await findFormat(machine);
      progress.clear();
      const space =
        pid === undefined || purpose === "kernel"
          ? spaceOf(machine, options, root)
          : await spaceOfProcess(machine, pid);
      const session = new Session(machine, space, options, environment, progress, pid);
      if (root !== undefined && machine.paging === undefined) {
        session.warn(
          `nothing tells the format of the page tables: ${space.virtual?.mmu.name} is taken (--mmu NAME, or see what info finds)`,
        );
      }
      // (What `info` prints among others.)
      if (purpose !== "info") for (const warning of machine.warnings) session.warn(warning);
      const isMemory = purpose === "memory" || purpose === "virtual";
      if (isMemory && machine.noKernel !== undefined && space.map !== undefined) {
        session.warn(`${machine.noKernel.message}; addresses are physical here`);
        session.#toldNoKernel = true;
      }
      return session;
    } catch (error) {
      progress.clear();
      warnOfProfile(machine, environment);
      throw await cleanUpAfter(whyOf(machine, error), () => machine.close());
    }
  }

  /** Where rows go, if `--output` says it. */
  get rows(): RowChoice | undefined {
    return this.options.rows;
  }

  /** Whether rows are written for programs: by `--json` or `--output`. */
  get isForPrograms(): boolean {
    return this.options.json === true || this.rows !== undefined;
  }

  get out(): Output {
    return this.environment.out;
  }

  /** An expression's address. @throws {SymbolError} {UsageError} */
  async resolve(expression: AddressExpression): Promise<bigint> {
    const { base, offset, text } = expression;
    if (typeof base === "bigint") return base + offset;
    if (this.machine.physical === undefined) {
      throw new UsageError(
        `"${base}" is not an address: ${this.machine.name} has no kernel symbols (0x… or decimal)`,
      );
    }
    const { physical, root } = this.options;
    // (What is read is chosen already: a kernel that is found late would name addresses of another space.)
    if (this.machine.noKernel !== undefined && physical !== true && root === undefined) {
      if (!this.#toldNoKernel) throw this.machine.noKernel;
      const { code } = this.machine.noKernel;
      throw new MemtoolError(code, `"${base}" is no address, and without a kernel there are no symbols`);
    }
    const linux = await this.machine.linux();
    this.#progress.clear();
    const symbol = await this.#symbol(linux, base);
    let address = checkAddress(symbol.address + offset, text);
    if (physical === true) {
      const translation = await linux.memory.translate(address);
      if (!("physical" in translation)) {
        throw new MemtoolError("NOT_MAPPED", `${text} is at ${hex(address)}, which is ${translation.state}`);
      }
      address = BigInt(translation.physical);
    }
    return address;
  }

  /** The symbols of the process that `--pid` names; `undefined` without one, and for one without memory of its own. */
  async userSymbols(): Promise<UserSymbolTable | undefined> {
    if (this.pid === undefined) return undefined;
    if (this.#userSymbols === undefined) {
      const linux = await this.machine.linux();
      const task = await findProcess(linux, this.pid);
      this.#userSymbols = task.root === undefined ? null : await readProcessSymbols(linux, task);
    }
    return this.#userSymbols ?? undefined;
  }

  /** The symbol of that name: the process's or the kernel's. @throws {SymbolError} {UsageError} */
  async #symbol(linux: LinuxKernel, name: string): Promise<KernelSymbol> {
    if (name.startsWith(KERNEL_OBJECT))
      return await this.#kernelSymbol(linux, name.slice(KERNEL_OBJECT.length));
    const own = await this.userSymbols();
    if (own === undefined) {
      if (name.includes(":"))
        throw new UsageError(`"${name}" names an object of a process: say which, with --pid`);
      return await this.#kernelSymbol(linux, name);
    }
    const found = own.symbol(name);
    if (name.includes(":")) return oneUserSymbol(own, name);
    if (found.length === 0) {
      try {
        return await this.#kernelSymbol(linux, name);
      } catch (error) {
        throw error instanceof SymbolError ? withUserSymbols(error, own) : error;
      }
    }
    const kernels = await linux.symbols(name).toArray();
    if (found.length === 1 && kernels.length === 0) return found[0] as KernelSymbol;
    const all = [...found, ...kernels.map((each) => ({ ...each, module: each.module ?? "kernel" }))];
    throw new SymbolError("AMBIGUOUS_SYMBOL", name, all, "or name its object: OBJECT:NAME, or kernel:NAME");
  }

  /** The kernel's symbol of that name. Looking for similar names takes long, so only the first unknown ones get any. */
  async #kernelSymbol(linux: LinuxKernel, name: string): Promise<KernelSymbol> {
    if (this.#unknown >= SUGGESTED) {
      const found = await linux.symbols(name).toArray();
      if (found.length === 0) throw new SymbolError("NO_SYMBOL", name, []);
    }
    try {
      return await linux.symbol(name);
    } catch (error) {
      if (error instanceof SymbolError && error.code === "NO_SYMBOL") this.#unknown++;
      throw error;
    }
  }

  /** A bar for what takes long. */
  progress(what: string, done: bigint | number, total: bigint | number): void {
    this.#progress.update(what, done, total);
  }

  /** Takes the bar away. */
  clearProgress(): void {
    this.#progress.clear();
  }

  /** A message on standard error, and lines below it. */
  warn(message: string, lines: readonly string[] = []): void {
    this.#progress.clear();
    writeWarning(this.environment, message, lines);
  }

  /** Says that the target is gone. */
  warnGone(more = ""): void {
    this.#toldGone = true;
    this.warn(`${this.machine.name} is gone${more}`);
  }

  /** Closes the source below a read that hangs. That it is gone then is no news. */
  async letGo(): Promise<void> {
    this.#toldGone = true;
    await this.machine.source.source.close?.();
  }

  /** An error that ends the run: where the target has gone meanwhile, that is what it says. */
  whyOf(error: unknown): unknown {
    return whyOf(this.machine, error);
  }

  /** What helps against torn lists of a machine that may go on as they are read, and can be paused. */
  get tornHint(): string | undefined {
    const source: Partial<FreezableSource & StillSource> = this.machine.source.source;
    if (source.freeze === undefined || source.still !== undefined || this.options.freeze === true)
      return undefined;
    if (this.machine.isGone) return undefined;
    return `lists of ${this.machine.name} are torn where it goes on while they are read: try --freeze`;
  }

  /** The status of what has ended: of a target that has gone meanwhile, something may be missing, and this says so. */
  endStatus(status: number): number {
    if (!this.machine.isGone || this.#toldGone) return status;
    this.warnGone(": what could not be read of it is missing");
    return status === EXIT.ok ? EXIT.partial : status;
  }

  /** An error that does not end the run. */
  report(error: unknown, where = ""): void {
    this.warn(`${where}${describeError(error)}`);
  }

  async close(): Promise<void> {
    this.#progress.clear();
    warnOfProfile(this.machine, this.environment);
    await this.out.flush();
    const { metrics, name } = this.machine;
    if (metrics !== undefined) this.warn(`what passed through ${name}:`, metricsLines(metrics));
    await this.machine.close();
  }
}

/** In front of a symbol that is to be the kernel's, where a process has one of that name. */
export const KERNEL_OBJECT = "kernel:";

/** The error for a name that neither the kernel nor a process has. */
export function withUserSymbols(error: SymbolError, own: UserSymbolTable): SymbolError {
  if (error.code !== "NO_SYMBOL") return error;
  const { symbol } = error;
  const near = [...own.near(symbol), ...error.candidates].slice(0, 8);
  return new SymbolError(
    "NO_SYMBOL",
    symbol,
    near,
    own.hintOf(symbol),
    "symbol of the process or the kernel",
  );
}

/** A message on standard error, and lines below it. */
export function writeWarning(
  { style, stderr }: Environment,
  message: string,
  lines: readonly string[] = [],
): void {
  const more = lines.map((line) => `  ${escapeText(line)}\n`).join("");
  stderr.write(`${style.warning("memtool:")} ${escapeText(message)}\n${more}`);
}

function whyOf({ isGone, name }: Machine, error: unknown): unknown {
  const isOther =
    !isGone || isUsage(error) || error instanceof TargetGoneError || error instanceof OutputError;
  return isOther ? error : new TargetGoneError(name, error);
}

/** Says what became of the kernel's profile (`--cache`), whatever became of the command. */
function warnOfProfile({ kernel }: Machine, environment: Environment): void {
  if (kernel?.profileNote !== undefined) writeWarning(environment, kernel.profileNote);
}

/** How far to go for a kernel: a root's page tables are read without one, but what Linux means by their entries needs its release. */
function kernelFor(purpose: Purpose, { physical, root }: GlobalOptions): "search" | "scan" | "note" | "none" {
  if (purpose === "kernel") return "search";
  if (purpose === "info") return "scan";
  if (purpose === "roots") return "note";
  if ((purpose !== "memory" && purpose !== "virtual") || physical === true) return "none";
  if (root !== undefined) return "note";
  return purpose === "virtual" ? "search" : "scan";
}

/**
 * Where a dump names its architecture, and nothing in its notes the format of the page tables: looks for the kernel in RAM, whose
 * VMCOREINFO tells it, and the meaning of entries.
 */
export async function findFormat(machine: Machine): Promise<void> {
  if (machine.physical === undefined || machine.paging !== undefined) return;
  const architecture = machine.notes?.architecture;
  if (architecture === undefined || formatsOf(architecture).length === 0) return;
  try {
    await machine.linux({ searchRoots: false });
    await machine.swapTypes();
  } catch (error) {
    // Whoever needs the format says that nothing tells it.
    if (!(error instanceof KernelNotFoundError)) throw error;
  }
}

/** The address space of a process: of one that a kernel has, or of the one that the target is. */
async function spaceOfProcess(machine: Machine, pid: number): Promise<Space> {
  if (machine.physical === undefined) {
    throw new UsageError(`${machine.name} is one process's memory already: leave out --pid`);
  }
  const kernel = await machine.linux();
  // What swap entries of a process mean, the kernel's symbols tell.
  await machine.swapTypes();
  const virtual = memoryOfTask(kernel, await findProcess(kernel, pid));
  return { name: `process ${pid}`, memory: virtual, virtual };
}

function spaceOf(machine: Machine, options: GlobalOptions, root: number | undefined): Space {
  const { physical } = machine;
  if (physical === undefined) {
    if (options.physical === true || root !== undefined) {
      throw new UsageError(
        `${machine.name} is one process's memory: there are no physical addresses or page tables`,
      );
    }
    return { name: machine.name, memory: machine.memory, ranges: machine.ranges };
  }
  if (root !== undefined) {
    const virtual = machine.rootSpace(root);
    return { name: `root ${hex(virtual.root)}`, memory: virtual, virtual };
  }
  const kernel = options.physical === true ? undefined : machine.kernel;
  if (kernel !== undefined) return { name: "kernel", memory: kernel.memory, virtual: kernel.memory };
  return { name: "physical memory", memory: physical, map: physical.map };
}
