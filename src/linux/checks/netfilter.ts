/** Hooks of netfilter whose function is nobody's, or begins nowhere. */
import { eachNetfilterHook } from "../netfilter/hook.js";
import type { Check } from "./check.js";

/** @internal */
export const NETFILTER: Check = {
  name: "netfilter",
  description: "functions that netfilter calls for packets: those of nobody",
  run: function* (examination) {
    let count = 0;
    yield* eachNetfilterHook(examination.data, examination.report, function* (hook) {
      const { handler, family, namespace, ops } = hook;
      count++;
      if (handler === undefined) return;
      const what = `${family} ${hook.hook}${namespace === null ? "" : ` of namespace ${namespace ?? "?"}`}`;
      yield* examination.function(`hook ${what}`, ops ?? 0n, handler);
    });
    examination.examined(`${count} hooks`);
  },
};
