/** Whose memory a hit is in. */
import {
  KernelNotFoundError,
  type LinuxKernel,
  listOwners,
  listVmas,
  type OnDamage,
  ownerText,
  type PageOwner,
  type Task,
  type Vma,
} from "../../src/linux/index.js";
import { Intervals } from "../../src/linux/owners/intervals.js";
import { describeError } from "../errors.js";
import { mappingRights } from "../render/mapping.js";
import type { Session } from "../session.js";
import type { Mappings } from "./mappings.js";
import type { Place } from "./places.js";

/** One owner of a hit. What is not known is null. */
export interface HitOwner {
  readonly physical: bigint | null;
  readonly virtual: bigint | null;
  readonly pid: number | null;
  /** "process", "page cache", "slab", … */
  readonly kind: string | null;
  /** In words. */
  readonly owner: string | null;
}

const NOBODY: HitOwner = { physical: null, virtual: null, pid: null, kind: null, owner: null };

/** Finds the owners of hits, many at once. */
export class HitOwners {
  readonly #session: Session;
  readonly #isAsked: boolean;
  readonly #onDamage: OnDamage;
  #kernel: LinuxKernel | undefined | null;
  /** Those of the process that was asked for last. */
  #ranges: { readonly task: Task | undefined; readonly vmas: Intervals<Vma> } | undefined;
  /** Whether there is a kernel, and what it has to tell of owners could not be read. */
  failed = false;

  /** @param isAsked Whether owners of physical memory are looked for. */
  constructor(session: Session, isAsked: boolean, onDamage: OnDamage) {
    this.#session = session;
    this.#isAsked = isAsked;
    this.#onDamage = onDamage;
  }

  /** The owners of each address of a place, one at least. */
  async of(place: Place, addresses: readonly bigint[]): Promise<HitOwner[][]> {
    if (place.mappings !== undefined) return inMappings(place.mappings, addresses);
    const physical = await physicalOf(place, addresses);
    const end = place.task === undefined ? undefined : place.ownEnd;
    if (end === undefined) return await this.#outside(place, addresses, physical);
    // (A process's page tables have the kernel too, which is not the process's.)
    const isOwn = addresses.map((address) => address < end);
    const own = await this.#inProcess(
      place,
      addresses.filter((_, i) => isOwn[i]),
      physical.filter((_, i) => isOwn[i]),
    );
    const others = await this.#outside(
      place,
      addresses.filter((_, i) => !isOwn[i]),
      physical.filter((_, i) => !isOwn[i]),
    );
    const [ofOwn, ofOthers] = [own.values(), others.values()];
    return isOwn.map((each) => (each ? ofOwn : ofOthers).next().value ?? []);
  }

  /** Where no process's space is searched: by physical memory. */
  async #outside(
    place: Place,
    addresses: readonly bigint[],
    physical: readonly (number | undefined)[],
  ): Promise<HitOwner[][]> {
    const found = await this.#ofPhysical(physical);
    return addresses.map((address, i) => {
      const at = physical[i];
      const virtual = place.virtual === undefined && at !== undefined ? null : address;
      const base: HitOwner = { ...NOBODY, physical: at === undefined ? null : BigInt(at), virtual };
      const owners = at === undefined ? undefined : found.get(at);
      if (owners === undefined) return [base];
      return owners.map((owner) => ({
        ...base,
        virtual: virtual ?? ("virtual" in owner ? (owner.virtual ?? null) : null),
        pid: "pid" in owner ? (owner.pid ?? null) : null,
        kind: owner.kind,
        owner: ownerText(owner),
      }));
    });
  }

  /** In a process's own space: which of its ranges each is in. */
  async #inProcess(
    { task }: Place,
    addresses: readonly bigint[],
    physical: readonly (number | undefined)[],
  ): Promise<HitOwner[][]> {
    if (addresses.length === 0) return [];
    const { pid, comm } = task ?? {};
    if (this.#ranges === undefined || this.#ranges.task !== task) {
      this.#ranges = { task, vmas: await this.#rangesOf(pid) };
    }
    const { vmas } = this.#ranges;
    return addresses.map((virtual, i) => {
      const at = physical[i];
      const vma = vmas.at(virtual);
      const { path, rights } = vma ?? {};
      const owner = ownerText({
        kind: "process",
        pid,
        comm,
        virtual,
        path: vma === undefined ? "" : path,
        rights,
      });
      return [
        { physical: at === undefined ? null : BigInt(at), virtual, pid: pid ?? null, kind: "process", owner },
      ];
    });
  }

  async #rangesOf(pid: number | undefined): Promise<Intervals<Vma>> {
    if (pid === undefined) return new Intervals<Vma>([]);
    const kernel = await this.#session.machine.linux();
    return new Intervals(await listVmas(kernel, { pid, pages: false, onDamage: this.#onDamage }).toArray());
  }

  async #ofPhysical(physical: readonly (number | undefined)[]): Promise<Map<number, PageOwner[]>> {
    const found = new Map<number, PageOwner[]>();
    const kernel = this.#isAsked ? await this.#findKernel() : undefined;
    const wanted = [...new Set(physical)].filter((each) => each !== undefined);
    if (kernel === undefined || wanted.length === 0) return found;
    try {
      for await (const owner of listOwners(kernel, wanted, { onDamage: this.#onDamage })) {
        const list = found.get(owner.physical);
        if (list === undefined) found.set(owner.physical, [owner]);
        else list.push(owner);
      }
    } catch (error) {
      this.#kernel = null;
      this.failed = true;
      this.#session.warn(`owners are not told: ${describeError(error)}`);
    }
    return found;
  }

  /** The kernel; `undefined` where there is none, which is told once. */
  async #findKernel(): Promise<LinuxKernel | undefined> {
    if (this.#kernel === undefined) {
      try {
        this.#kernel = await this.#session.machine.linux({ searchRoots: false });
      } catch (error) {
        if (!(error instanceof KernelNotFoundError)) throw error;
        this.#kernel = null;
        if (this.#session.machine.noKernel === undefined)
          this.#session.warn(`owners are not told: ${describeError(error)}`);
      }
      this.#session.clearProgress();
    }
    return this.#kernel ?? undefined;
  }
}

/** In a live process: which of its mappings each is in, as its system has named them. */
function inMappings({ pid, comm, ranges }: Mappings, addresses: readonly bigint[]): HitOwner[][] {
  const intervals = new Intervals(ranges);
  return addresses.map((virtual) => {
    const mapping = intervals.at(virtual);
    const rights = mapping === undefined ? undefined : mappingRights(mapping);
    const owner = ownerText({ kind: "process", pid, comm, virtual, path: mapping?.path ?? "", rights });
    return [{ physical: null, virtual, pid: pid ?? null, kind: "process", owner }];
  });
}

/** Where each address is in physical memory; `undefined` where that is not known. */
async function physicalOf(
  { space, virtual }: Place,
  addresses: readonly bigint[],
): Promise<(number | undefined)[]> {
  if (virtual !== undefined) {
    const { physical } = await virtual.translateMany(BigUint64Array.from(addresses));
    return addresses.map((_, i) => ((physical[i] ?? -1) < 0 ? undefined : physical[i]));
  }
  return addresses.map((address) => ("map" in space ? Number(address) : undefined));
}
