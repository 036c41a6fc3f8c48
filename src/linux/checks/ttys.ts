/**
 * What terminals' input and output go through: line disciplines and drivers, where keyloggers hook.
 *
 * Facts: drivers/tty/tty_ldisc.c (`tty_ldiscs`, NR_LDISCS), include/linux/tty_ldisc.h (`struct tty_ldisc_ops`), include/linux/tty_driver.h
 * (`struct tty_operations`), drivers/tty/n_tty.c (`n_tty_ops`).
 */
import { symbolAddress } from "../kernel-data.js";
import { damage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { readWhole } from "../objects/read-each.js";
import { record, word } from "../objects/record.js";
import { readAllTtys } from "../tty/tty.js";
import { readTtyDrivers } from "../tty/tty-driver.js";
import type { Check } from "./check.js";

const DRIVER = record("tty_driver", { operations: word("ops") });
const TERMINAL = record("tty_struct", { discipline: word("ldisc"), operations: word("ops") });
const DISCIPLINE = record("tty_ldisc", { operations: word("ops") });
const DISCIPLINE_OPERATIONS = record("tty_ldisc_ops", { receive: word("receive_buf") });
/** Since 2.6.24; later kernels have some more. */
const DISCIPLINES = 30;
/** Of N_TTY. */
const N_TTY = { receive_buf: "n_tty_receive_buf", receive_buf2: "n_tty_receive_buf2", read: "n_tty_read" };

/** @internal */
export const TTYS: Check = {
  name: "tty",
  description: "functions that terminals' input and output go through",
  run: function* (examination) {
    const { data, report } = examination;
    const seen = new Set<bigint>();
    let disciplines = 0;
    const discipline = function* (what: string, at: bigint, isFirst: boolean) {
      if (at === 0n || seen.has(at)) return;
      seen.add(at);
      disciplines++;
      yield* examination.operations(what, "tty_ldisc_ops", at, isFirst ? N_TTY : {});
    };
    const table = yield* symbolAddress(data, "tty_ldiscs");
    if (table === undefined) {
      examination.untold(
        "tty_ldiscs has no symbol: line disciplines are told by the terminals that use them only",
      );
    }
    const pointers = table === undefined ? [] : yield* pointersAt(data.memory, table, DISCIPLINES);
    if (typeof pointers === "number") report(damage("tty_ldiscs", table ?? 0n, "unreadable", pointers));
    else for (const [i, each] of pointers.entries()) yield* discipline(`tty_ldiscs[${i}]`, each, i === 0);
    const drivers = yield* readTtyDrivers(data, report);
    const operations = yield* readWhole(
      data,
      DRIVER,
      drivers.map(({ address }) => address),
      "a driver of terminals",
      report,
    );
    for (const [i, driver] of drivers.entries()) {
      const at = operations[i]?.operations ?? 0n;
      if (at === 0n || seen.has(at)) continue;
      seen.add(at);
      yield* examination.operations(
        `driver ${driver.driverName ?? driver.name ?? "?"}`,
        "tty_operations",
        at,
      );
    }
    const ttys = yield* readAllTtys(data, report);
    const terminals = yield* readWhole(
      data,
      TERMINAL,
      ttys.map(({ address }) => address),
      "a terminal",
      report,
    );
    const own = yield* readWhole(
      data,
      DISCIPLINE,
      terminals.map((each) => each?.discipline),
      "a line discipline",
      report,
    );
    // (What is no such structure is told by that.)
    yield* readWhole(
      data,
      DISCIPLINE_OPERATIONS,
      own.map((each) => each?.operations),
      "a tty_ldisc_ops",
      report,
    );
    for (const [i, { name, discipline: named }] of ttys.entries()) {
      yield* discipline(`line discipline of ${name ?? "?"}`, own[i]?.operations ?? 0n, named === "n_tty");
      const at = terminals[i]?.operations ?? 0n;
      if (at === 0n || seen.has(at)) continue;
      seen.add(at);
      yield* examination.operations(`operations of ${name ?? "?"}`, "tty_operations", at);
    }
    examination.examined(
      `${disciplines} line disciplines, ${drivers.length} drivers, ${ttys.length} terminals`,
    );
  },
};
