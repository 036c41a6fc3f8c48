/**
 * Where kallsyms' tables may lie around its names and tokens, in the orders in which scripts/kallsyms.c has written them
 * (`write_src`):
 * - until Linux 6.3: addresses (or offsets, relative base), num_syms, names, markers, seqs_of_names (since 6.2, 60443c88f3a8),
 *   token_table, token_index;
 * - since 6.4 (404bad70fcf7): num_syms, names, markers, token_table, token_index, addresses (or offsets, relative base),
 *   seqs_of_names; always offsets since 6.11 (64e166099b69), and without a relative base of late (2026).
 * Each begins at a multiple of the pointer's size; where `.align` meant a power of two (arm, arm64, before `.balign`), of 16
 * or 256.
 */
import type { KallsymsTables } from "./kallsyms-tables.js";

/** Names and tokens, once they are found. */
export interface FoundNames {
  readonly count: number;
  readonly numSyms: bigint;
  readonly names: bigint;
  readonly tokenTable: bigint;
  readonly tokenIndex: bigint;
}

/** Bytes that `kallsyms_token_index` has. */
const INDEX_BYTES = 512n;

/** Alignments to try, by the pointer's size. */
export function alignmentsOf(pointerSize: 4 | 8): readonly bigint[] {
  return pointerSize === 8 ? [8n, 256n] : [4n, 16n];
}

/** Every place where the addresses may be, the likeliest form first. */
export function layoutsOf(found: FoundNames, pointerSize: 4 | 8): KallsymsTables[] {
  const { names, numSyms, tokenTable, tokenIndex } = found;
  const common = { names, numSyms, tokenTable, tokenIndex };
  const offsetBytes = BigInt(found.count) * 4n;
  const pointerBytes = BigInt(found.count * pointerSize);
  const layouts: KallsymsTables[] = [];
  for (const align of alignmentsOf(pointerSize)) {
    const up = (value: bigint) => (value + align - 1n) & -align;
    const behind = up(tokenIndex + INDEX_BYTES);
    const base = numSyms - up(BigInt(pointerSize));
    layouts.push(
      { ...common, offsets: behind, relativeBase: up(behind + offsetBytes) },
      { ...common, offsets: base - up(offsetBytes), relativeBase: base },
      { ...common, addresses: behind },
      { ...common, addresses: numSyms - up(pointerBytes) },
      { ...common, offsets: behind },
    );
  }
  const seen = new Set<string>();
  return layouts.filter(({ offsets, relativeBase, addresses }) => {
    const key = `${offsets} ${relativeBase} ${addresses}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
