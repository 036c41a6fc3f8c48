/**
 * The configuration that a kernel was built with, where it holds it (CONFIG_IKCONFIG): what /proc/config.gz is.
 *
 * Facts: kernel/configs.c: the text, compressed with gzip, lies between the markers IKCFG_ST and IKCFG_ED. Since 5.1 the symbols
 * `kernel_config_data` and `kernel_config_data_end` stand for what is between them; before, `kernel_config_data` was an array
 * with both markers in it. With CONFIG_IKCONFIG=m it is in the module `configs`. How options are written: scripts/kconfig/confdata.c.
 */
import { Io, MemtoolError, type Routine } from "../../io/index.js";
import { decodeUtf8 } from "../../memory/text.js";
import { findBytes } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import { symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import type { Gunzip } from "./gunzip.js";

/** One option of a configuration. */
export interface ConfigOption {
  /** With its prefix: "CONFIG_SMP". */
  readonly name: string;
  /** "y", "m", a number as it is written, a text without its quotes; "n" for what is not set. */
  readonly value: string;
  /** The line of the text that says it. */
  readonly line: string;
}

/** The configuration of a kernel. */
export interface KernelConfig {
  /** As the file `.config` had it; up to where it is damaged. */
  readonly text: string;
  /** In the order of the text. */
  readonly options: readonly ConfigOption[];
  /** Where the compressed text begins. */
  readonly address: bigint;
}

const MARKER = 8;
const START = Uint8Array.from("IKCFG_ST", (letter) => letter.charCodeAt(0));
const END = Uint8Array.from("IKCFG_ED", (letter) => letter.charCodeAt(0));

/** Compressed bytes: those of distributions' kernels have some 60,000. */
const MAX_COMPRESSED = 1 << 20;
/** Bytes of text: those have 300,000 at most. */
const MAX_TEXT = 8 << 20;

/**
 * Reads the configuration that a kernel was built with. What is damaged is told, and given up to there.
 *
 * @throws {MemtoolError} `NO_CONFIG` for a kernel that does not hold it; `NO_GUNZIP` on a host that gave nothing to decompress it
 * with.
 */
export function readKernelConfig(kernel: LinuxKernel, options: DamageOptions = {}): Io<KernelConfig> {
  return Io.of(kernel.memory.scheduler, configRoutine, kernel, options);
}

function* configRoutine(kernel: LinuxKernel, options: DamageOptions): Routine<KernelConfig> {
  const log = new DamageLog(options);
  const address = yield* findConfig(kernel);
  if (address === undefined) {
    const release = kernel.release === "" ? "$(uname -r)" : kernel.release;
    throw new MemtoolError(
      "NO_CONFIG",
      "this kernel does not hold its configuration (it is built without CONFIG_IKCONFIG, or its module `configs` is not loaded): " +
        `its package has it as /boot/config-${release}`,
    );
  }
  const text = yield* readText(kernel, address, log.report);
  log.end();
  return { text, options: parseKernelConfig(text), address };
}

/** Where the compressed text begins. */
function* findConfig(kernel: LinuxKernel): Routine<bigint | undefined> {
  const own = yield* symbolAddress({ kernel }, "kernel_config_data");
  const named = own ?? (yield* kernel.loadModuleSymbols()).symbol("kernel_config_data")[0]?.address;
  if (named !== undefined) {
    const { bytes, holes } = yield* kernel.memory.readPartial(named, MARKER);
    return holes.length === 0 && bytes.every((byte, i) => byte === START[i]) ? named + BigInt(MARKER) : named;
  }
  // Only kernels that list functions only don't name it.
  if ((yield* symbolAddress({ kernel }, "init_task")) !== undefined) return undefined;
  const marker = yield* findBytes(kernel.memory, kernel.searchRanges, START);
  return marker === undefined ? undefined : marker + BigInt(MARKER);
}

function* readText(kernel: LinuxKernel, address: bigint, report: OnDamage): Routine<string> {
  const what = "the kernel's configuration";
  const { bytes, holes } = yield* kernel.memory.readPartial(address, MAX_COMPRESSED);
  const hole = holes[0];
  const there = bytes.subarray(0, hole?.start ?? bytes.length);
  const end = endOf(there);
  const { bytes: text, problem } = gunzip(kernel)(there.subarray(0, end ?? there.length), MAX_TEXT);
  // Without its end marker, it may be whole all the same: the stream says where it ends.
  if (problem !== undefined) {
    const isCut = hole !== undefined && end === undefined;
    if (isCut) report(damage(what, address + BigInt(hole.start), "unreadable", hole.fault));
    else report(damage(what, address, "invalid", 0, problem));
  }
  return decodeUtf8(text, 0, text.length);
}

/** @throws {MemtoolError} `NO_GUNZIP`. */
function gunzip({ gunzip: given }: LinuxKernel): Gunzip {
  if (given !== undefined) return given;
  throw new MemtoolError(
    "NO_GUNZIP",
    "the kernel's configuration is compressed: findKernel needs the option `gunzip` for it",
  );
}

/** Where the end marker is. */
function endOf(bytes: Uint8Array): number | undefined {
  for (let at = bytes.indexOf(73); at >= 0; at = bytes.indexOf(73, at + 1)) {
    if (END.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return undefined;
}

/** The options that a configuration's text sets, and those that it says are not set. */
export function parseKernelConfig(text: string): ConfigOption[] {
  const options: ConfigOption[] = [];
  for (const line of text.split("\n")) {
    const set = /^(CONFIG_\w+)=(.*)$/.exec(line);
    if (set !== null) {
      options.push({ name: set[1] as string, value: unquoted(set[2] as string), line });
      continue;
    }
    const name = /^# (CONFIG_\w+) is not set$/.exec(line)?.[1];
    if (name !== undefined) options.push({ name, value: "n", line });
  }
  return options;
}

/** A text's quotes are taken off, and the backslashes before its quotes and backslashes. */
function unquoted(written: string): string {
  const quoted = /^"(.*)"$/.exec(written);
  return quoted === null ? written : (quoted[1] as string).replace(/\\(.)/g, "$1");
}
