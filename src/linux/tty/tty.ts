/**
 * Terminals that are open, whose they are, and who reads from them: a line discipline's receive function is a place for keyloggers.
 *
 * They are found by their drivers' tables, by the terminals of sessions, and by open files: pseudo-terminals are in no table, as their
 * file system keeps them.
 *
 * Facts: include/linux/tty.h (`struct tty_struct`, `tty_file_private`), include/linux/tty_ldisc.h, drivers/tty/tty_io.c
 * (`tty_add_file`: `private_data` of a file is a `tty_file_private` that names the file; `tty_line_name`; `tty_devnum`),
 * drivers/tty/tty_buffer.c and include/linux/tty_ldisc.h (`receive_buf2` is called if there is one, else `receive_buf`),
 * include/linux/sched/signal.h (`signal_struct.tty`), include/linux/pid.h.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { Descriptors } from "../files/file.js";
import { fileType } from "../files/file-flags.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { readWhole } from "../objects/read-each.js";
import { int, maybe, record, text, type Values, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { readTasks, type Task } from "../tasks/task.js";
import { readTtyDrivers, type TtyDriver } from "./tty-driver.js";

const TTY = record("tty_struct", {
  driver: word("driver"),
  index: int("index"),
  discipline: word("ldisc"),
  name: text("name"),
  count: int("count"),
  rows: int("winsize.ws_row"),
  columns: int("winsize.ws_col"),
  // In a structure since 5.14.
  foreground: word("ctrl.pgrp", "pgrp"),
  session: word("ctrl.session", "session"),
  link: word("link"),
});
const DISCIPLINE = record("tty_ldisc", { ops: word("ops") });
const DISCIPLINE_OPS = record("tty_ldisc_ops", {
  name: word("name"),
  // The first number in the structure since 5.14; before, the table of them told it.
  number: maybe(int("num")),
  receive: word("receive_buf"),
  receive2: maybe(word("receive_buf2")),
});
const PID = record("pid", { number: int("numbers[0].nr") });
const SIGNAL = record("signal_struct", { tty: word("tty") });
const FILE = record("file", { inode: word("f_inode"), privateData: word("private_data") });
const INODE = record("inode", { mode: int("i_mode") });
const FILE_PRIVATE = record("tty_file_private", { tty: word("tty"), file: word("file") });

/** Pointers of a driver's table that are read at once. */
const PIECE = 4096;
/** Terminals of a driver that are looked at: there are no more minors. */
const MAX_TTYS = 1 << 20;
/** Pointers of all drivers' tables. */
const MAX_POINTERS = 1 << 22;
/** Terminals in all. */
const MAX_FOUND = 1 << 16;
const MAX_NAME = 64;

/** A descriptor of a terminal. */
export interface TtyUser {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly fd: number;
}

/** A terminal that is open. What could not be read of it is `undefined`. */
export interface Tty {
  /** Address of its `struct tty_struct`. */
  readonly address: bigint;
  /** As in /dev: "tty1", "ttyS0", "pts/0"; "ptm0" for the master of pts/0, whose file is /dev/ptmx. */
  readonly name: string | undefined;
  /** Among its driver's. */
  readonly index: number | undefined;
  /** Its driver; `undefined` if that is none that the kernel lists. */
  readonly driver: TtyDriver | undefined;
  readonly major: number | undefined;
  readonly minor: number | undefined;
  /** Process number of the session that it controls; null for none. */
  readonly session: number | null | undefined;
  /** Name of the session's leader; null if that is gone. */
  readonly sessionComm: string | null | undefined;
  /** Number of the process group in the foreground. */
  readonly foreground: number | null | undefined;
  /** The line discipline: "n_tty"; null for one without a name or of a terminal that is being closed. */
  readonly discipline: string | null | undefined;
  /** Its number (N_TTY is 0); `undefined` too before Linux 5.14. */
  readonly disciplineNumber: number | undefined;
  /** The function that receives what comes in. */
  readonly receiveAddress: bigint | undefined;
  /** That function's symbol, with its module in brackets; null if no symbol begins there, which it should. */
  readonly receive: string | null | undefined;
  /** How often it is open. */
  readonly count: number | undefined;
  /** Of the window, in characters; 0 for what nobody has set. */
  readonly rows: number | undefined;
  readonly columns: number | undefined;
  /** Address of the other end of a pseudo-terminal; 0 for others. */
  readonly link: bigint | undefined;
  /** Descriptors of processes (those of their first threads) that lead here. */
  readonly users: readonly TtyUser[];
}

/** Options of {@link listTtys}. */
export interface TtyOptions extends DamageOptions {
  /** Only those that this process has open. */
  readonly pid?: number | undefined;
}

/** Terminals that are open, ascending by device number. */
export function listTtys(kernel: LinuxKernel, options: TtyOptions = {}): IoSequence<Tty> {
  return IoSequence.of(kernel.memory.scheduler, ttysRoutine, kernel, options);
}

