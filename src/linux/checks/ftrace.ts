/**
 * What is called when functions begin: ftrace, kprobes, tracepoints. Tracing itself is no finding: whose code it calls is.
 *
 * Facts: kernel/trace/ftrace.c (`struct ftrace_page`, `ftrace_pages_start`), include/linux/ftrace.h (`struct dyn_ftrace`),
 * include/linux/tracepoint-defs.h (`struct tracepoint`, `tracepoint_func`; on most architectures pointers to them are offsets of 32 bits
 * from themselves), kernel/kprobes.c.
 */
import type { Routine } from "../../io/index.js";
import { symbolAddress } from "../kernel-data.js";
import { damage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, needStruct, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { SymbolError } from "../symbols/symbol.js";
import { type Check, type Examination, ownerName } from "./check.js";
import { kprobes } from "./kprobes.js";
import { tracedFunctions, traceOps } from "./trace-state.js";

const TRACEPOINT = record("tracepoint", { name: word("name"), functions: word("funcs") });
const FUNCTION = record("tracepoint_func", { func: word("func") });
const MAX_TRACEPOINTS = 1 << 16;
const MAX_FUNCTIONS = 64;
/** Functions that are named. */
const SHOWN = 4;

/** @internal */
export const FTRACE: Check = {
  name: "ftrace",
  description: "what ftrace, kprobes and tracepoints call: code of modules and of nobody",
  run: function* (examination) {
    const hooks = yield* examineOps(examination);
    const probes = yield* examineProbes(examination);
    const points = yield* examineTracepoints(examination);
    if (hooks === undefined && probes === undefined && points === undefined) {
      throw new SymbolError("NO_SYMBOL", "ftrace_ops_list", [], "--symbols System.map names it");
    }
    const parts: string[] = [];
    const told = (count: number | undefined, what: string, symbol: string) => {
      if (count === undefined)
        examination.untold(`${what}: there is no symbol ${symbol}, or it can't be read`);
      else parts.push(`${count} ${what}`);
    };
    told(hooks, "ftrace_ops", "ftrace_ops_list");
    told(probes, "kprobes", "kprobe_table");
    told(points, "functions of tracepoints", "__start___tracepoints_ptrs");
    examination.examined(parts.join(", "));
  },
};

/** Looks at a function that tracing calls. */
function* examineHook(
  examination: Examination,
  what: string,
  address: bigint,
  found: bigint,
  more: string,
): Routine<void> {
  const code = yield* examination.code(found);
  const evidence = [...code.evidence];
  let severity: "notice" | undefined;
  if (evidence.length === 0 && typeof code.owner === "string" && code.owner !== "bpf") {
    severity = "notice";
    evidence.push(`${ownerName(code.owner)} is called${more}`);
  } else if (evidence.length > 0 && more !== "") evidence.push(`it is called${more}`);
  yield* examination.see({ what, address, found, severity, evidence }, code);
}

function* examineOps(examination: Examination): Routine<number | undefined> {
  const { data, report } = examination;
  const ops = yield* traceOps(data, report);
  for (const each of ops ?? []) {
    const functions = yield* tracedFunctions(data, each, report);
    const names: string[] = [];
    for (const address of functions.slice(0, SHOWN))
      names.push((yield* data.kernel.nameOf(address))?.name ?? "?");
    if (functions.length > SHOWN) names.push(`${functions.length - SHOWN} more`);
    const more = names.length === 0 ? "" : ` when these begin: ${names.join(", ")}`;
    yield* examineHook(examination, "ftrace_ops", each.address, each.func, more);
  }
  return ops?.length;
}

function* examineProbes(examination: Examination): Routine<number | undefined> {
  const { data, report } = examination;
  const probes = yield* kprobes(data, report);
  for (const { address, at, pre, post } of probes ?? []) {
    const named = yield* data.kernel.nameOf(at);
    const where = named === undefined ? `0x${at.toString(16)}` : named.name;
    if (pre !== 0n) yield* examineHook(examination, `kprobe of ${where}: before`, address, pre, "");
    if (post !== 0n) yield* examineHook(examination, `kprobe of ${where}: after`, address, post, "");
  }
  return probes?.length;
}

function* examineTracepoints(examination: Examination): Routine<number | undefined> {
  const { data, report } = examination;
  const start = yield* symbolAddress(data, "__start___tracepoints_ptrs");
  const end = yield* symbolAddress(data, "__stop___tracepoints_ptrs");
  if (start === undefined || end === undefined || end < start || !hasStruct(data.types, "tracepoint")) {
    return undefined;
  }
  // (Offsets on 64-bit architectures with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS, which these have, and i386 has too.)
  const count = Number((end - start) / 4n);
  if (count > MAX_TRACEPOINTS) {
    report(damage("the tracepoints", start, "too long", 0, `${count}`));
    return undefined;
  }
  const { bytes, holes } = yield* data.memory.readPartial(start, count * 4);
  if (holes[0] !== undefined) {
    report(damage("the tracepoints", start, "unreadable", holes[0].fault));
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const is32 = data.memory.pointerSize === 4;
  const addresses = Array.from({ length: count }, (_, i) => {
    const value = view.getInt32(4 * i, data.types.littleEndian);
    return BigInt.asUintN(is32 ? 32 : 64, start + BigInt(4 * i + value));
  });
  const points = yield* readEach(data, TRACEPOINT, addresses, "a tracepoint", report);
  const used = points.filter((point) => point?.functions !== undefined && point.functions !== 0n);
  const names = yield* readStrings(
    data.memory,
    used.map((point) => point?.name),
    "the name of a tracepoint",
    report,
    128,
  );
  const size = BigInt(needStruct(data.types, "tracepoint_func").size);
  let functions = 0;
  for (const [i, point] of used.entries()) {
    for (let at = point?.functions ?? 0n, n = 0; ; n++, at += size) {
      if (n === MAX_FUNCTIONS) {
        report(damage(`the functions of tracepoint ${names[i] ?? "?"}`, at, "too long"));
        break;
      }
      const [row] = yield* FUNCTION.on(data.types).read(data.memory, [at]);
      if (row?.value === undefined) {
        report(damage(`the functions of tracepoint ${names[i] ?? "?"}`, at, "unreadable", row?.fault ?? 0));
        break;
      }
      if (row.value.func === 0n) break;
      functions++;
      yield* examineHook(examination, `tracepoint ${names[i] ?? "?"}`, at, row.value.func, "");
    }
  }
  return functions;
}
