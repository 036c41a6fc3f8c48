/**
 * What the kernel has its own virtual memory for: its image, modules, vmalloc areas, stacks, CPUs' own variables.
 *
 * Facts: include/asm-generic/sections.h (`_text` to `_end` and what lies between), include/linux/sched.h (`task_struct.stack`),
 * kernel/fork.c (stacks are vmalloc areas with CONFIG_VMAP_STACK), include/linux/sched.h (`union thread_union`: THREAD_SIZE),
 * mm/percpu.c (`pcpu_unit_size`: the first chunk of each CPU begins with the copy of the image's section; later ones are
 * vmalloc areas of `pcpu_get_vm_areas`), arch/arm64/mm/mmu.c (`declare_kernel_vmas`: there the image is a row of vmalloc areas).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { partsOf, readModules } from "../modules/module-parts.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { record, word } from "../objects/record.js";
import { type PerCpu, perCpuAreas } from "../per-cpu.js";
import { readTasks, type Task } from "../tasks/task.js";
import { sizeOf } from "../types/c-type.js";
import { attempt } from "./attempt.js";
import { Intervals } from "./intervals.js";
import type { ImageOwner, Owner } from "./owner.js";
import { readVmallocAreas, type VmallocArea } from "./vmalloc-areas.js";

interface Range {
  readonly start: bigint;
  readonly end: bigint;
}
type Section = Range & { readonly section: ImageOwner["section"] };
type ModuleRange = Range & { readonly module: string };
type StackRange = Range & { readonly task: Task };
type CpuRange = Range & { readonly cpu: number; readonly offset: bigint };

const STACK = record("task_struct", { stack: word("stack") });

/** Symbols around the sections of an image. What is in none of them is the image's all the same. */
const SECTIONS: readonly (readonly [ImageOwner["section"], string, string])[] = [
  ["text", "_stext", "_etext"],
  ["rodata", "__start_rodata", "__end_rodata"],
  ["data", "_sdata", "_edata"],
  ["bss", "__bss_start", "__bss_stop"],
  ["init", "__init_begin", "__init_end"],
];

/** What indexes the kernel's virtual memory. @internal */
export class KernelMemory {
  /** Each CPU's own memory; `undefined` if it can't be found. */
  readonly cpus: PerCpu | undefined;
  readonly #data: KernelData;
  readonly #image: Range | undefined;
  readonly #sections: Intervals<Section>;
  readonly #modules: Intervals<ModuleRange>;
  readonly #areas: Intervals<VmallocArea>;
  readonly #stacks: Intervals<StackRange>;
  readonly #cpuRanges: Intervals<CpuRange>;
  /** Bytes of the section that CPUs' first memory begins with, and where it is in the image. */
  readonly #static: Range;

  private constructor(
    data: KernelData,
    parts: {
      readonly cpus: PerCpu | undefined;
      readonly image: Range | undefined;
      readonly sections: readonly Section[];
      readonly modules: readonly ModuleRange[];
      readonly areas: Intervals<VmallocArea>;
      readonly stacks: readonly StackRange[];
      readonly cpuRanges: readonly CpuRange[];
      readonly cpuSection: Range;
    },
  ) {
    this.#data = data;
    this.cpus = parts.cpus;
    this.#image = parts.image;
    this.#sections = new Intervals(parts.sections);
    this.#modules = new Intervals(parts.modules);
    this.#areas = parts.areas;
    this.#stacks = new Intervals(parts.stacks);
    this.#cpuRanges = new Intervals(parts.cpuRanges);
    this.#static = parts.cpuSection;
  }

  /** Reads all of it. What is missing is told, and never thrown. */
  static *read(data: KernelData, report: OnDamage): Routine<KernelMemory> {
    const cpus = yield* attempt("the memory of CPUs", report, perCpuAreas(data, report));
    const areas = yield* attempt("the vmalloc areas", report, readVmallocAreas(data, report));
    const start = yield* symbolAddress(data, "_text", "_stext");
    const end =
      (yield* symbolAddress(data, "_end")) ??
      (start === undefined ? undefined : yield* areasEnd(data, areas, start));
    const sections: Section[] = [];
    for (const [section, from, to] of SECTIONS) {
      const [first, last] = [yield* symbolAddress(data, from), yield* symbolAddress(data, to)];
      if (first !== undefined && last !== undefined && first < last) {
        sections.push({ section, start: first, end: last });
      }
    }
    const cpuSection = {
      start: (yield* symbolAddress(data, "__per_cpu_start")) ?? 0n,
      end: (yield* symbolAddress(data, "__per_cpu_end")) ?? 0n,
    };
    return new KernelMemory(data, {
      cpus,
      image: start !== undefined && end !== undefined && start < end ? { start, end } : undefined,
      sections,
      modules: (yield* attempt("the modules", report, moduleRanges(data, report))) ?? [],
      areas: areas ?? new Intervals<VmallocArea>([]),
      stacks: (yield* attempt("the kernel's stacks", report, stackRanges(data, areas, report))) ?? [],
      cpuRanges: cpus === undefined ? [] : yield* cpuRanges(data, cpus, cpuSection, report),
      cpuSection,
    });
  }

