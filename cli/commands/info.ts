import type { Machine, MachinePaging } from "../../connectors/connectors.js";
import type { DumpImage, DumpNotes } from "../../src/formats/index.js";
import { MemtoolError } from "../../src/io/index.js";
import { KallsymsError, type LinuxKernel } from "../../src/linux/index.js";
import type { PhysicalMap } from "../../src/memory/index.js";
import { GuestMemory } from "../../src/paging/index.js";
import { describeError, EXIT } from "../errors.js";
import { checkPicturePath } from "../picture-file.js";
import { processOf } from "../process-pages.js";
import { totalsFields } from "../render/coverage.js";
import { escapeText, toJson } from "../render/escape.js";
import { bytesText, hex, hex16 } from "../render/numbers.js";
import { fields, table } from "../render/table.js";
import type { Session } from "../session.js";
import { ramOf, readExtent, totalsOf } from "../totals.js";
import { writeWhole } from "../write-file.js";
import { coveragePicture } from "./coverage.js";

/** Rows that a table shows; `--json` has more. */
const SHOWN = 32;
/** Ranges in one JSON object, so that it stays one that programs can take. */
const JSON_RANGES = 65_536;

/** Options as the command line has them. */
export interface InfoCommandOptions {
  readonly svg?: string;
}

/** `memtool info`. @returns the exit status. */
export async function info(session: Session, { svg }: InfoCommandOptions = {}): Promise<number> {
  const { out, options } = session;
  if (svg !== undefined) checkPicturePath(session, svg);
  const facts = await collect(session);
  if (svg !== undefined) {
    writeWhole(
      svg,
      coveragePicture(session, await readExtent(session.machine), undefined, pictured(facts)).svg,
    );
  }
  if (options.json === true) out.text(`${toJson(facts)}\n`);
  else out.text(infoText(facts, session.environment.style.heading));
  return EXIT.ok;
}

/** A range of physical addresses, `end` exclusive. */
interface RangeFacts {
  readonly start: string;
  readonly end: string;
  readonly state: string;
  readonly reason?: string;
}

/** What `info --json` prints. Addresses are strings, sizes numbers of bytes. */
export interface InfoFacts {
  readonly target: string;
  readonly format: string;
  readonly description?: string;
  /** Bytes of its files together. */
  readonly size?: number;
  readonly architecture?: string;
  readonly ranges?: readonly RangeFacts[];
  /** How many ranges there are, where `ranges` does not have all. */
  readonly rangeCount?: number;
  /** Bytes of RAM: present and excluded. Absent where the dump can't tell what is excluded from what is no RAM. */
  readonly ram?: number;
  /** Bytes that can be read. */
  readonly present?: number;
  /** Of those present, bytes that the dump marks as zero; absent where it doesn't tell. */
  readonly zero?: number;
  /** Bytes of RAM that the dump left out, by reason. */
  readonly excluded?: Readonly<Record<string, number>>;
  /** Bytes below the last range that are no RAM. */
  readonly outside?: number;
  readonly cpus?: readonly Readonly<Record<string, string | number>>[];
  /** The guest inside that all this is about, in the memory of the target. */
  readonly guest?: GuestFacts;
  /** The format of the page tables, and what says so. */
  readonly paging?: { readonly format: string; readonly source: string };
  readonly kernel?: KernelFacts;
  /** Why there is no kernel. */
  readonly noKernel?: string;
  readonly details?: Readonly<Record<string, string | number | boolean>>;
  /** Where the target is one. */
  readonly process?: ProcessFacts;
  readonly warnings: readonly string[];
}

/** A process and its threads. */
interface ProcessFacts {
  readonly pid: number;
  readonly name: string;
  readonly commandLine: readonly string[];
  readonly threads: readonly { readonly tid: number; readonly name: string; readonly state: string }[];
}

/** How a guest inside was opened: by its nested page tables. */
interface GuestFacts {
  readonly root: string;
  readonly format: string;
  /** What told the format: an EPTP, who asked, or the tables. */
  readonly formatSource: string;
  /** Bytes that they map. */
  readonly mapped: number;
  /** Tables that can't be read. */
  readonly missingTables: number;
  /** Where the guest before lies, if it is a guest itself. */
  readonly host?: GuestFacts;
}

