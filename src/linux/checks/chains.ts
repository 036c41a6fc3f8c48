/**
 * Chains of functions that the kernel calls when something happens: of the keyboard, where keyloggers sit, and others.
 *
 * Facts: include/linux/notifier.h (`struct notifier_block`, and the heads of chains), drivers/tty/vt/keyboard.c
 * (`keyboard_notifier_list`), kernel/reboot.c, kernel/notifier.c (`die_chain`), kernel/module/main.c, net/core/dev.c, kernel/panic.c.
 */
import type { Routine } from "../../io/index.js";
import { symbolAddress } from "../kernel-data.js";
import { damage } from "../objects/damage.js";
import { walkChain } from "../objects/list.js";
import { pointersAt } from "../objects/pointers.js";
import { int, offsetOf, record, word } from "../objects/record.js";
import { SymbolError } from "../symbols/symbol.js";
import { type Check, type Examination, ownerName } from "./check.js";

const BLOCK = record("notifier_block", { call: word("notifier_call"), priority: int("priority") });

/** Symbols of chains by the kind of their head. */
const OTHERS: readonly (readonly [string, string])[] = [
  ["reboot_notifier_list", "blocking_notifier_head"],
  ["die_chain", "atomic_notifier_head"],
  ["module_notify_list", "blocking_notifier_head"],
  ["panic_notifier_list", "atomic_notifier_head"],
  ["netdev_chain", "raw_notifier_head"],
  ["inetaddr_chain", "blocking_notifier_head"],
  ["vt_notifier_list", "atomic_notifier_head"],
  ["task_exit_notifier", "blocking_notifier_head"],
  ["munmap_notifier", "blocking_notifier_head"],
];
/** Modules of the kernel's own that hear the keyboard: screen readers (drivers/accessibility). */
const KEYBOARD_MODULES: ReadonlySet<string> = new Set(["speakup", "braille_console"]);

/** @internal */
export const KEYBOARD: Check = {
  name: "keyboard",
  also: ["keyboard-notifiers"],
  description: "functions that are told every key: those of modules and of nobody",
  run: function* (examination) {
    const count = yield* examineChain(
      examination,
      "keyboard_notifier_list",
      "atomic_notifier_head",
      KEYBOARD_MODULES,
    );
    if (count === null) return;
    if (count === undefined) {
      throw new SymbolError("NO_SYMBOL", "keyboard_notifier_list", [], "--symbols System.map names it");
    }
    examination.examined(`keyboard_notifier_list: ${count} functions`);
  },
};

/** @internal */
export const NOTIFIERS: Check = {
  name: "notifiers",
  description: "functions that are told of reboots, oopses, modules, devices: those of nobody",
  run: function* (examination) {
    let named = 0;
    let chains = 0;
    let functions = 0;
    for (const [symbol, head] of OTHERS) {
      const count = yield* examineChain(examination, symbol, head);
      if (count === undefined) continue;
      named++;
      if (count === null) continue;
      chains++;
      functions += count;
    }
    if (named === 0) {
      throw new SymbolError(
        "NO_SYMBOL",
        "reboot_notifier_list",
        [],
        "--symbols System.map names such chains",
      );
    }
    if (chains > 0) examination.examined(`${functions} functions of ${chains} chains`);
  },
};

/** @param known Modules that are expected; without it, any that is listed. @returns how many there are; `undefined` without a symbol, null if it can't be read. */
function* examineChain(
  examination: Examination,
  symbol: string,
  head: string,
  known?: ReadonlySet<string>,
): Routine<number | undefined | null> {
  const { data, report } = examination;
  const at = yield* symbolAddress(data, symbol);
  if (at === undefined) return undefined;
  const first = yield* pointersAt(data.memory, at + BigInt(offsetOf(data.types, head, "head")), 1);
  if (typeof first === "number") {
    report(damage(symbol, at, "unreadable", first));
    examination.untold(`${symbol} is not in the dump, or could not be read`);
    return null;
  }
  const next = offsetOf(data.types, "notifier_block", "next");
  const blocks = yield* walkChain(data.memory, first[0] as bigint, symbol, report, next);
  const rows = yield* BLOCK.on(data.types).read(data.memory, blocks);
  for (const [i, { address, value, fault }] of rows.entries()) {
    if (value === undefined) {
      report(damage(`${symbol}[${i}]`, address, "unreadable", fault));
      continue;
    }
    const code = yield* examination.code(value.call);
    const evidence = [...code.evidence];
    let severity: "notice" | undefined;
    if (
      evidence.length === 0 &&
      known !== undefined &&
      typeof code.owner === "string" &&
      !known.has(code.owner)
    ) {
      severity = "notice";
      evidence.push(`${ownerName(code.owner)} is told every key`);
    }
    yield* examination.see({ what: `${symbol}[${i}]`, address, found: value.call, severity, evidence }, code);
  }
  return rows.length;
}
