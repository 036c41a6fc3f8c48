/** Sees to it that `memtool` and `memtool/…` are found, and that TypeScript is read, whatever imports them in this process. */
import { readFileSync } from "node:fs";
import * as nodeModule from "node:module";
import * as hooks from "./module-hooks.js";

/** To be called once. @param input The script that came on standard input. */
export function hookModules(input?: hooks.HookData["input"]): void {
  const data: hooks.HookData = { entries: entriesOf(), input };
  const { registerHooks } = nodeModule as { registerHooks?: (functions: object) => unknown };
  if (registerHooks === undefined) {
    nodeModule.register(new URL("./module-hooks.js", import.meta.url), { data });
  } else {
    hooks.initialize(data);
    registerHooks({ resolve: hooks.resolve, load: hooks.load });
  }
}

/** What `memtool` and `memtool/…` are, as package.json has it. */
function entriesOf(): Record<string, string> {
  const manifest = new URL("../package.json", import.meta.url);
  const { exports } = JSON.parse(readFileSync(manifest, "utf8")) as {
    exports: Record<string, string | { readonly default: string }>;
  };
  const entries: Record<string, string> = {};
  for (const [name, entry] of Object.entries(exports)) {
    if (typeof entry !== "string")
      entries[name.replace(".", "memtool")] = new URL(entry.default, manifest).href;
  }
  return entries;
}