  /** What an address of the kernel's is of; `undefined` for what only the linear map has. */
  *ownerAt(virtual: bigint): Routine<Owner | undefined> {
    const module = this.#modules.at(virtual);
    if (module !== undefined) {
      const named = yield* this.#data.kernel.nameOf(virtual);
      const own = named?.module === module.module ? named : undefined;
      return {
        kind: "module",
        virtual,
        module: module.module,
        symbol: own?.name,
        symbolOffset: own?.offset,
      };
    }
    const stack = this.#stacks.at(virtual);
    if (stack !== undefined) {
      return { kind: "stack", virtual, pid: stack.task.pid, comm: stack.task.comm };
    }
    const area = this.#areas.at(virtual);
    if (area !== undefined) return yield* this.#areaOwner(area, virtual);
    const cpu = this.#cpuRanges.at(virtual);
    if (cpu === undefined) return undefined;
    const inSection = virtual - cpu.offset;
    const isStatic = inSection >= this.#static.start && inSection < this.#static.end;
    const named = isStatic ? yield* this.#data.kernel.nameOf(inSection) : undefined;
    return { kind: "per-cpu", virtual, cpu: cpu.cpu, symbol: named?.name, symbolOffset: named?.offset };
  }

  /** The part of the kernel's image that an address is of; `undefined` outside of it. */
  *imageAt(virtual: bigint): Routine<ImageOwner | undefined> {
    const image = this.#image;
    if (image === undefined || virtual < image.start || virtual >= image.end) return undefined;
    const named = yield* this.#data.kernel.nameOf(virtual);
    const own = named !== undefined && named.address >= image.start ? named : undefined;
    return {
      kind: "kernel",
      virtual,
      section: this.#sections.at(virtual)?.section ?? "image",
      symbol: own?.name,
      symbolOffset: own?.offset,
    };
  }

  *#areaOwner(area: VmallocArea, virtual: bigint): Routine<Owner> {
    const { kernel } = this.#data;
    const named = yield* kernel.nameOf(virtual);
    if (named?.module === "bpf") {
      return { kind: "bpf", virtual, module: "bpf", symbol: named.name, symbolOffset: named.offset };
    }
    const caller = area.caller === 0n ? undefined : (yield* kernel.nameOf(area.caller))?.name;
    if (caller === "pcpu_get_vm_areas") {
      return { kind: "per-cpu", virtual, cpu: undefined, symbol: undefined, symbolOffset: undefined };
    }
    return { kind: "vmalloc", virtual, start: area.start, end: area.end, caller };
  }
}

function* moduleRanges(data: KernelData, report: OnDamage): Routine<ModuleRange[]> {
  const found: ModuleRange[] = [];
  const pageSize = BigInt(data.kernel.vmcoreinfo.pageSize ?? 4096);
  for (const row of yield* readModules(data, report)) {
    for (const { address, size } of partsOf(data, row)) {
      // (The rest of its last page is nobody else's.)
      const end = ((address + BigInt(size) + pageSize - 1n) / pageSize) * pageSize;
      found.push({ start: address, end, module: row.partial.name ?? "?" });
    }
  }
  return found;
}

/** The end of a row of areas that one function asked for; `undefined` if there is none at an address. */
function* areasEnd(
  { kernel }: KernelData,
  areas: Intervals<VmallocArea> | undefined,
  start: bigint,
): Routine<bigint | undefined> {
  let end: bigint | undefined;
  let first: string | undefined;
  for (let next = areas?.at(start); next !== undefined; next = areas?.at(next.end)) {
    const caller = (yield* kernel.nameOf(next.caller))?.name;
    if (end !== undefined && caller !== first) break;
    first = caller;
    end = next.end;
  }
  return end;
}

/** Bytes of a stack that is no vmalloc area, where no type tells. */
const STACK_BYTES = { x86_64: 16_384, aarch64: 16_384, riscv64: 16_384, i386: 8192 } as const;

function* stackRanges(
  data: KernelData,
  areas: Intervals<VmallocArea> | undefined,
  report: OnDamage,
): Routine<StackRange[]> {
  const tasks = yield* readTasks(data, { threads: true }, report);
  const rows = yield* STACK.on(data.types).read(
    data.memory,
    tasks.map(({ address }) => address),
  );
  const union = data.types.find("union", "thread_union");
  const size = union === undefined ? STACK_BYTES[data.kernel.architecture] : sizeOf(union);
  return rows.flatMap(({ value }, i) => {
    // (Null: the stack of what has ended is given back before its task.)
    if (value === undefined || value.stack === 0n) return [];
    const start = value.stack;
    const area = areas?.at(start);
    return [{ start, end: area?.end ?? start + BigInt(size), task: tasks[i] as Task }];
  });
}

/** Units that are believed in: 2^26 bytes. */
const MAX_UNIT = 1 << 26;

function* cpuRanges(data: KernelData, cpus: PerCpu, section: Range, report: OnDamage): Routine<CpuRange[]> {
  const at = yield* symbolAddress(data, "pcpu_unit_size");
  let size = Number(section.end - section.start);
  if (at !== undefined) {
    const found = yield* pointersAt(data.memory, at, 1);
    if (typeof found === "number") report(damage("pcpu_unit_size", at, "unreadable", found));
    else {
      // (A number of 32 bits.)
      const unit = Number((found[0] as bigint) & 0xffff_ffffn);
      if (unit >= size && unit <= MAX_UNIT) size = unit;
    }
  }
  const bits = 8 * data.memory.pointerSize;
  return cpus.areas.flatMap(({ cpu, offset }) => {
    // (Where symbols don't tell variables, nor do they say how much each CPU has.)
    if (offset === undefined || size <= 0) return [];
    const start = BigInt.asUintN(bits, section.start + offset);
    return [{ start, end: start + BigInt(size), cpu, offset: BigInt.asIntN(64, offset) }];
  });
}
