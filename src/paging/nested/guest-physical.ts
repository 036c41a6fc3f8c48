/**
 * A guest's physical memory inside the host's, by its nested page tables (Intel's EPT, AMD's NPT). It is physical memory as
 * any other: a kernel is looked for in it, address spaces are made over it, dumps are written of it.
 */
import { hex, Io, MemtoolError, type PacketIo, type Routine } from "../../io/index.js";
import { PhysicalMemory } from "../../memory/physical-memory.js";
import type { MmuDef } from "../formats/mmu-def.js";
import type { TableCache } from "../tables/table-cache.hot.js";
import { VirtualMemory } from "../virtual-memory.js";
import { type GuestMap, mapOfGuest } from "./guest-map.js";
import { chooseNestedFormat, type NestedFormat, type NestedRoot, nestedRoot } from "./nested-root.js";

/** Options of {@link guestPhysical}. */
export interface GuestPhysicalOptions {
  /** Physical address of the top table, an nCR3, or an EPTP. */
  readonly root: number;
  /** Format of the tables; default: what an EPTP says, else what lies there. */
  readonly mmu?: MmuDef | NestedFormat | undefined;
  /** For live memory: see `PageTableOptions`. The map is then one of the moment that it was made in. */
  readonly maxAge?: number | undefined;
  /** The nested tables that are kept, if other guests of the same host share them. */
  readonly tableCache?: TableCache | undefined;
  /** For messages. */
  readonly name?: string | undefined;
}

/** See the module's comment. Made by {@link guestPhysical}. */
export class GuestMemory extends PhysicalMemory {
  /** The physical memory that it lies in. */
  readonly host: PhysicalMemory;
  /** Its nested tables: the guest's physical addresses as an address space over the host's. */
  readonly tables: VirtualMemory;
  readonly root: number;
  readonly mmu: MmuDef;
  /** What told the format: the EPTP, who asked, or the tables themselves. */
  readonly formatSource: NestedRoot["source"];
  /** How the map came to be. */
  readonly facts: GuestMap;

  /** @internal */
  constructor(
    host: PhysicalMemory,
    tables: VirtualMemory,
    { root, source }: NestedRoot,
    mmu: MmuDef,
    facts: GuestMap,
  ) {
    super(tables as PacketIo<number>, {
      map: facts.map,
      live: host.live,
      // The host's keeps its pages.
      cacheBytes: 0,
      host,
      name: tables.name,
      pointerSize: host.pointerSize,
      littleEndian: host.littleEndian,
    });
    this.host = host;
    this.tables = tables;
    this.root = root;
    this.mmu = mmu;
    this.formatSource = source;
    this.facts = facts;
  }
}

/**
 * Opens a guest's physical memory. Goes through its nested tables once, for the map.
 *
 * What can't be read keeps the state that it has below: `not-present` where the tables map nothing (no RAM, or RAM that the
 * host has not given to the guest yet, or has swapped out: its tables don't tell), `table-missing` for a nested table that can't
 * be read, and `excluded` and the like for a page that the host's memory does not have.
 *
 * @example
 * const guest = await guestPhysical(machine.physical, { root: 0x10f0501e });
 * const kernel = await findKernel(guest, { map: guest.map });
 *
 * @throws {RangeError} for a root that is none; {MemtoolError} `NO_NESTED_TABLES` if nothing is mapped there.
 */
export function guestPhysical(host: PhysicalMemory, options: GuestPhysicalOptions): Io<GuestMemory> {
  const { mmu } = options;
  const given = nestedRoot(options.root, typeof mmu === "string" ? mmu : undefined);
  const root: NestedRoot = typeof mmu === "object" ? { ...given, candidates: [mmu], source: "given" } : given;
  return Io.of(host.scheduler, guestRoutine, host, root, options);
}

function* guestRoutine(
  host: PhysicalMemory,
  given: NestedRoot,
  options: GuestPhysicalOptions,
): Routine<GuestMemory> {
  const { root, candidates } = given;
  const mmu =
    candidates.length === 1 ? (candidates[0] as MmuDef) : yield* chooseNestedFormat(host, host.map, given);
  const { name = `guest of ${mmu.name} root ${hex(root)}`, tableCache, maxAge } = options;
  const tables = new VirtualMemory(host, { root, mmu, live: host.live, maxAge, tableCache, name });
  const facts = yield* mapOfGuest(tables, host.map);
  if (facts.bytesMapped === 0) {
    const { missingTables, malformed } = facts;
    const why =
      missingTables > 0
        ? `${missingTables} of them can't be read, and`
        : malformed > 0
          ? `${malformed} entries are malformed, and`
          : "";
    throw new MemtoolError(
      "NO_NESTED_TABLES",
      `no nested page tables (${mmu.name}) at ${hex(root)}: ${`${why} nothing is mapped there`.trimStart()}`,
    );
  }
  return new GuestMemory(host, tables, given, mmu, facts);
}
