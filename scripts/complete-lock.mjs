// Completes package-lock.json after `npm install` against a registry that carries only some platforms' packages. npm
// then leaves out the optional packages it can't look up, and `npm ci` refuses the lock. What the lock needs of a
// package for another platform is its name, its exact version (its parent has it) and its platform (its name has it).
// Also fails where the lock names the host that a package came from.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * @typedef {{ version?: string, resolved?: string, dev?: boolean, optional?: boolean, os?: string[], cpu?: string[],
 *   libc?: string[], optionalDependencies?: Record<string, string> }} Entry
 */

const path = fileURLToPath(new URL("../package-lock.json", import.meta.url));
/** @type {{ packages: Record<string, Entry> }} */
const lock = JSON.parse(readFileSync(path, "utf8"));
const SYSTEMS = [
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32",
];

/** @param {string} name @returns {Pick<Entry, "os" | "cpu" | "libc">} */
function platformOf(name) {
  const words = name.split("/").at(-1)?.split("-") ?? [];
  const at = words.findIndex((word) => SYSTEMS.includes(word));
  const [os, cpu] = words.slice(at);
  if (at < 0 || os === undefined || cpu === undefined) return {};
  const libc = words.some((word) => word.startsWith("musl"))
    ? { libc: ["musl"] }
    : words.includes("gnu") || words.some((word) => word.startsWith("gnueabi"))
      ? { libc: ["glibc"] }
      : {};
  return { cpu: [cpu === "riscv64gc" ? "riscv64" : cpu], os: [os], ...(os === "linux" ? libc : {}) };
}

/** @param {string} parent @param {string} name */
function isPresent(parent, name) {
  for (let folder = parent; ; folder = folder.slice(0, folder.lastIndexOf("/node_modules/"))) {
    if (lock.packages[`${folder}/node_modules/${name}`] !== undefined) return true;
    if (!folder.includes("/node_modules/")) return lock.packages[`node_modules/${name}`] !== undefined;
  }
}

const added = [];
for (const [parent, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isPresent(parent, name)) continue;
    const platform = platformOf(name);
    if (!/^\d+\.\d+\.\d+$/.test(version) || platform.os === undefined) {
      throw new Error(`${parent} needs ${name}@${version}, whose version or platform can't be told`);
    }
    const { cpu, os, libc } = platform;
    const dev = entry.dev ? { dev: true } : {};
    const parts = { version, ...(cpu && { cpu }), ...dev, ...(libc && { libc }), optional: true, os };
    lock.packages[`node_modules/${name}`] = parts;
    added.push(`${name}@${version}`);
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
);
const hosts = Object.entries(lock.packages).filter(([, { resolved }]) => resolved !== undefined);
if (hosts.length > 0)
  throw new Error(`set omit-lockfile-registry-resolved: ${hosts.length} entries name a host`);
if (added.length > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
console.log(added.length > 0 ? `added ${added.join(", ")}` : "package-lock.json is complete");
