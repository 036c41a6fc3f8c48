/** Folders of the user's own, for what is kept. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";

/** Makes folders in each other, one by one: Node's own way to do so never ends below /proc (24.21). */
export function makeFolder(base: string, names: readonly string[]): string {
  let folder = base;
  for (const name of names) {
    folder = join(folder, name);
    try {
      mkdirSync(folder, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  return folder;
}
