/** What the memory is in which something lies that looks like a structure of the kernel's. */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { attempt } from "../owners/attempt.js";
import { readFacts } from "../owners/page-facts.js";
import { readSlabInfos } from "../owners/slab-objects.js";
import { findPageArray, pageNames } from "../pages/index.js";
import type { PerCpu } from "../per-cpu.js";

/**
 * `slab`: a slab, of what the kernel asks objects for. `image`: the kernel's own. `free`: pages that are nobody's. `other`: anything else, such
 * as a copy in a file or a process, or what is too large for a slab. `unknown`: its page says nothing that can be read.
 */
export type HomeKind = "slab" | "image" | "free" | "other" | "unknown";

/** @internal */
export interface ObjectHome {
  readonly kind: HomeKind;
  /** The slab's cache. */
  readonly cache: string | undefined;
  /** Of a slab: whether an object begins there; `undefined` if that can't be told. */
  readonly isWhole: boolean | undefined;
  /** Whether it is a free object, or part of one; `undefined` if that can't be told. */
  readonly isFree: boolean | undefined;
}

const UNKNOWN: ObjectHome = { kind: "unknown", cache: undefined, isWhole: undefined, isFree: undefined };

/** Looks at the pages of objects, in their order. @internal */
export function* objectHomes(
  data: KernelData,
  objects: readonly { readonly physical: number }[],
  cpus: PerCpu | undefined,
  linear: bigint,
  report: OnDamage,
): Routine<ObjectHome[]> {
  const array = yield* attempt("the structures of pages", report, findPageArray(data, report));
  if (array === undefined) return objects.map(() => UNKNOWN);
  const { pageSize } = array;
  const pfnOf = ({ physical }: { readonly physical: number }) => Math.floor(physical / pageSize);
  const pfns = [...new Set(objects.map(pfnOf))].sort((a, b) => a - b);
  // (Where free pages' neighbours can't be read is no damage of the objects'.)
  const silent = () => {};
  const facts = yield* attempt(
    "the structures of pages",
    report,
    readFacts(data, array, pageNames(data), pfns, silent),
  );
  if (facts === undefined) return objects.map(() => UNKNOWN);
  const slabs = new Map<bigint, bigint>();
  for (const { use, head } of facts.pages.values()) {
    if (use === "slab" && head !== undefined) slabs.set(head.address, BigInt(head.pfn * pageSize) + linear);
  }
  const places = [...slabs].map(([address, start]) => ({ address, start }));
  const infos = yield* attempt(
    "the slabs of what was found",
    report,
    readSlabInfos(data, places, cpus, silent),
  );
  return objects.map((one) => {
    const page = facts.pages.get(pfnOf(one));
    switch (page?.use) {
      case "slab": {
        const info = infos?.get(page.head?.address ?? 0n);
        const object = info?.objectAt(BigInt(one.physical) + linear);
        // (What lies within an object, not at its beginning, is none that the kernel made there.)
        const isWhole = object?.objectOffset === undefined ? undefined : object.objectOffset === 0;
        return {
          kind: "slab",
          cache: info?.cache,
          isWhole,
          isFree: isWhole === false ? true : object?.isFree,
        };
      }
      case "free":
        return { kind: "free", cache: undefined, isWhole: undefined, isFree: true };
      case "unreferenced":
        return {
          kind: "free",
          cache: undefined,
          isWhole: undefined,
          isFree: facts.free.has(page.pfn) ? true : undefined,
        };
      case "reserved":
        return { kind: "image", cache: undefined, isWhole: undefined, isFree: false };
      case undefined:
      case "none":
      case "unreadable":
        return UNKNOWN;
      default:
        return { kind: "other", cache: undefined, isWhole: undefined, isFree: undefined };
    }
  });
}
