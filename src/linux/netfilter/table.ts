/** Tables of rules: nf_tables' and x_tables'. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { needNetworkNamespaces } from "../net/net-namespaces.js";
import { DamageLog, type DamageOptions } from "../objects/damage.js";
import { readWhole } from "../objects/read-each.js";
import { int, record } from "../objects/record.js";
import { type NetfilterChain, readNfTables } from "./nf-tables.js";
import { readXTables } from "./x-tables.js";

const NET = record("net", { inode: int("ns.inum", "proc_inum") });

interface TableCommon {
  /** Inode number of its network namespace. */
  readonly namespace: number | undefined;
  /** "ipv4", "ipv6", "inet", "arp", "bridge", "netdev". */
  readonly family: string;
  readonly name: string | undefined;
  /** Address of its structure. */
  readonly address: bigint;
}

/** A table of `nft`. */
export interface NfTable extends TableCommon {
  readonly system: "nf_tables";
  readonly chains: readonly NetfilterChain[];
}

/** A table of `iptables-legacy` and its like: "filter", "nat". */
export interface XTable extends TableCommon {
  readonly system: "x_tables";
  /** Names of its hooks. */
  readonly hooks: readonly string[];
  /** Bytes of its entries. */
  readonly size: number | undefined;
  /** Number of them: rules, policies of chains, and the end. */
  readonly entries: number | undefined;
}

/** A table of rules. What could not be read of it is `undefined`; `OnDamage` was told why. */
export type NetfilterTable = NfTable | XTable;

/** Tables of every network namespace: nf_tables', since Linux 4.17, then x_tables'. Empty where neither is loaded. */
export function listNetfilterTables(
  kernel: LinuxKernel,
  options: DamageOptions = {},
): IoSequence<NetfilterTable> {
  return IoSequence.of(kernel.memory.scheduler, tablesRoutine, kernel, options);
}

function* tablesRoutine(
  sink: Sink<NetfilterTable>,
  kernel: LinuxKernel,
  options: DamageOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const nets = yield* needNetworkNamespaces(data, log.report);
  const rows = yield* readWhole(data, NET, nets, "a network namespace", log.report);
  for (const { namespace, ...table } of yield* readNfTables(data, nets, log.report)) {
    yield sink.emit({ system: "nf_tables", namespace: rows[namespace]?.inode, ...table });
  }
  for (const { namespace, ...table } of yield* readXTables(data, nets, log.report)) {
    yield sink.emit({ system: "x_tables", namespace: rows[namespace]?.inode, ...table });
  }
  log.end();
}
