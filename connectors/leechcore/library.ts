/** LeechCore's functions, out of the library that the user has: it is no part of memtool. */
import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectorError } from "../errors.js";
import { type Ffi, type FfiCall, loadFfi, noFfi } from "../ffi.js";

/** The functions, with their pointers as numbers of 64 bits. */
export class LeechCoreLibrary {
  readonly ffi: Ffi;
  readonly path: string;

  constructor(ffi: Ffi, path: string) {
    this.ffi = ffi;
    this.path = path;
  }

  /** A call that can be made again and again: what is in `values` then is passed. `kinds`: `p`ointer or 64 bits (bigint), `b`uffer, `i`nteger. */
  call(funcName: string, kinds: string, values: unknown[], result: "Void" | "I32" | "BigInt"): FfiCall {
    const { I32, BigInt: Pointer, U8Array, Void } = this.ffi.DataType;
    const types: Record<string, number> = { p: Pointer, b: U8Array, i: I32 };
    return {
      library: this.path,
      funcName,
      retType: result === "I32" ? I32 : result === "BigInt" ? Pointer : Void,
      paramsType: [...kinds].map((kind) => types[kind] as number),
      paramsValue: values,
    };
  }

  /** Calls once. @throws if the library has no such function. */
  once(funcName: string, kinds: string, values: unknown[], result: "Void" | "I32" | "BigInt"): unknown {
    return this.ffi.load(this.call(funcName, kinds, values, result));
  }
}

const FILES: Partial<Record<NodeJS.Platform, string>> = {
  linux: "leechcore.so",
  darwin: "leechcore.dylib",
};

/** Where to get it. */
const ADVICE =
  "get LeechCore from github.com/ufrisk/LeechCore (its releases, or make in leechcore/), and name its file with " +
  "the option library=PATH or the variable LEECHCORE_PATH";

/**
 * Loads the library: that of `given`; else that of LEECHCORE_PATH; else one beside the package; else the system's.
 *
 * @param name For messages.
 * @param given Path of the file, or of the folder that holds it.
 * @param load Gets ffi-rs; for tests.
 * @throws {ConnectorError} `NOT_HERE` on a system that is not supported, `NO_FFI`, `NO_LIBRARY`.
 */
export async function loadLeechCore(
  name: string,
  given: string | undefined,
  load?: () => Promise<unknown>,
  platform: NodeJS.Platform = process.platform,
): Promise<LeechCoreLibrary> {
  const file = FILES[platform];
  if (file === undefined || !["x64", "arm64"].includes(process.arch)) {
    throw new ConnectorError(
      "NOT_HERE",
      name,
      `LeechCore is reached on 64-bit Linux (and macOS) only, not on ${platform} (${process.arch})`,
    );
  }
  const path = findLibrary(name, file, given);
  let ffi: Ffi;
  try {
    ffi = await loadFfi(load);
  } catch (cause) {
    throw noFfi(name, "LeechCore", undefined, cause);
  }
  try {
    // It is never unloaded: what is open then would be closed under its users.
    ffi.open({ library: path, path });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const isMissing = path === file;
    throw new ConnectorError(
      "NO_LIBRARY",
      name,
      isMissing ? `there is no ${file} here: ${ADVICE} (${why})` : `${path} could not be loaded: ${why}`,
      { cause },
    );
  }
  return new LeechCoreLibrary(ffi, path);
}

function findLibrary(name: string, file: string, given: string | undefined): string {
  const { LEECHCORE_PATH: environment } = process.env;
  for (const [from, path] of [
    ["option library", given],
    ["LEECHCORE_PATH", environment],
  ]) {
    if (path === undefined || path === "") continue;
    const found = within(path, file);
    if (found !== undefined) return found;
    throw new ConnectorError("NO_LIBRARY", name, `${from}: there is no file ${path}; ${ADVICE}`);
  }
  // Built, this module lies in dist/; from source, in connectors/leechcore/.
  const here = fileURLToPath(new URL(".", import.meta.url));
  for (const folder of ["..", "../..", "."]) {
    const beside = within(join(here, folder, file), file);
    if (beside !== undefined) return beside;
  }
  return file;
}

/** With a slash in it, so that it is taken for a path and not searched. */
function within(path: string, file: string): string | undefined {
  const full = resolve(path);
  if (!existsSync(full)) return undefined;
  if (!statSync(full).isDirectory()) return full;
  const inside = join(full, file);
  return existsSync(inside) ? inside : undefined;
}
