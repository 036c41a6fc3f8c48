/**
 * Drivers of terminals: what /proc/tty/drivers shows.
 *
 * Facts: include/linux/tty_driver.h (`struct tty_driver`, TTY_DRIVER_TYPE_*, the subtypes), drivers/tty/tty_io.c (`tty_drivers`),
 * fs/proc/proc_tty.c (`show_tty_driver`, `show_tty_range`; its lines of /dev/tty, /dev/console, /dev/ptmx and /dev/vc/0 stand for no
 * driver of the list), include/linux/kdev_t.h (MINORBITS).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { findListHead } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import {
  type KernelData,
  kernelData,
  listsFunctionsOnly,
  needSymbol,
  symbolAddress,
} from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { int, offsetOf, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const DRIVER = record("tty_driver", {
  driverName: word("driver_name"),
  name: word("name"),
  nameBase: int("name_base"),
  major: int("major"),
  minor: int("minor_start"),
  count: int("num"),
  type: int("type"),
  subtype: int("subtype"),
  flags: word("flags"),
  ttys: word("ttys"),
});

/** By the number of the type; by that of the subtype then. */
const TYPES: readonly (readonly [string, readonly string[]] | undefined)[] = [
  undefined,
  ["system", ["", "/dev/tty", "vtmaster", "console", ""]],
  ["console", []],
  ["serial", []],
  ["pty", ["", "master", "slave"]],
];
/** Minors of a major. */
const MINORS = 1 << 20;
/** Longest name: no real one has more than some ten characters. */
const MAX_NAME = 64;

/** A driver of terminals. What could not be read of it is `undefined`. */
export interface TtyDriver {
  /** Address of its `struct tty_driver`. */
  readonly address: bigint;
  /** The driver's own name, such as "serial"; null if it has none ("unknown" in /proc/tty/drivers). */
  readonly driverName: string | null | undefined;
  /** Its terminals' names begin with this: "ttyS". */
  readonly name: string | null | undefined;
  /** What is added to a terminal's index for the number in its name. */
  readonly nameBase: number;
  readonly major: number;
  /** The first minor. */
  readonly minor: number;
  /** How many terminals there may be. */
  readonly count: number;
  /** As /proc/tty/drivers has it: "serial", "pty:slave", "type:5.0". */
  readonly type: string;
  /** TTY_DRIVER_*, include/linux/tty_driver.h. */
  readonly flags: bigint;
  /** Address of the pointers to its open terminals; 0 where a file system keeps them (devpts). @internal */
  readonly ttys: bigint;
}

/** Drivers of terminals, the last one registered first, as /proc/tty/drivers has them. */
export function listTtyDrivers(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<TtyDriver> {
  return IoSequence.of(kernel.memory.scheduler, driversRoutine, kernel, options);
}

function* driversRoutine(sink: Sink<TtyDriver>, kernel: LinuxKernel, options: DamageOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  for (const driver of yield* readTtyDrivers(data, log.report)) yield sink.emit(driver);
  log.end();
}

/** @throws {SymbolError} without a list of them. @internal */
export function* readTtyDrivers(data: KernelData, report: OnDamage): Routine<TtyDriver[]> {
  const { types, memory } = data;
  // (Without CONFIG_TTY it is declared only.)
  const layout = DRIVER.onIf(types);
  if (layout === undefined) return [];
  const offset = BigInt(offsetOf(types, "tty_driver", "tty_drivers"));
  const head = (yield* findDriverList(data, offset)) ?? (yield* needSymbol(data, "tty_drivers"));
  const nodes = yield* walkList(memory, head, "the list of drivers of terminals", report);
  const rows = yield* layout.read(
    memory,
    nodes.map((node) => node - offset),
  );
  const found = rows.flatMap(({ address, value, fault }) => {
    if (value !== undefined) return [{ address, value }];
    report(damage("a driver of terminals", address, "unreadable", fault));
    return [];
  });
  const texts = yield* readStrings(
    memory,
    found.flatMap(({ value }) => [value.driverName, value.name]),
    "the name of a driver of terminals",
    report,
    MAX_NAME,
  );
  return found.map(({ address, value }, i) => ({
    address,
    driverName: value.driverName === 0n ? null : texts[2 * i],
    name: value.name === 0n ? null : texts[2 * i + 1],
    nameBase: value.nameBase,
    major: value.major,
    minor: value.minor,
    count: value.count,
    type: typeText(value.type, value.subtype),
    flags: value.flags,
    ttys: value.ttys,
  }));
}

function typeText(type: number, subtype: number): string {
  const known = TYPES[type];
  if (known === undefined) return `type:${type}.${subtype}`;
  const [name, subtypes] = known;
  const more = subtypes[subtype] ?? "";
  return more === "" ? name : `${name}:${more}`;
}

const heads = new WeakMap<LinuxKernel, bigint>();

/** Where kallsyms list functions only, the list is found by its first driver. */
function* findDriverList(data: KernelData, offset: bigint): Routine<bigint | undefined> {
  const { kernel, memory, types } = data;
  const known = (yield* symbolAddress(data, "tty_drivers")) ?? heads.get(kernel);
  if (known !== undefined) return known;
  if (!(yield* listsFunctionsOnly(data))) return undefined;
  const layout = DRIVER.on(types);
  const found = yield* findListHead(memory, kernel.searchRanges, function* (node) {
    const [row] = yield* layout.read(memory, [node - offset]);
    const value = row?.value;
    if (value === undefined || TYPES[value.type] === undefined || value.subtype > 4 || value.subtype < 0)
      return false;
    if (value.major < 1 || value.major > 4095 || value.count < 1 || value.count > MINORS) return false;
    const [name] = yield* readStrings(memory, [value.name], "", () => {}, MAX_NAME);
    return name !== undefined && /^[a-z]\w{1,15}$/i.test(name);
  });
  if (found !== undefined) heads.set(kernel, found);
  return found;
}

/** A range of a driver's device numbers with one major. */
export interface TtyRange {
  readonly major: number;
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

/** The device numbers of a driver, a range for each major: /proc/tty/drivers has a line for each. */
export function ttyRanges({ major, minor, count }: TtyDriver): TtyRange[] {
  const ranges: TtyRange[] = [];
  // (`num` is of 32 bits: damaged, it stands for thousands of majors, and numbers have 12 bits for them.)
  let from = major * MINORS + minor;
  const end = Math.min(from + count, 4096 * MINORS);
  while (from < end) {
    const to = Math.min(end, (Math.floor(from / MINORS) + 1) * MINORS);
    ranges.push({ major: Math.floor(from / MINORS), first: from % MINORS, last: (to - 1) % MINORS });
    from = to;
  }
  return ranges;
}
