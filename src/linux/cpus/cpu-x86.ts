/**
 * What an x86 kernel knows of its processors: `cpu_info`, a per-CPU variable.
 *
 * Facts: arch/x86/include/asm/processor.h (`struct cpuinfo_x86`, `struct cpuinfo_topology`), arch/x86/kernel/cpu/proc.c
 * (`show_cpuinfo`), arch/x86/include/asm/cpufeatures.h (NCAPINTS, NBUGINTS), arch/x86/kernel/cpu/mkcapflags.sh: the names of
 * features lie in the kernel, as arrays of pointers `x86_cap_flags` and `x86_bug_flags`, with null for those that have none.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { int, maybe, raw, record, text } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const INFO = record("cpuinfo_x86", {
  vendor: text("x86_vendor_id"),
  modelName: text("x86_model_id"),
  family: int("x86"),
  model: int("x86_model"),
  // Since 4.16 (b399151cb48d) as it is called.
  stepping: int("x86_stepping", "x86_mask"),
  microcode: maybe(int("microcode")),
  cacheSize: int("x86_cache_size"),
  physicalBits: int("x86_phys_bits"),
  virtualBits: int("x86_virt_bits"),
  // Since 6.7 (b9655e702dc5) in a structure of their own.
  apicId: maybe(int("topo.apicid", "apicid")),
  package: maybe(int("topo.pkg_id", "phys_proc_id")),
  core: maybe(int("topo.core_id", "cpu_core_id")),
  capabilities: raw("x86_capability"),
});

/** A processor of x86, as /proc/cpuinfo describes it. */
export interface X86Processor {
  readonly kind: "x86";
  /** `GenuineIntel`. */
  readonly vendor: string;
  readonly modelName: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  /** Revision of its microcode. */
  readonly microcode: number | undefined;
  /** KiB. */
  readonly cacheSize: number;
  /** Bits of a physical and of a virtual address. */
  readonly physicalBits: number;
  readonly virtualBits: number;
  readonly apicId: number | undefined;
  /** Number of its package and, within that, of its core. */
  readonly package: number | undefined;
  readonly core: number | undefined;
  /** The flags and bugs of /proc/cpuinfo; `undefined` where no symbol says where their names are. */
  readonly features: readonly string[] | undefined;
  readonly bugs: readonly string[] | undefined;
}

const MAX_NAME = 64;
/** NBUGINTS is 1 or 2. */
const MAX_BUG_WORDS = 4;

/** Names of bits. */
type Names = readonly (string | undefined)[];

/** Reads processors whose `cpu_info` is at these addresses. @internal */
export function* readX86(
  data: KernelData,
  addresses: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<(X86Processor | undefined)[]> {
  const layout = INFO.on(data.types);
  const wanted = addresses.filter((each) => each !== undefined);
  const rows = yield* layout.read(data.memory, wanted);
  const known = new Map(rows.map((row) => [row.address, row]));
  const words = (rows.find(({ value }) => value !== undefined)?.value?.capabilities.length ?? 0) / 4;
  const { features, bugs, bugWords } = yield* readNames(data, words, report);
  const featureWords = words - bugWords;
  return addresses.map((address) => {
    const row = address === undefined ? undefined : known.get(address);
    if (row === undefined) return undefined;
    if (row.value === undefined) {
      report(damage("cpu_info", row.address, "unreadable", row.fault));
      return undefined;
    }
    const { capabilities, ...own } = row.value;
    // A CPU fills this in when it first comes up; there is no family 0.
    if (own.family === 0) return undefined;
    return {
      kind: "x86",
      ...own,
      features: named(capabilities.subarray(0, 4 * featureWords), features),
      bugs: named(capabilities.subarray(4 * featureWords), bugs),
    };
  });
}

/** Names of the bits that are set, but those that have none. */
function named(bytes: Uint8Array, names: Names | undefined): string[] | undefined {
  return names?.filter(
    (name, bit): name is string => name !== undefined && (((bytes[bit >>> 3] ?? 0) >>> (bit & 7)) & 1) === 1,
  );
}

/** Words of features come first, those of bugs behind them: how many of either, no type says. */
function* readNames(
  data: KernelData,
  words: number,
  report: OnDamage,
): Routine<{ features: Names | undefined; bugs: Names | undefined; bugWords: number }> {
  const { kernel, memory } = data;
  const bugsAt = yield* kernel.findAddress("x86_bug_flags");
  let bugWords = bugsAt === undefined ? 0 : 1;
  if (bugsAt !== undefined) {
    const bytesOfWord = 32 * memory.pointerSize;
    while (bugWords < Math.min(MAX_BUG_WORDS, words - 1)) {
      const behind = yield* kernel.nameOf(bugsAt + BigInt(bugWords * bytesOfWord));
      if (behind?.name !== "x86_bug_flags") break;
      bugWords++;
    }
  }
  const featuresAt = yield* kernel.findAddress("x86_cap_flags");
  return {
    features: yield* namesAt(data, featuresAt, 32 * (words - bugWords), report),
    bugs: yield* namesAt(data, bugsAt, 32 * bugWords, report),
    bugWords,
  };
}

function* namesAt(
  { memory }: KernelData,
  address: bigint | undefined,
  count: number,
  report: OnDamage,
): Routine<Names | undefined> {
  if (address === undefined || count <= 0) return undefined;
  const pointers = yield* pointersAt(memory, address, count);
  if (typeof pointers !== "number") {
    return yield* readStrings(memory, pointers, "the name of a feature", report, MAX_NAME);
  }
  report(damage("the names of features", address, "unreadable", pointers));
  return undefined;
}