function* ttysRoutine(sink: Sink<Tty>, kernel: LinuxKernel, options: TtyOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const { pid } = options;
  for (const tty of yield* readAllTtys(data, log.report)) {
    if (pid === undefined || tty.users.some((user) => user.pid === pid)) yield sink.emit(tty);
  }
  log.end();
}

/** All of them. @internal */
export function* readAllTtys(data: KernelData, report: OnDamage): Routine<Tty[]> {
  const drivers = yield* readTtyDrivers(data, report);
  const tasks = yield* readTasks(data, {}, report);
  const users = yield* readUsers(data, tasks, report);
  const addresses = new Set<bigint>(users.keys());
  // Each has its own table: many that lead to one, or behind each other's, would be read as often as they are many.
  const tables = new Set<bigint>();
  let left = MAX_POINTERS;
  for (const driver of drivers) {
    const { ttys, count, name } = driver;
    if (tables.has(ttys)) {
      report(
        damage(`the terminals of driver ${name ?? "?"}`, ttys, "mismatch", 0, "another driver has them"),
      );
      continue;
    }
    if (ttys !== 0n) tables.add(ttys);
    for (const tty of yield* tableOf(data, driver, Math.min(MAX_TTYS, left), report)) addresses.add(tty);
    if (ttys !== 0n) left -= Math.min(count, MAX_TTYS, left);
  }
  for (const tty of yield* controlling(data, tasks, report)) addresses.add(tty);
  const rows = yield* readTtys(data, addresses, report);
  const found = yield* describe(data, rows, drivers, tasks, users, report);
  return found.sort(byDevice);
}

/** Open terminals of a driver's table. */
function* tableOf(
  { memory }: KernelData,
  driver: TtyDriver,
  most: number,
  report: OnDamage,
): Routine<bigint[]> {
  if (driver.ttys === 0n) return [];
  const { pointerSize } = memory;
  const what = `the terminals of driver ${driver.name ?? "?"}`;
  if (driver.count > most) report(damage(what, driver.ttys, "too long", 0, `${driver.count}`));
  const count = Math.min(driver.count, most);
  const found: bigint[] = [];
  for (let at = 0; at < count; at += PIECE) {
    const place = BigInt.asUintN(64, driver.ttys + BigInt(at * pointerSize));
    const size = Math.min(PIECE, count - at) * pointerSize;
    const { bytes, holes } = yield* memory.readPartial(place, size);
    for (const { start, end, fault } of holes) {
      report(damage(what, place + BigInt(start), "unreadable", fault));
      bytes.fill(0, start, end);
    }
    found.push(...pointersIn(memory, bytes).filter((each) => each !== 0n));
    // Nothing of it is there: what is behind it is none either.
    if (holes.reduce((sum, { start, end }) => sum + end - start, 0) === size) break;
  }
  return found;
}

/** The terminals of processes' sessions. */
function* controlling(data: KernelData, tasks: readonly Task[], report: OnDamage): Routine<bigint[]> {
  const signals = yield* readWhole(
    data,
    SIGNAL,
    tasks.map(({ raw }) => raw.signal),
    "a signal_struct",
    report,
  );
  return signals.flatMap((signal) => (signal === undefined || signal.tty === 0n ? [] : [signal.tty]));
}

