/**
 * Tables of x_tables: those of `iptables-legacy` and its like.
 *
 * Facts: include/linux/netfilter/x_tables.h (`xt_table`, `xt_table_info`), include/net/netns/x_tables.h,
 * net/netfilter/x_tables.c (`struct xt_pernet`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { readWhole } from "../objects/read-each.js";
import { hasStruct, int, needStruct, offsetOf, record, text, word } from "../objects/record.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import { dataOfPart, perNamespace } from "./module-parts.js";
import { netfilterFamily, netfilterHook } from "./names.js";

const TABLE = record("xt_table", {
  name: text("name"),
  family: int("af"),
  hooks: int("valid_hooks"),
  info: word("private"),
});
const INFO = record("xt_table_info", { size: int("size"), entries: int("number") });

/** NFPROTO_NUMPROTO is 13 at most. */
const MAX_FAMILIES = 64;
/** NF_INET_NUMHOOKS, with what is no hook of a table. */
const HOOKS = 8;

/** A table of x_tables. */
export interface FoundXTable {
  /** Index of the namespace. */
  readonly namespace: number;
  readonly family: string;
  readonly name: string;
  /** Names of its hooks. */
  readonly hooks: readonly string[];
  /** Bytes of its entries. */
  readonly size: number | undefined;
  /** Number of them: rules, policies and the end. */
  readonly entries: number | undefined;
  readonly address: bigint;
}

/** Tables of namespaces, by family in the kernel's order; none where x_tables is not loaded. */
export function* readXTables(
  kernelData: KernelData,
  nets: readonly bigint[],
  report: OnDamage,
): Routine<FoundXTable[]> {
  const data = yield* dataOfPart(kernelData, "x_tables", "xt_table", report);
  if (data === undefined) return [];
  const { types, memory } = data;
  // Since 5.13 behind `net_generic`.
  const isApart = hasStruct(types, "xt_pernet");
  const places = isApart ? yield* perNamespace(data, "x_tables", "xt_pernet_id", nets, report) : nets;
  const lists = findPlace(needStruct(types, isApart ? "xt_pernet" : "net"), isApart ? "tables" : "xt.tables");
  const array = lists === undefined ? undefined : stripped(lists.type);
  if (lists === undefined || array?.kind !== "array") return [];
  const stride = BigInt(sizeOf(array.element));
  const offset = BigInt(offsetOf(types, "xt_table", "list"));
  const found: FoundXTable[] = [];
  for (const [namespace, at] of places.entries()) {
    if (at === undefined || at === 0n) continue;
    for (let family = 0; family < Math.min(array.count, MAX_FAMILIES); family++) {
      const head = at + BigInt(lists.bitOffset / 8) + BigInt(family) * stride;
      const what = `the tables of ${netfilterFamily(family)}`;
      const tables = (yield* walkList(memory, head, what, report)).map((node) => node - offset);
      const rows = yield* readWhole(data, TABLE, tables, "an xt_table", report);
      const pointers = rows.map((row) => row?.info);
      const infos = yield* readWhole(data, INFO, pointers, "an xt_table_info", report);
      for (const [i, row] of rows.entries()) {
        if (row === undefined) continue;
        const name = netfilterFamily(row.family);
        const hooks = Array.from({ length: HOOKS }, (_, hook) => hook).filter(
          (hook) => (row.hooks >> hook) & 1,
        );
        found.push({
          namespace,
          family: name,
          name: row.name,
          hooks: hooks.map((hook) => netfilterHook(name, hook)),
          size: infos[i]?.size,
          entries: infos[i]?.entries,
          address: tables[i] as bigint,
        });
      }
    }
  }
  return found;
}
