/**
 * Which hooks are those of nf_tables' chains, and the names of these.
 *
 * Facts: include/linux/netfilter.h (`enum nf_hook_ops_type`), include/net/netfilter/nf_tables.h (`nft_base_chain`, `nft_chain_type`),
 * net/netfilter/nf_tables_api.c (`nft_basechain_hook_init`: `priv` is the chain, and the function that of the chain's type for the
 * number of the hook), net/netfilter/nfnetlink_hook.c for what `nft list hooks` shows.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { readWhole } from "../objects/read-each.js";
import { hasStruct, int, offsetOf, place, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { TypesError, type TypeTable } from "../types/type-table.js";
import { dataOfPart } from "./module-parts.js";

const BASE = record("nft_base_chain", {
  type: word("type"),
  number: int("ops.hooknum"),
  table: word("chain.table"),
  name: word("chain.name"),
});
const TYPE = record("nft_chain_type", { hooks: place("hooks") });
const TABLE = record("nft_table", { name: word("name") });

const MODULE = "nf_tables";
/** Hooks of a type of chains: NFT_MAX_HOOKS is 6. */
const MAX_HOOKS = 16;
/** Names are cut there: NFT_NAME_MAXLEN is 256. */
const MAX_NAME = 256;

/** What is known of a hook. */
export interface HookParts {
  readonly handler: bigint | undefined;
  readonly priv: bigint | undefined;
  /** Whose code its function is; null for the kernel's own. */
  readonly module: string | null | undefined;
  /** `nf_hook_ops.hook_ops_type`; `undefined` before Linux 5.14, too. */
  readonly type: number | undefined;
}

/** A hook's chain and the chain's table: null where it is no chain's, `undefined` where that can't be read. */
export interface HookChain {
  readonly table: string | null | undefined;
  readonly chain: string | null | undefined;
}

const NONE: HookChain = { table: null, chain: null };
const UNKNOWN: HookChain = { table: undefined, chain: undefined };

/** The chains of hooks. */
export function* readHookChains(
  data: KernelData,
  hooks: readonly HookParts[],
  report: OnDamage,
): Routine<HookChain[]> {
  const kinds = hooks.map((hook) => kindOf(data.types, hook));
  if (!kinds.some((kind) => kind === "chain" || kind === "unknown")) {
    return kinds.map((kind) => (kind === "none" ? NONE : UNKNOWN));
  }
  let isTold = false;
  const own = yield* dataOfPart(data, MODULE, BASE.struct, (found) => {
    isTold = true;
    report(found);
  });
  if (own === undefined) {
    if (!isTold)
      report(damage(`module ${MODULE}`, 0n, "unreadable", 0, "hooks are its chains', but it is not listed"));
    return kinds.map((kind) => (kind === "none" ? NONE : UNKNOWN));
  }
  try {
    return yield* chainsOf(own, hooks, kinds, report);
  } catch (error) {
    if (!(error instanceof TypesError)) throw error;
    // (Before 4.17, nf_tables had other structures.)
    if (kinds.includes("chain")) report(damage(`module ${MODULE}`, 0n, "invalid", 0, error.message));
    return kinds.map((kind) => (kind === "none" ? NONE : UNKNOWN));
  }
}

/** @throws {TypesError} if nf_tables' structures lack a member. */
function* chainsOf(
  own: KernelData,
  hooks: readonly HookParts[],
  kinds: readonly HookKind[],
  report: OnDamage,
): Routine<HookChain[]> {
  const { types, memory } = own;
  const toBase = BigInt(offsetOf(types, BASE.struct, "chain"));
  const basesOf = function* (kind: HookKind, told: OnDamage) {
    const places = hooks.map(({ priv }, i) =>
      kinds[i] !== kind || priv === undefined ? undefined : BigInt.asUintN(64, priv - toBase),
    );
    return yield* readWhole(own, BASE, places, "an nft_base_chain", told);
  };
  const sure = yield* basesOf("chain", report);
  // (Of what may be something else, nothing is damage.)
  const maybe = yield* basesOf("unknown", () => {});
  const functions = yield* functionsOf(own, maybe);
  const bases = hooks.map(({ handler }, i) => {
    const isOwn = handler !== undefined && functions[i] === handler;
    return sure[i] ?? (isOwn ? maybe[i] : undefined);
  });
  const tables = yield* readWhole(
    own,
    TABLE,
    bases.map((base) => base?.table),
    "an nft_table",
    report,
  );
  const names = yield* readStrings(
    memory,
    bases.map((base) => base?.name),
    "the name of a chain",
    report,
    MAX_NAME,
  );
  const tableNames = yield* readStrings(
    memory,
    tables.map((table) => table?.name),
    "the name of a table",
    report,
    MAX_NAME,
  );
  return kinds.map((kind, i) =>
    kind === "unreadable"
      ? UNKNOWN
      : bases[i] === undefined && kind !== "chain"
        ? NONE
        : { table: tableNames[i], chain: names[i] },
  );
}

/** "unknown" for what its chain must tell, "unreadable" where nothing is left that could. */
type HookKind = "chain" | "none" | "unknown" | "unreadable";

/** Whether a hook is a chain's, as far as it tells itself. */
function kindOf(types: TypeTable, { handler, priv, module, type }: HookParts): HookKind {
  const kinds = types.find("enum", "nf_hook_ops_type");
  if (kinds?.kind === "enum" && type !== undefined) {
    return BigInt(type) === kinds.constant("NF_HOOK_OP_NF_TABLES") ? "chain" : "none";
  }
  if (priv === 0n) return "none";
  if (handler === undefined || priv === undefined) return "unreadable";
  if (module === MODULE) return "chain";
  return module === null && hasStruct(types, BASE.struct) ? "unknown" : "none";
}

/** The functions that the types of chains have for their hooks. */
function* functionsOf(
  data: KernelData,
  bases: readonly ({ readonly type: bigint; readonly number: number } | undefined)[],
): Routine<(bigint | undefined)[]> {
  const { memory } = data;
  const pointers = bases.map((base) => base?.type);
  const types = yield* readWhole(data, TYPE, pointers, "an nft_chain_type", () => {});
  const places: bigint[] = [];
  const owners: number[] = [];
  for (const [i, type] of types.entries()) {
    const number = bases[i]?.number ?? 0;
    if (type === undefined || number >= MAX_HOOKS) continue;
    owners.push(i);
    places.push(BigInt.asUintN(64, type.hooks + BigInt(number * memory.pointerSize)));
  }
  const gathered = yield* memory.gather(places, memory.pointerSize);
  const words = pointersIn(memory, gathered.bytes);
  const found = new Array<bigint | undefined>(bases.length);
  for (const [k, i] of owners.entries()) if (gathered.faultOf(k) === 0) found[i] = words[k];
  return found;
}
