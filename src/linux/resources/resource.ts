/**
 * Physical addresses and ports that the kernel has given out: the trees that /proc/iomem and /proc/ioports print.
 *
 * Facts: include/linux/ioport.h (`struct resource`: `end` is inclusive), kernel/resource.c (`iomem_resource`,
 * `ioport_resource`, `r_next`: children first, then siblings; `r_show` shows no more than five levels of indentation).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { findTreeRoot } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import {
  type KernelData,
  kernelData,
  listsFunctionsOnly,
  needSymbol,
  symbolAddress,
} from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { offsetOf, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const RESOURCE = record("resource", {
  start: word("start"),
  end: word("end"),
  name: word("name"),
  flags: word("flags"),
  sibling: word("sibling"),
  child: word("child"),
});

/** More are not believed: the largest machines have some ten thousand. */
const MAX_RESOURCES = 1 << 18;

/** A range of physical addresses, or of ports. */
export interface Resource {
  /** Address of its `struct resource`. */
  readonly address: bigint;
  /** First physical address (or port). */
  readonly start: bigint;
  /** Exclusive, unlike in /proc/iomem. */
  readonly end: bigint;
  /** `undefined` if it could not be read; null if it has none. */
  readonly name: string | null | undefined;
  /** IORESOURCE_*, include/linux/ioport.h. */
  readonly flags: bigint;
  /** 0 for what lies directly in the root. */
  readonly depth: number;
}

/** Options of {@link listResources}. */
export interface ResourceOptions extends DamageOptions {
  /** Ports instead of memory; default false. */
  readonly ports?: boolean | undefined;
}

/** Resources in the order of /proc/iomem (or ioports): each before what lies in it. At most 2^18 of them. */
export function listResources(kernel: LinuxKernel, options: ResourceOptions = {}): IoSequence<Resource> {
  return IoSequence.of(kernel.memory.scheduler, resourcesRoutine, kernel, options);
}

function* resourcesRoutine(
  sink: Sink<Resource>,
  kernel: LinuxKernel,
  options: ResourceOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  for (const resource of yield* readResources(data, options.ports === true, log.report))
    yield sink.emit(resource);
  log.end();
}

/** As {@link listResources}, all at once. @internal */
export function* readResources(data: KernelData, ports: boolean, report: OnDamage): Routine<Resource[]> {
  return yield* resourcesBelow(data, yield* rootOf(data, ports ? PORTS : MEMORY), report);
}

/** The roots, with their names, which /proc/iomem does not print. */
const MEMORY = { symbol: "iomem_resource", name: "PCI mem" };
const PORTS = { symbol: "ioport_resource", name: "PCI IO" };

/** Address of a root; searched for in the image where kallsyms list functions only. @throws {SymbolError} `NO_SYMBOL`. */
function* rootOf(data: KernelData, { symbol, name }: typeof MEMORY): Routine<bigint> {
  const { kernel, memory, types } = data;
  const known = yield* symbolAddress(data, symbol);
  if (known !== undefined || !(yield* listsFunctionsOnly(data)))
    return known ?? (yield* needSymbol(data, symbol));
  const [parent, sibling, child] = (["parent", "sibling", "child"] as const).map((member) =>
    offsetOf(types, "resource", member),
  ) as [number, number, number];
  const layout = RESOURCE.on(types);
  const found = yield* findTreeRoot(
    memory,
    kernel.searchRanges,
    { parent, sibling, child },
    function* (root) {
      const [row] = yield* layout.read(memory, [root]);
      return (yield* readStrings(memory, [row?.value?.name], "a name", () => {}))[0] === name;
    },
  );
  return found ?? (yield* needSymbol(data, symbol));
}

interface Node {
  readonly address: bigint;
  readonly depth: number;
}

function* resourcesBelow(data: KernelData, root: bigint, report: OnDamage): Routine<Resource[]> {
  const layout = RESOURCE.on(data.types);
  const found: Omit<Resource, "name">[] = [];
  const names: bigint[] = [];
  const seen = new Set<bigint>([root]);
  const todo: Node[] = [{ address: root, depth: -1 }];
  for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
    const { address, depth } = node;
    const [row] = yield* layout.read(data.memory, [address]);
    const value = row?.value;
    if (value === undefined) {
      report(damage("a resource", address, "unreadable", row?.fault));
      continue;
    }
    const { start, end, name, flags } = value;
    if (depth >= 0) {
      found.push({ address, start, end: end + 1n, flags, depth });
      names.push(name);
    }
    // The sibling below the child: what lies in a resource comes before what follows it. (The root has none.)
    const next: Node[] = [{ address: value.child, depth: depth + 1 }];
    if (depth >= 0) next.unshift({ address: value.sibling, depth });
    for (const each of next) {
      if (each.address === 0n) continue;
      if (seen.has(each.address)) report(damage("a resource", each.address, "loop"));
      else if (seen.size > MAX_RESOURCES) report(damage("the tree of resources", each.address, "too long"));
      else {
        seen.add(each.address);
        todo.push(each);
      }
    }
  }
  const texts = yield* readStrings(data.memory, names, "the name of a resource", report);
  return found.map((each, i) => ({ ...each, name: names[i] === 0n ? null : texts[i] }));
}
