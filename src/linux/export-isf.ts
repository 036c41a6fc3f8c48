/**
 * What a kernel tells of itself, as an ISF file: Volatility 3 then needs no file made from debug information.
 *
 * Facts: Volatility 3, framework/automagic/symbol_cache.py (a file is found by `linux_banner`'s `constant_data`, whose bytes
 * are looked for in memory), framework/automagic/linux.py (addresses are as linked; what KASLR added is found out by
 * `init_task`).
 */
import { Io, type Routine } from "../io/index.js";
import type { LinuxKernel } from "./kernel.js";
import type { Kallsyms } from "./symbols/kallsyms.js";
import { KallsymsError } from "./symbols/kallsyms-tables.js";
import type { CType } from "./types/c-type.js";
import { type WrittenIsfSymbol, writeIsf } from "./types/isf/write-isf.js";
import { typeNamed } from "./types/type-name.js";
import { TypesError, type TypeTable } from "./types/type-table.js";
import { KNOWN_VARIABLES } from "./variables.js";

/** What is known of a kernel for an ISF file, read. */
export interface KernelIsf {
  /** The file's text, in pieces of some 64 KiB; made as it is taken, once. */
  readonly pieces: Generator<string, void, void>;
  /** What the file will lack, and why. */
  readonly warnings: readonly string[];
}

/** Options of {@link exportIsf}. */
export interface ExportIsfOptions {
  /** Of the program that makes the file, for its metadata. */
  readonly producer?: { readonly name: string; readonly version: string } | undefined;
}

/** Longest banner read; they have some 200 bytes. */
const MAX_BANNER = 1024;

/**
 * Reads a kernel's types, symbols and banner for an ISF file.
 *
 * @throws {TypesError} without types there is nothing to write.
 */
export function exportIsf(kernel: LinuxKernel, options: ExportIsfOptions = {}): Io<KernelIsf> {
  return Io.of(kernel.memory.scheduler, exportRoutine, kernel, options);
}

function* exportRoutine(kernel: LinuxKernel, options: ExportIsfOptions): Routine<KernelIsf> {
  const types = yield* kernel.loadTypes();
  const warnings: string[] = [];
  let kallsyms: Kallsyms | undefined;
  try {
    kallsyms = yield* kernel.loadKallsyms();
  } catch (error) {
    if (!(error instanceof KallsymsError)) throw error;
    warnings.push(`only the symbols that VMCOREINFO names are written: ${error.message}`);
  }
  const banner = yield* readBanner(kernel);
  if (banner === undefined) {
    warnings.push("the kernel's banner can't be read: Volatility finds a file by it (linux_banner)");
  }
  const symbols = symbolsOf(kernel, kallsyms, types, banner);
  const producer = options.producer ?? { name: "memtool", version: "" };
  const sources = { symbols: kallsyms === undefined ? "VMCOREINFO" : "kallsyms", types: types.name };
  return { pieces: writeIsf({ types, symbols, producer, sources }), warnings };
}

/** The banner's bytes: its text, a line feed, the NUL behind it. */
function* readBanner(kernel: LinuxKernel): Routine<Uint8Array | undefined> {
  const address = yield* kernel.findAddress("linux_banner");
  if (address === undefined) return undefined;
  const bytes = new Uint8Array(MAX_BANNER);
  const { holes } = yield* kernel.memory.readPartial(address, bytes);
  const end = bytes.indexOf(0);
  const readable = holes[0]?.start ?? bytes.length;
  return end <= 0 || end >= readable ? undefined : bytes.subarray(0, end + 1);
}

function* symbolsOf(
  kernel: LinuxKernel,
  kallsyms: Kallsyms | undefined,
  types: TypeTable,
  banner: Uint8Array | undefined,
): Generator<WrittenIsfSymbol, void, void> {
  const isLinked = linker(kernel, kallsyms);
  const char = typeOf(types, `char[${banner?.length ?? 0}]`);
  for (const { name, address } of kallsyms ?? []) yield written(name, address);
  // Behind those of the table, so that these do not take the place of one with a type.
  for (const [name, address] of kernel.named) yield written(name, address);

  function written(name: string, address: bigint): WrittenIsfSymbol {
    const linked = isLinked(address);
    if (name === "linux_banner" && banner !== undefined) {
      return { name, address: linked, type: char, constantData: banner };
    }
    const known = Object.hasOwn(KNOWN_VARIABLES, name) ? KNOWN_VARIABLES[name] : undefined;
    return { name, address: linked, type: known === undefined ? undefined : typeOf(types, known) };
  }
}

/** The type of a name, if the kernel has it. */
function typeOf(types: TypeTable, name: string): CType | undefined {
  try {
    return typeNamed(types, name);
  } catch (error) {
    if (error instanceof TypesError) return undefined;
    throw error;
  }
}

/** Takes off what KASLR added, of addresses in the image: per-CPU variables have offsets for addresses, which it does not move. */
function linker(kernel: LinuxKernel, kallsyms: Kallsyms | undefined): (address: bigint) => bigint {
  const { kaslrOffset } = kernel;
  if (kaslrOffset === 0n) return (address) => address;
  let lowest: bigint | undefined;
  for (const name of ["_text", "_stext"]) {
    const address = kallsyms?.symbol(name)[0]?.address ?? kernel.named.get(name);
    if (address !== undefined && (lowest === undefined || address < lowest)) lowest = address;
  }
  const from = lowest ?? kaslrOffset;
  return (address) => (address >= from ? address - kaslrOffset : address);
}
