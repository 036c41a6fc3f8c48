/**
 * What a kernel says of itself: its version, names, and command line.
 *
 * Facts: init/version.c and version-timestamp.c (`linux_banner`, `init_uts_ns`), include/linux/utsname.h, init/main.c
 * (`saved_command_line`, `print_kernel_cmdline`).
 */
import { Io, type Routine } from "../../io/index.js";
import { findBanner } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { listLog } from "../log/log.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { record, text } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { SymbolError } from "../symbols/symbol.js";

const UTS = record("uts_namespace", {
  system: text("name.sysname"),
  hostname: text("name.nodename"),
  release: text("name.release"),
  version: text("name.version"),
  machine: text("name.machine"),
  domain: text("name.domainname"),
});

/** COMMAND_LINE_SIZE is 2048 at most (arch/x86/include/asm/setup.h); boot configuration may make it longer. */
const MAX_COMMAND_LINE = 1 << 16;

/** A kernel's names; `undefined` is what it does not say, or what could not be read. */
export interface Banner {
  /** The line of /proc/version: release, compiler, when it was built. */
  readonly banner: string | undefined;
  readonly release: string | undefined;
  readonly version: string | undefined;
  /** Such as "x86_64". */
  readonly machine: string | undefined;
  readonly system: string | undefined;
  readonly hostname: string | undefined;
  readonly domain: string | undefined;
  /** What the kernel was started with, as in /proc/cmdline. */
  readonly commandLine: string | undefined;
  /** GNU build id in hex. */
  readonly buildId: string | undefined;
}

/** What the kernel says of itself. */
export function readBanner(kernel: LinuxKernel, options: DamageOptions = {}): Io<Banner> {
  return Io.of(kernel.memory.scheduler, bannerRoutine, kernel, options);
}

function* bannerRoutine(kernel: LinuxKernel, options: DamageOptions): Routine<Banner> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const names = yield* readNames(data, log.report);
  const line = yield* bannerAddress(data, names.version ?? "");
  const [banner] = yield* readStrings(data.memory, [line], "linux_banner", log.report);
  const commandLine = yield* readCommandLine(data, log.report);
  log.end();
  return {
    banner: banner?.trimEnd(),
    release: names.release,
    version: names.version,
    machine: names.machine,
    system: names.system,
    hostname: names.hostname,
    domain: names.domain,
    commandLine,
    buildId: kernel.vmcoreinfo.buildId,
  };
}

/** Where the banner is: in the image, for a kernel that lists functions only. */
function* bannerAddress(data: KernelData, version: string): Routine<bigint | undefined> {
  const named = yield* symbolAddress(data, "linux_banner");
  const { release, searchRanges } = data.kernel;
  if (named !== undefined || release === "") return named;
  return yield* findBanner(data.memory, searchRanges, release, version);
}

function* readNames({ kernel, memory, types }: KernelData, report: OnDamage) {
  const address = yield* symbolAddress({ kernel }, "init_uts_ns");
  if (address === undefined) return {};
  const [row] = yield* UTS.on(types).read(memory, [address]);
  if (row !== undefined && row.fault !== 0) report(damage("init_uts_ns", address, "unreadable", row.fault));
  return row?.partial ?? {};
}

function* readCommandLine(data: KernelData, report: OnDamage): Routine<string | undefined> {
  const variable = yield* symbolAddress(data, "saved_command_line");
  if (variable === undefined) return yield* loggedCommandLine(data.kernel);
  const pointers = yield* pointersAt(data.memory, variable, 1);
  if (typeof pointers === "number") {
    report(damage("saved_command_line", variable, "unreadable", pointers));
    return undefined;
  }
  const found = yield* readStrings(data.memory, pointers, "the command line", report, MAX_COMMAND_LINE);
  return found[0];
}

/** How the kernel logs its command line. */
const LOGGED = "Kernel command line: ";
/** LOG_LINE_MAX of kernel/printk/printk.c is no less: longer lines are cut. */
const MAX_LOGGED = 960;

/** What the log has of it, where that is whole, and no symbol leads to the line itself. */
function* loggedCommandLine(kernel: LinuxKernel): Routine<string | undefined> {
  try {
    const records = yield* listLog(kernel, { onDamage: () => {} }).toArray();
    // (What programs write to the log has another facility.)
    const text = records.find((each) => each.facility === 0 && each.text.startsWith(LOGGED))?.text;
    // A longer one may be spread over lines that end so.
    const isWhole = text !== undefined && text.length < MAX_LOGGED && !text.endsWith(" \\");
    return isWhole ? text.slice(LOGGED.length) : undefined;
  } catch (error) {
    if (error instanceof SymbolError) return undefined;
    throw error;
  }
}
