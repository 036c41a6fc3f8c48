import { type ConfigOption, readKernelConfig } from "../../src/linux/index.js";
import { matchesGlob } from "../../src/linux/names.js";
import { statusOf } from "../errors.js";
import { escapeText, toJson } from "../render/escape.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary } from "./listing.js";

const PREFIX = "CONFIG_";

/** `memtool config`. */
export const CONFIG: KernelCommand = {
  name: "config",
  description: "the configuration that the kernel was built with, where it holds it (CONFIG_IKCONFIG)",
  arguments: [["[name...]", "options, such as SMP, CONFIG_SMP or 'BPF*' (default: the whole text)"]],
  isNoList: true,
  examples: ["config", "config SMP 'BPF*'"],
  async run({ session, kernel, args }) {
    const damage = new DamageSummary();
    const { text, options } = await readKernelConfig(kernel, { onDamage: damage.add });
    const isAll = args.length === 0;
    const found = options.filter(({ name }) => isAll || args.some((each) => isMatch(each, name)));
    for (const line of linesOf(session.options.json === true, isAll ? text : undefined, found)) {
      session.out.text(`${line}\n`);
      await session.out.settle();
    }
    // (An option that is not in the text can't be set: some other that it depends on is not.)
    if (found.length === 0) session.warn(isAll ? "it holds no options" : "no option has such a name");
    damage.report(session);
    return statusOf(found.length > 0, found.length === 0 || damage.count > 0);
  },
};

function linesOf(json: boolean, text: string | undefined, found: readonly ConfigOption[]): string[] {
  if (json) return found.map(({ name, value }) => toJson({ name, value }));
  return (text?.trimEnd().split("\n") ?? found.map(({ line }) => line)).map(escapeText);
}

function isMatch(pattern: string, name: string): boolean {
  return matchesGlob(pattern, name) || matchesGlob(pattern, name.slice(PREFIX.length));
}