/** The kernel's part of it. */
interface KernelFacts {
  readonly release: string;
  readonly buildId?: string;
  readonly physBase?: string;
  /** Not there for a kernel that was found without VMCOREINFO, which would say it. */
  readonly kaslrOffset?: string;
  readonly root: string;
  /** Whether the root's tables map the kernel's own symbols. */
  readonly verified: boolean;
  readonly found: { readonly vmcoreinfo: string; readonly vmcoreinfoAddress?: string; readonly root: string };
  /** Number of symbols, or why there are none. */
  readonly symbols: number | string;
}

/** Gathers it. */
async function collect(session: Session): Promise<InfoFacts> {
  const { machine } = session;
  const { image, physical, kernel, guest } = machine;
  const warnings = [
    ...(image?.warnings ?? []),
    ...machine.warnings,
    ...machine.remarks,
    ...(guest?.facts.warnings ?? []),
    ...(kernel?.origin.warnings ?? []),
  ];
  const size = machine.format === "virtual" ? {} : { size: machine.size };
  const common = { target: machine.name, format: machine.format, ...size, warnings };
  if (physical === undefined) {
    const ranges = [...machine.source.ranges].map((range) => ({
      start: hex(BigInt(range.start)),
      end: hex(BigInt(range.end)),
      state: "present",
    }));
    return { ...common, ...processFacts(machine), ranges, present: machine.source.ranges.bytes };
  }
  return {
    ...common,
    ...(image === undefined ? {} : { description: image.description }),
    ...(machine.notes === undefined ? {} : notesFacts(machine.notes)),
    ...(image === undefined ? {} : { details: image.details }),
    ...(guest === undefined ? {} : { guest: guestFacts(guest) }),
    ...mapFacts(physical.map),
    ...(image === undefined ? {} : await zeroFacts(image, warnings)),
    ...pagingFacts(machine.paging),
    ...(kernel === undefined ? {} : { kernel: await kernelFacts(kernel) }),
    ...(machine.noKernel === undefined ? {} : { noKernel: machine.noKernel.message }),
  };
}

function processFacts(machine: Machine): Partial<InfoFacts> {
  const process = processOf(machine);
  if (process === undefined) return {};
  const { pid, processName: name, commandLine } = process;
  return { process: { pid, name, commandLine, threads: process.threads() } };
}

function pagingFacts(paging: MachinePaging | undefined): Partial<InfoFacts> {
  return paging === undefined ? {} : { paging: { format: paging.mmu.name, source: paging.source } };
}

function notesFacts({ architecture, cpus }: DumpNotes): Partial<InfoFacts> {
  return {
    ...(architecture === undefined ? {} : { architecture }),
    cpus: cpus.map(({ pid, registers }, i) => ({
      cpu: i,
      ...(pid === undefined ? {} : { pid }),
      ...Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, hex(value)])),
    })),
  };
}

function guestFacts({ root, mmu, formatSource, facts, host }: GuestMemory): GuestFacts {
  const { bytesMapped: mapped, missingTables } = facts;
  const own = { root: hex(root), format: mmu.name, formatSource, mapped, missingTables };
  return host instanceof GuestMemory ? { ...own, host: guestFacts(host) } : own;
}

function mapFacts(map: PhysicalMap): Partial<InfoFacts> {
  const ranges: RangeFacts[] = [];
  for (const { start, end, state, reason } of map.ranges()) {
    if (ranges.length === JSON_RANGES) break;
    ranges.push({ start: hex(start), end: hex(end), state, ...(reason === undefined ? {} : { reason }) });
  }
  const { present, excluded, outside } = totalsOf(map.ranges(), false);
  return {
    ranges,
    ...(map.length > ranges.length ? { rangeCount: map.length } : {}),
    ...("or outside" in excluded ? {} : { ram: ramOf({ present, excluded }) }),
    present,
    excluded,
    outside,
  };
}

/** Reads the whole index of a dump that marks zeros: seconds for hundreds of GiB, and people want to know. */
async function zeroFacts(image: DumpImage, warnings: string[]): Promise<Partial<InfoFacts>> {
  if (image.mapWithZeros === undefined) return {};
  try {
    return { zero: (await image.mapWithZeros()).bytesZero };
  } catch (error) {
    if (!(error instanceof MemtoolError)) throw error;
    warnings.push(`zero pages could not be told from others: ${describeError(error)}`);
    return {};
  }
}

