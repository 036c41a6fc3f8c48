/** What the build gives commander for `node:child_process` (tsup.config.ts): no command of memtool is a program of its own. */
export function spawn(): never {
  throw new Error("memtool starts no other programs");
}
