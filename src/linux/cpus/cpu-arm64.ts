/**
 * What an arm64 kernel knows of its processors: `cpu_data`, a per-CPU variable.
 *
 * Facts: arch/arm64/include/asm/cpu.h (`struct cpuinfo_arm64`), arch/arm64/include/asm/cputype.h (MIDR_…), arch/arm64/kernel/cpuinfo.c
 * (`c_show`, `hwcap_str`), arch/arm64/include/uapi/asm/hwcap.h, include/uapi/linux/auxvec.h; Arm ARM, ID_AA64MMFR0_EL1.PARange.
 *
 * Features are those of the whole machine. Where the kernel keeps them no type says; it tells each program that it starts
 * (AT_HWCAP), and keeps what it told (`mm_struct.saved_auxv`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { raw, record, word } from "../objects/record.js";
import { readTasks } from "../tasks/task.js";

const INFO = record("cpuinfo_arm64", { midr: word("reg_midr"), memoryModel: word("reg_id_aa64mmfr0") });
const MM = record("mm_struct", { vector: raw("saved_auxv") });

/** A processor of arm64, as /proc/cpuinfo describes it. */
export interface Arm64Processor {
  readonly kind: "arm64";
  /** MIDR_EL1, and what it is made of. */
  readonly midr: bigint;
  readonly implementer: number;
  readonly variant: number;
  readonly part: number;
  readonly revision: number;
  /** Bits of a physical address; `undefined` for what is not known. */
  readonly physicalBits: number | undefined;
  /** Of the machine, as /proc/cpuinfo names them; bits that have no name here as `hwcap2:1<<60`. `undefined` if nothing says. */
  readonly features: readonly string[] | undefined;
}

/** By PARange. */
const PHYSICAL_BITS = [32, 36, 40, 42, 44, 48, 52, 56] as const;

/** Names of HWCAP_…'s and HWCAP2_…'s bits, from 0 on, as /proc/cpuinfo has them. */
const HWCAP =
  `fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4 asimddp
  sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg`.split(/\s+/);
const HWCAP2 =
  `dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm svebf16 i8mm bf16 dgh rng bti mte
  ecv afp rpres mte3 sme smei16i64 smef64f64 smei8i32 smef16f32 smeb16f32 smef32f32 smefa64 wfxt ebf16 sveebf16 cssc rprfm sve2p1
  sme2 sme2p1 smei16i32 smebi32i32 smeb16b16 smef16f16 mops hbc sveb16b16 lrcpc3 lse128`.split(/\s+/);

/** AT_HWCAP, AT_HWCAP2. */
const AT_HWCAP = 16n;
const AT_HWCAP2 = 26n;
/** Programs that are asked. */
const MAX_ASKED = 64;

/** Reads processors whose `cpu_data` is at these addresses. @internal */
export function* readArm64(
  data: KernelData,
  addresses: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<(Arm64Processor | undefined)[]> {
  const wanted = addresses.filter((each) => each !== undefined);
  const rows = yield* INFO.on(data.types).read(data.memory, wanted);
  const known = new Map(rows.map((row) => [row.address, row]));
  const features = yield* readFeatures(data);
  return addresses.map((address) => {
    const row = address === undefined ? undefined : known.get(address);
    if (row === undefined) return undefined;
    if (row.value === undefined) {
      report(damage("cpu_data", row.address, "unreadable", row.fault));
      return undefined;
    }
    const { midr, memoryModel } = row.value;
    // (A CPU fills this in when it first comes up.)
    if (midr === 0n) return undefined;
    const field = (low: bigint, width: number) => Number(BigInt.asUintN(width, midr >> low));
    return {
      kind: "arm64",
      midr,
      implementer: field(24n, 8),
      variant: field(20n, 4),
      part: field(4n, 12),
      revision: field(0n, 4),
      physicalBits: PHYSICAL_BITS[Number(memoryModel & 15n)],
      features,
    };
  });
}

/** What the first program was told that can be read. (Programs of 32 bits have vectors of another shape.) */
function* readFeatures(data: KernelData): Routine<string[] | undefined> {
  const layout = MM.on(data.types);
  const tasks = yield* readTasks(data, {}, () => {});
  const programs = tasks.flatMap(({ mm }) => (mm === undefined || mm === 0n ? [] : [mm]));
  const rows = yield* layout.read(data.memory, [...new Set(programs)].slice(0, MAX_ASKED));
  for (const { value } of rows) {
    if (value === undefined) continue;
    const told = vectorOf(pointersIn(data.memory, value.vector));
    const first = told.get(AT_HWCAP);
    if (first === undefined) continue;
    return [...named(first, HWCAP, "hwcap"), ...named(told.get(AT_HWCAP2) ?? 0n, HWCAP2, "hwcap2")];
  }
  return undefined;
}

function vectorOf(words: readonly bigint[]): Map<bigint, bigint> {
  const found = new Map<bigint, bigint>();
  for (let i = 0; i + 1 < words.length && words[i] !== 0n; i += 2) {
    found.set(words[i] as bigint, words[i + 1] as bigint);
  }
  return found;
}

function named(bits: bigint, names: readonly string[], prefix: string): string[] {
  const found: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (((bits >> BigInt(bit)) & 1n) === 1n) found.push(names[bit] ?? `${prefix}:1<<${bit}`);
  }
  return found;
}