async function kernelFacts(kernel: LinuxKernel): Promise<KernelFacts> {
  const { buildId } = kernel.vmcoreinfo;
  const { vmcoreinfo, vmcoreinfoAddress, root, verified } = kernel.origin;
  let symbols: number | string;
  try {
    symbols = (await kernel.kallsyms()).length;
  } catch (error) {
    if (!(error instanceof KallsymsError)) throw error;
    symbols = describeError(error);
  }
  return {
    release: kernel.release,
    ...(buildId === undefined ? {} : { buildId }),
    ...(kernel.physBase === undefined ? {} : { physBase: signedHex(kernel.physBase) }),
    ...(vmcoreinfo === "none" && !kernel.isKaslrKnown ? {} : { kaslrOffset: hex(kernel.kaslrOffset) }),
    root: hex(kernel.root),
    verified,
    found: {
      vmcoreinfo,
      ...(vmcoreinfoAddress === undefined ? {} : { vmcoreinfoAddress: hex(vmcoreinfoAddress) }),
      root,
    },
    symbols,
  };
}

function signedHex(value: number): string {
  return value < 0 ? `-${hex(-value)}` : hex(value);
}

/** CPUs that a picture names. */
const PICTURED_CPUS = 8;

/** What the picture of a target says beside its memory. */
function pictured(facts: InfoFacts): (readonly [string, string])[] {
  const { kernel, cpus = [], paging } = facts;
  const counters = cpus.flatMap((cpu) => cpu.rip ?? cpu.eip ?? cpu.pc ?? cpu.nip ?? cpu.psw_addr ?? []);
  const more = counters.length > PICTURED_CPUS ? " …" : "";
  const rows: (readonly [string, string | undefined])[] = [
    ["size", facts.size === undefined ? undefined : bytesText(facts.size)],
    ["architecture", facts.architecture],
    ["page tables", paging === undefined ? undefined : `${paging.format} (${paging.source})`],
    ["kernel", kernel?.release ?? facts.noKernel],
    ["build id", kernel?.buildId],
    ["KASLR offset", kernel?.kaslrOffset],
    ["root", kernel?.root],
    ["symbols", kernel === undefined ? undefined : String(kernel.symbols)],
    ["CPUs", cpus.length === 0 ? undefined : String(cpus.length)],
    ["they were at", counters.length === 0 ? undefined : counters.slice(0, PICTURED_CPUS).join(" ") + more],
    ...facts.warnings.slice(0, SHOWN).map((warning) => ["warning", warning] as const),
  ];
  return rows.filter((row): row is readonly [string, string] => row[1] !== undefined);
}

/** The same for people. */
export function infoText(facts: InfoFacts, heading: (text: string) => string = (text) => text): string {
  const { kernel, cpus = [], ranges = [] } = facts;
  const count = facts.rangeCount ?? ranges.length;
  let text = fields([
    ["target", escapeText(facts.target)],
    ["format", escapeText([facts.format, facts.description].filter((part) => part !== undefined).join(": "))],
    ["size", facts.size === undefined ? undefined : bytesText(facts.size)],
    ...processFields(facts.process),
    ["guest inside", facts.guest === undefined ? undefined : guestText(facts.guest)],
    ["architecture", facts.architecture],
    [
      "page tables",
      facts.paging === undefined ? undefined : `${facts.paging.format} (${facts.paging.source})`,
    ],
    ...memoryFields(facts),
  ]);
  if (kernel !== undefined) text += `\n${heading("kernel")}\n${kernelText(kernel)}`;
  if (facts.noKernel !== undefined) text += `\n${escapeText(facts.noKernel)}\n`;
  if (cpus.length > 0) text += `\n${cpuTable(cpus)}`;
  if (facts.process !== undefined) text += `\n${threadTable(facts.process)}`;
  if (ranges.length > 0) {
    const rows = ranges
      .slice(0, SHOWN)
      .map(({ start, end, state, reason }) => [
        hex16(BigInt(start)),
        hex16(BigInt(end)),
        bytesText(BigInt(end) - BigInt(start)),
        reason === undefined || reason === "unknown" ? state : `${state} (${reason})`,
      ]);
    const columns = [
      { title: "START" },
      { title: "END (EXCLUSIVE)" },
      { title: "SIZE", right: true },
      { title: "STATE" },
    ];
    text += `\n${table(columns, rows)}`;
    if (count > SHOWN) text += `and ${count - SHOWN} more ranges (--json has them)\n`;
  }
  const details = Object.entries(facts.details ?? {}).filter(([, value]) => value !== "");
  if (details.length > 0) {
    text += `\n${fields(details.map(([name, value]) => [escapeText(fieldWords(name)), fieldValue(value)]))}`;
  }
  for (const warning of facts.warnings) text += `\nwarning: ${escapeText(warning)}\n`;
  return text;
}

