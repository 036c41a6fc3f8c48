import { type Banner, readBanner } from "../../src/linux/index.js";
import { escapeText } from "../render/escape.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Banner>[] = [
  { field: "banner", value: ({ banner }) => banner },
  { field: "system", title: "system", value: ({ system }) => system },
  { field: "release", title: "release", value: ({ release }) => release },
  { field: "version", title: "version", value: ({ version }) => version },
  { field: "machine", title: "machine", value: ({ machine }) => machine },
  { field: "hostname", title: "hostname", value: ({ hostname }) => hostname },
  { field: "domain", title: "domain", value: ({ domain }) => domain },
  { field: "commandLine", title: "command line", value: ({ commandLine }) => commandLine },
  { field: "buildId", title: "build id", value: ({ buildId }) => buildId },
];

/** `memtool banner`. */
export const BANNER: KernelCommand = {
  name: "banner",
  description: "what the kernel says of itself: version, names, command line",
  examples: ["banner"],
  async run({ session, kernel }) {
    const damage = new DamageSummary();
    const banner = await readBanner(kernel, { onDamage: damage.add });
    if (session.isForPrograms) return await showList(session, [banner], COLUMNS, damage);
    session.out.text(`${escapeText(banner.banner ?? "?")}\n`);
    for (const { title, value } of COLUMNS) {
      if (title === undefined) continue;
      session.out.text(`${title.padEnd(13)} ${escapeText(String(value(banner) ?? "?"))}\n`);
    }
    return await showList(session, [], COLUMNS, damage);
  },
};
