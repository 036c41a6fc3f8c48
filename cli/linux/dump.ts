/** `memtool dump`: a process's memory, as a core file or as it is. */
import { type WrittenCore, writeCore } from "../../connectors/connectors.js";
import { MemtoolError } from "../../src/io/index.js";
import { findProcess, listVmas, memoryOfTask, type Vma } from "../../src/linux/index.js";
import { statusOf } from "../errors.js";
import { escapeText, toJson } from "../render/escape.js";
import { bytesText, hex } from "../render/numbers.js";
import { fields } from "../render/table.js";
import { noteSwappedAt } from "../swapped.js";
import type { KernelCommand, KernelContext } from "./command.js";
import { type DumpOptions, dumpOptions } from "./dump-options.js";
import { dumpRaw } from "./dump-raw.js";
import { DamageSummary } from "./listing.js";

/** `memtool dump`. */
export const DUMP: KernelCommand = {
  name: "dump",
  description:
    "writes a process as an ELF core that gdb opens, with its threads' registers and mapped files; or one range of its memory",
  options: [
    ["-o, --output <file>", "the new file (default core.PID; with --format raw, standard output)"],
    ["--vma <address...>", "only the mapped range that holds this address"],
    ["--range <ranges...>", "only what lies in START-END (exclusive) or START+LENGTH, several with commas"],
    ["--format <format>", "elf (a core), or raw: the bytes of --vma or --range one after the other"],
    ["--no-page-cache", "elf: leaves out cached pages of mapped files that the process has not touched"],
    ["--fill <byte>", "raw: writes this byte for each that could not be read"],
    ["--skip-holes", "raw: leaves out what could not be read"],
    ["--sparse", "raw: leaves a hole in the file for what could not be read"],
    ["--force", "replace the file if it is there"],
  ],
  examples: [
    "dump --pid 97 -o guest.core",
    "dump --pid 98 --vma 0x100000040000 --format raw --fill 0 -o range.bin",
  ],
  needsProcess: true,
  isNoList: true,
  check(_args, options) {
    dumpOptions(options);
  },
  async run(context) {
    const options = dumpOptions(context.options);
    const damage = new DamageSummary();
    await context.session.machine.swapTypes();
    const vmas = options.vmas.length === 0 ? [] : await vmasAt(context, options.vmas, damage);
    const ranges = [...vmas, ...options.ranges];
    return options.format === "raw"
      ? await dumpRaw(context, options, ranges, damage)
      : await dumpCore(context, options, ranges, damage);
  },
};

/** The mapped ranges that hold these addresses, each once. @throws {MemtoolError} `NOT_MAPPED` */
async function vmasAt(
  { kernel, pid }: KernelContext,
  addresses: readonly bigint[],
  damage: DamageSummary,
): Promise<Vma[]> {
  const all = await listVmas(kernel, { pid, pages: false, onDamage: damage.add }).toArray();
  const found = addresses.map((address) => {
    const vma = all.find(({ start, end }) => start <= address && address < end);
    if (vma !== undefined) return vma;
    throw new MemtoolError(
      "NOT_MAPPED",
      `process ${pid} has nothing mapped at ${hex(address)} (memtool vmas --pid ${pid} lists its ranges)`,
    );
  });
  return [...new Set(found)];
}

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

async function dumpCore(
  { session, kernel, pid }: KernelContext,
  { output, force, pageCache }: DumpOptions,
  ranges: readonly { readonly start: bigint; readonly end: bigint }[],
  damage: DamageSummary,
): Promise<number> {
  const path = output ?? `core.${pid}`;
  const stop = new AbortController();
  let interrupted = 0;
  const handlers = Object.entries(SIGNALS).map(([name, status]) => {
    const handler = () => {
      interrupted = status;
      stop.abort();
    };
    process.on(name, handler);
    return () => process.off(name, handler);
  });
  let written: WrittenCore;
  try {
    written = await writeCore(session.machine, pid as number, path, {
      force,
      pageCache,
      ranges: ranges.length === 0 ? undefined : ranges,
      signal: stop.signal,
      onDamage: damage.add,
      onProgress: (done) => session.progress("writing", done, Math.max(done, 1)),
    });
  } catch (error) {
    if (interrupted === 0 || !(error instanceof MemtoolError)) throw error;
    session.warn(`interrupted: ${path} was not written`);
    return interrupted;
  } finally {
    for (const off of handlers) off();
  }
  session.clearProgress();
  const { environment, out } = session;
  if (session.options.json === true) out.text(`${toJson(jsonOf(written))}\n`);
  else environment.stderr.write(summaryText(written));
  const swapped = written.holes.get("swapped");
  if (swapped !== undefined)
    await noteSwappedAt(
      session,
      memoryOfTask(kernel, await findProcess(kernel, pid as number)),
      swapped.first,
    );
  damage.report(session);
  const missing = [...written.holes.keys()].some((reason) => reason !== NEVER_THERE);
  return statusOf(written.bytes > 0, missing || damage.count > 0);
}

/** Pages that no process ever touched are no loss. */
const NEVER_THERE = "not-present";

/** What `dump --json` prints. */
function jsonOf({ path, size, allocated, segments, bytes, cached, holes, core }: WrittenCore): object {
  return {
    path,
    pid: core.task.tgid ?? null,
    comm: core.task.comm ?? null,
    size,
    allocated,
    segments,
    bytes,
    cached,
    holes: Object.fromEntries([...holes].map(([reason, hole]) => [reason, hex(hole.bytes)])),
    threads: core.threads.map(({ pid, comm, state, registers, floating }) => ({
      pid: pid ?? null,
      comm: comm ?? null,
      state: state ?? null,
      registers: registers?.from ?? null,
      stale: registers?.stale ?? null,
      floating,
    })),
  };
}

function summaryText(written: WrittenCore): string {
  const { path, size, allocated, segments, bytes, cached, holes, core } = written;
  const { pid, comm } = core.task;
  const lines: (readonly [string, string | undefined])[] = [
    ["wrote", escapeText(path)],
    ["process", escapeText(`${pid ?? "?"} (${comm ?? "?"}), ${threadsText(written)}`)],
    ["size", `${bytesText(size)}${allocated < size ? `, ${bytesText(allocated)} on disk` : ""}`],
    ["memory", `${bytesText(bytes)} in ${segments} segment${segments === 1 ? "" : "s"}`],
    [
      "",
      cached === 0
        ? undefined
        : `${bytesText(cached)} of them cached pages of mapped files, which the process has not touched`,
    ],
  ];
  for (const [i, [reason, hole]] of [...holes].entries()) {
    const more = reason === NEVER_THERE ? " (never touched, given back, or in files on disk)" : "";
    lines.push([i === 0 ? "holes" : "", `${bytesText(hole.bytes)} ${reason}${more}`]);
  }
  return fields(lines);
}

/** How many threads, and of which something is missing. */
function threadsText({ core }: WrittenCore): string {
  const { threads } = core;
  const parts = [`${threads.length} thread${threads.length === 1 ? "" : "s"}`];
  const named = (what: string, some: typeof threads) => {
    if (some.length > 0) parts.push(`${what}: ${some.map(({ pid }) => pid ?? "?").join(" ")}`);
  };
  named(
    "without registers",
    threads.filter(({ registers }) => registers === undefined),
  );
  named(
    "without vector registers, which were in its CPU only",
    threads.filter(({ registers, floating }) => registers?.running === true && !floating),
  );
  named(
    "with registers of its last entry into the kernel",
    threads.filter(({ registers }) => registers?.stale === true),
  );
  return parts.join("; ");
}
