import { hex, MemtoolError } from "../../io/index.js";

/** A kernel symbol. */
export interface KernelSymbol {
  readonly name: string;
  readonly address: bigint;
  /** nm's letter (`T` global text, `d` local data …); "?" where only VMCOREINFO names the symbol, which has no types. */
  readonly type: string;
  /** The module that it is in, or "bpf", as /proc/kallsyms has it in brackets; absent for the kernel's own. */
  readonly module?: string;
}

/** An address by name: the nearest symbol at or below it. */
export interface NamedAddress extends KernelSymbol {
  /** Bytes from the symbol's address. */
  readonly offset: bigint;
}

/** No symbol has this name, or several do. */
export class SymbolError extends MemtoolError {
  /** The name that was asked for. */
  readonly symbol: string;
  /** `AMBIGUOUS_SYMBOL`: those with the name. `NO_SYMBOL`: those with a similar one. */
  readonly candidates: readonly KernelSymbol[];

  constructor(
    code: "NO_SYMBOL" | "AMBIGUOUS_SYMBOL",
    symbol: string,
    candidates: readonly KernelSymbol[],
    hint?: string,
    what = "kernel symbol",
  ) {
    super(
      code,
      code === "NO_SYMBOL" ? noSymbol(what, symbol, candidates, hint) : ambiguous(symbol, candidates, hint),
    );
    this.symbol = symbol;
    this.candidates = candidates;
  }
}

function noSymbol(
  what: string,
  symbol: string,
  candidates: readonly KernelSymbol[],
  hint: string | undefined,
): string {
  const near =
    candidates.length === 0 ? "" : `; did you mean ${candidates.map(({ name }) => name).join(", ")}?`;
  return `no ${what} "${symbol}"${near}${hint === undefined ? "" : ` (${hint})`}`;
}

/** How many candidates a message lists. */
const LISTED = 16;

function ambiguous(symbol: string, candidates: readonly KernelSymbol[], hint: string | undefined): string {
  const list = candidates
    .slice(0, LISTED)
    .map(
      ({ address, type, module }) => `${hex(address)} (${type}${module === undefined ? "" : ` [${module}]`})`,
    );
  if (candidates.length > LISTED) list.push(`${candidates.length - LISTED} more`);
  return `${candidates.length} symbols are named "${symbol}": ${list.join(", ")}; give one of these addresses${hint === undefined ? "" : `, ${hint}`}`;
}