function processFields(process: ProcessFacts | undefined): (readonly [string, string | undefined])[] {
  if (process === undefined) return [];
  const { pid, name, commandLine } = process;
  return [
    ["process", `${pid} ${escapeText(name)}`],
    ["command line", commandLine.length === 0 ? undefined : escapeText(commandLine.join(" "))],
  ];
}

function threadTable({ threads }: ProcessFacts): string {
  const columns = [{ title: "THREAD", right: true }, { title: "STATE" }, { title: "NAME" }];
  const shown = threads.slice(0, SHOWN);
  const rows = shown.map(({ tid, name, state }) => [String(tid), state, escapeText(name)]);
  const more = threads.length > SHOWN ? `and ${threads.length - SHOWN} more threads (--json has them)\n` : "";
  return table(columns, rows) + more;
}

const FORMAT_SOURCES: Readonly<Record<string, string>> = {
  EPTP: "as its EPTP says",
  given: "as asked for",
  tables: "as its tables look",
};

function guestText({ root, format, formatSource, host }: GuestFacts): string {
  const inside = host === undefined ? "" : `, inside that of ${guestText(host)}`;
  return `nested page tables at ${root}, ${format} ${FORMAT_SOURCES[formatSource] ?? ""}${inside}`;
}

type CpuFacts = NonNullable<InfoFacts["cpus"]>[number];

/** By the name of the program counter, as registers are called: the others that are shown beside it. */
const SHOWN_REGISTERS: Readonly<Record<string, readonly string[]>> = {
  rip: ["cr3", "rip", "rsp"],
  eip: ["cr3", "eip", "esp"],
  /** arm64, arm, riscv. */
  pc: ["pc", "sp"],
  /** ppc64: r1 is the stack pointer by its calling convention. */
  nip: ["nip", "r1"],
  /** s390x: so is r15. */
  psw_addr: ["psw_addr", "r15"],
};

/** Where each CPU was; `--json` has all of its registers. */
function cpuTable(cpus: readonly CpuFacts[]): string {
  const counter = Object.keys(SHOWN_REGISTERS).find((name) => cpus.some((cpu) => name in cpu));
  const names = SHOWN_REGISTERS[counter ?? "pc"] as readonly string[];
  const rows = cpus
    .slice(0, SHOWN)
    .map((cpu) => [cpu.cpu, ...names.map((name) => cpu[name] ?? "?")].map(String));
  const columns = [{ title: "CPU", right: true }, ...names.map((name) => ({ title: name.toUpperCase() }))];
  const more = cpus.length > SHOWN ? `and ${cpus.length - SHOWN} more CPUs (--json has them)\n` : "";
  return table(columns, rows) + more;
}

/** What there is of memory, and what became of the rest. */
function memoryFields(facts: InfoFacts): (readonly [string, string | undefined])[] {
  const { present, zero, excluded = {}, outside = 0, ranges = [] } = facts;
  if (present === undefined) return [];
  // The end of the listed ranges is that of all, unless there are more than a JSON object holds.
  const last = facts.rangeCount === undefined ? ranges[ranges.length - 1] : undefined;
  const end = last === undefined ? outside + ramOf({ present, excluded }) : Number(last.end);
  return totalsFields({ present, zero, excluded, outside, end });
}

/** A header field's name for people: `headerVersion` is "header version". Names in capitals stay as they are. */
export function fieldWords(name: string): string {
  return name.replace(
    /([a-z0-9])([A-Z])(?![A-Z])/g,
    (_all, before: string, after: string) => `${before} ${after.toLowerCase()}`,
  );
}

function fieldValue(value: string | number | boolean): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return escapeText(String(value));
}

function kernelText(kernel: KernelFacts): string {
  const { found } = kernel;
  const where = found.vmcoreinfoAddress === undefined ? "" : ` at physical ${found.vmcoreinfoAddress}`;
  const symbols = typeof kernel.symbols === "number" ? `${kernel.symbols}, from kallsyms` : kernel.symbols;
  return fields([
    ["  release", escapeText(kernel.release)],
    ["  build id", kernel.buildId],
    ["  physical base", kernel.physBase],
    ["  KASLR offset", kernel.kaslrOffset],
    ["  root", `${kernel.root} (${found.root}${kernel.verified ? ", maps the kernel" : ", doubtful"})`],
    [
      "  found by",
      found.vmcoreinfo === "note"
        ? "the dump's VMCOREINFO note"
        : found.vmcoreinfo === "scan"
          ? `a scan for VMCOREINFO${where}`
          : "its image, which page tables lead to",
    ],
    ["  symbols", escapeText(symbols)],
  ]);
}
