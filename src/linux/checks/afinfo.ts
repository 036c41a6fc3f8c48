/**
 * What shows connections in /proc/net: a hook of these functions hides a port from netstat.
 *
 * Facts: net/ipv4/tcp_ipv4.c (`tcp4_seq_ops`) and its likes, fs/proc/internal.h (`struct proc_dir_entry`: `proc_ops`, `seq_ops` or
 * `single_show`, `subdir`), fs/proc/proc_net.c (`proc_net_seq_ops`, `proc_net_single_ops`), fs/proc/generic.c (`proc_seq_ops`,
 * `proc_single_ops`), include/net/net_namespace.h (`proc_net`).
 */
import type { Routine } from "../../io/index.js";
import { symbolAddress } from "../kernel-data.js";
import { needNetworkNamespaces } from "../net/net-namespaces.js";
import { walkRbtree } from "../objects/rbtree.js";
import { readEach, readWhole } from "../objects/read-each.js";
import { hasStruct, int, maybe, offsetOf, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import type { Check, Examination } from "./check.js";

/** Symbol of the operations, by what begins the names of their functions. */
const TABLES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  tcp4_seq_ops: { start: "tcp_seq_start", next: "tcp_seq_next", stop: "tcp_seq_stop", show: "tcp4_seq_show" },
  tcp6_seq_ops: { start: "tcp_seq_start", next: "tcp_seq_next", stop: "tcp_seq_stop", show: "tcp6_seq_show" },
  udp_seq_ops: { start: "udp_seq_start", next: "udp_seq_next", stop: "udp_seq_stop", show: "udp4_seq_show" },
  udp6_seq_ops: { start: "udp_seq_start", next: "udp_seq_next", stop: "udp_seq_stop", show: "udp6_seq_show" },
  raw_seq_ops: { show: "raw_seq_show" },
  raw6_seq_ops: { show: "raw6_seq_show" },
  unix_seq_ops: { show: "unix_seq_show" },
};
/** Entries of /proc/net, by the symbol of the operations that they must have. */
const ENTRIES: Readonly<Record<string, readonly string[]>> = {
  tcp: ["tcp4_seq_ops"],
  tcp6: ["tcp6_seq_ops"],
  udp: ["udp_seq_ops"],
  udp6: ["udp6_seq_ops"],
  udplite: ["udp_seq_ops"],
  udplite6: ["udp6_seq_ops"],
  raw: ["raw_seq_ops"],
  raw6: ["raw6_seq_ops"],
  unix: ["unix_seq_ops"],
};
const NET = record("net", { directory: maybe(word("proc_net")) });
const ENTRY = record("proc_dir_entry", {
  operations: word("proc_ops"),
  show: word("seq_ops"),
  name: word("name"),
  mode: int("mode"),
});
const MAX_NAME = 256;
const SEQUENCE: ReadonlySet<string> = new Set(["proc_net_seq_ops", "proc_seq_ops"]);
const SINGLE: ReadonlySet<string> = new Set(["proc_net_single_ops", "proc_single_ops"]);

/** @internal */
export const AFINFO: Check = {
  name: "afinfo",
  description: "functions that show connections in /proc/net",
  run: function* (examination) {
    const { data } = examination;
    const seen = new Set<bigint>();
    for (const [name, expected] of Object.entries(TABLES)) {
      const at = yield* symbolAddress(data, name);
      if (at === undefined) continue;
      seen.add(at);
      yield* examination.operations(name, "seq_operations", at, expected);
    }
    const tables = seen.size;
    if (tables === 0)
      examination.untold("tcp4_seq_ops and its likes have no symbols: they are told by /proc/net only");
    const entries = yield* examineEntries(examination, seen);
    if (tables + entries > 0)
      examination.examined(`${tables} tables of functions, ${entries} entries of /proc/net`);
  },
};

function* examineEntries(examination: Examination, seen: Set<bigint>): Routine<number> {
  const { data, report } = examination;
  if (!hasStruct(data.types, "proc_dir_entry") || !hasStruct(data.types, "proc_ops")) {
    examination.untold("this kernel's entries of /proc/net are of another kind (before Linux 5.6)");
    return 0;
  }
  const nets = yield* needNetworkNamespaces(data, report);
  const roots = yield* readEach(data, NET, nets, "a network namespace", report);
  const subdir = BigInt(offsetOf(data.types, "proc_dir_entry", "subdir"));
  const node = BigInt(offsetOf(data.types, "proc_dir_entry", "subdir_node"));
  let count = 0;
  const directories = new Set(roots.flatMap((root) => root?.directory ?? []));
  for (const directory of directories) {
    if (directory === 0n) continue;
    const nodes = yield* walkRbtree(data.memory, directory + subdir, "/proc/net", report);
    const addresses = nodes.map((each) => each - node);
    const rows = yield* readWhole(data, ENTRY, addresses, "an entry of /proc/net", report);
    const names = yield* readStrings(
      data.memory,
      rows.map((row) => row?.name),
      "the name of an entry of /proc/net",
      report,
      MAX_NAME,
    );
    for (const [i, row] of rows.entries()) {
      if (row === undefined || (row.mode & 0o170000) !== 0o100000) continue;
      count++;
      yield* examineEntry(
        examination,
        addresses[i] as bigint,
        names[i] ?? "?",
        row.operations,
        row.show,
        seen,
      );
    }
  }
  return count;
}

function* examineEntry(
  examination: Examination,
  address: bigint,
  name: string,
  operations: bigint,
  show: bigint,
  seen: Set<bigint>,
): Routine<void> {
  const { data } = examination;
  const what = `/proc/net/${name}`;
  const place = (member: string) => address + BigInt(offsetOf(data.types, "proc_dir_entry", member));
  if (operations !== 0n && !seen.has(operations)) {
    seen.add(operations);
    yield* examination.operations(`${what}: proc_ops`, "proc_ops", operations);
  }
  const kindAt = yield* data.kernel.nameOf(operations);
  // (Where kallsyms list functions only, nothing names these.)
  const kind = kindAt?.offset === 0n && /_ops$/.test(kindAt.name) ? kindAt.name : "";
  if (SINGLE.has(kind)) yield* examination.function(`${what}: single_show`, place("single_show"), show);
  const wanted = Object.hasOwn(ENTRIES, name) ? ENTRIES[name] : undefined;
  // (Where the image ends, kallsyms of functions only don't say.)
  const knowsImage = (yield* symbolAddress(data, "_end", "__bss_stop")) !== undefined;
  const isSequence = SEQUENCE.has(kind) || (kind === "" && wanted !== undefined);
  if (wanted !== undefined) {
    const named = yield* data.kernel.nameOf(show);
    const evidence: string[] = [];
    if (!isSequence) evidence.push(`its proc_ops are ${kind}, not those of a sequence`);
    else if (
      named !== undefined &&
      named.offset === 0n &&
      /seq_ops/.test(named.name) &&
      !wanted.includes(named.name)
    ) {
      evidence.push(`it is not ${wanted.join(" or ")}`);
    } else if (knowsImage && (yield* examination.homeOf(show)) === undefined) {
      evidence.push("its seq_operations are in memory of neither the kernel nor a listed module");
    }
    yield* examination.see({ what: `${what}: seq_ops`, address: place("seq_ops"), found: show, evidence });
  }
  if (isSequence && show !== 0n && !seen.has(show)) {
    seen.add(show);
    const expected = kind === "" ? TABLES[wanted?.[0] ?? ""] : undefined;
    yield* examination.operations(`${what}: seq_ops`, "seq_operations", show, expected);
  }
}