/** Descriptors that lead to terminals, by the terminal's address. */
function* readUsers(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<Map<bigint, TtyUser[]>> {
  const found = new Map<bigint, TtyUser[]>();
  for (const task of tasks) {
    const descriptors = new Descriptors(data, task, report);
    for (let piece = yield* descriptors.next(); piece !== undefined; piece = yield* descriptors.next()) {
      const ttys = yield* ttysOf(
        data,
        piece.map(({ file }) => file ?? 0n),
        report,
      );
      for (const [i, tty] of ttys.entries()) {
        const fd = piece[i]?.fd;
        if (tty === undefined || typeof fd !== "number") continue;
        const user = { pid: task.pid, comm: task.comm, fd };
        const others = found.get(tty);
        if (others === undefined) found.set(tty, [user]);
        else others.push(user);
      }
    }
  }
  return found;
}

/** The terminals of files; `undefined` for files of anything else. */
function* ttysOf(
  data: KernelData,
  addresses: readonly bigint[],
  report: OnDamage,
): Routine<(bigint | undefined)[]> {
  const files = yield* readWhole(data, FILE, addresses, "a file", report);
  const inodes = yield* readWhole(
    data,
    INODE,
    files.map((file) => file?.inode),
    "an inode",
    report,
  );
  // Other devices keep something else there: what is no address of theirs is nobody's damage.
  const parts = yield* readWhole(
    data,
    FILE_PRIVATE,
    files.map((file, i) => {
      const inode = inodes[i];
      return inode !== undefined && fileType(inode.mode) === "chr" ? file?.privateData : undefined;
    }),
    "a file's terminal",
    () => {},
  );
  return parts.map((part, i) =>
    part !== undefined && part.file === addresses[i] && part.tty !== 0n ? part.tty : undefined,
  );
}

interface TtyRow {
  readonly address: bigint;
  readonly partial: Partial<Values<typeof TTY.fields>>;
}

/** The terminals, and the other ends of those that are pseudo-terminals. */
function* readTtys(
  { types, memory }: KernelData,
  addresses: ReadonlySet<bigint>,
  report: OnDamage,
): Routine<TtyRow[]> {
  const layout = TTY.on(types);
  const seen = new Set<bigint>();
  const found: TtyRow[] = [];
  let next = [...addresses];
  while (next.length > 0) {
    if (seen.size + next.length > MAX_FOUND) {
      report(damage("a terminal", next[0] as bigint, "too long", 0, `more than ${MAX_FOUND} terminals`));
      next = next.slice(0, MAX_FOUND - seen.size);
    }
    for (const each of next) seen.add(each);
    const rows = yield* layout.read(memory, next);
    const links = new Set<bigint>();
    for (const { address, partial, fault } of rows) {
      if (fault !== 0) report(damage("a terminal", address, "unreadable", fault));
      if (Object.keys(partial).length > 0) found.push({ address, partial });
      const { link = 0n } = partial;
      if (link !== 0n && !seen.has(link)) links.add(link);
    }
    next = [...links];
  }
  return found;
}

function* describe(
  data: KernelData,
  rows: readonly TtyRow[],
  drivers: readonly TtyDriver[],
  tasks: readonly Task[],
  users: ReadonlyMap<bigint, readonly TtyUser[]>,
  report: OnDamage,
): Routine<Tty[]> {
  const byAddress = new Map(drivers.map((driver) => [driver.address, driver]));
  const names = new Map(tasks.map(({ pid, comm }) => [pid, comm]));
  const sessions = yield* numbersOf(
    data,
    rows.map(({ partial }) => partial.session),
    report,
  );
  const groups = yield* numbersOf(
    data,
    rows.map(({ partial }) => partial.foreground),
    report,
  );
  const disciplines = yield* disciplinesOf(
    data,
    rows.map(({ partial }) => partial.discipline),
    report,
  );
  return rows.map(({ address, partial }, i) => {
    const driver = partial.driver === undefined ? undefined : byAddress.get(partial.driver);
    if (partial.driver !== undefined && driver === undefined) {
      report(damage("a terminal", address, "invalid", 0, "its driver is none of the kernel's list"));
    }
    const { index } = partial;
    const session = sessions[i];
    const minor = driver === undefined || index === undefined ? undefined : driver.minor + index;
    return {
      address,
      name: nameOf(partial.name, index, driver),
      index,
      driver,
      major: driver?.major,
      minor,
      session,
      sessionComm: typeof session !== "number" ? session : names.has(session) ? names.get(session) : null,
      foreground: groups[i],
      ...(disciplines[i] as Discipline),
      count: partial.count,
      rows: partial.rows,
      columns: partial.columns,
      link: partial.link,
      users: users.get(address) ?? [],
    };
  });
}

/** Slaves of pseudo-terminals are in a folder; the kernel calls them "pts0". */
function nameOf(name: string | undefined, index: number | undefined, driver: TtyDriver | undefined) {
  return name === `pts${index}` && driver?.type === "pty:slave" ? `pts/${index}` : name;
}

/** Numbers of `struct pid`s in the first namespace; null for a null pointer. */
function* numbersOf(data: KernelData, pointers: readonly (bigint | undefined)[], report: OnDamage) {
  const rows = yield* readWhole(data, PID, pointers, "a struct pid", report);
  return pointers.map((pointer, i) => (pointer === 0n ? null : rows[i]?.number));
}

type Discipline = Pick<Tty, "discipline" | "disciplineNumber" | "receive" | "receiveAddress">;

function* disciplinesOf(
  data: KernelData,
  pointers: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<Discipline[]> {
  const { kernel, memory } = data;
  const what = "a line discipline";
  const disciplines = yield* readWhole(data, DISCIPLINE, pointers, what, report);
  const ops = yield* readWhole(
    data,
    DISCIPLINE_OPS,
    disciplines.map((each) => each?.ops),
    what,
    report,
  );
  const names = yield* readStrings(
    memory,
    ops.map((each) => each?.name),
    "the name of a line discipline",
    report,
    MAX_NAME,
  );
  const symbols = new Map<bigint, string | null>();
  const found: Discipline[] = [];
  for (const [i, each] of ops.entries()) {
    const second = each?.receive2 ?? 0n;
    const address = each === undefined ? undefined : second === 0n ? each.receive : second;
    if (address !== undefined && !symbols.has(address)) {
      const named = yield* kernel.nameOf(address);
      const module = named?.module === undefined ? "" : ` [${named.module}]`;
      symbols.set(address, named?.offset === 0n ? `${named.name}${module}` : null);
    }
    found.push({
      discipline: pointers[i] === 0n || each?.name === 0n ? null : names[i],
      disciplineNumber: each?.number,
      receiveAddress: address,
      receive: address === undefined ? undefined : symbols.get(address),
    });
  }
  return found;
}

function byDevice(a: Tty, b: Tty): number {
  return (
    (a.major ?? Infinity) - (b.major ?? Infinity) ||
    (a.minor ?? Infinity) - (b.minor ?? Infinity) ||
    (a.address < b.address ? -1 : 1)
  );
}
