/** A guest inside a target: the layers of its machine instead of the host's. */
import { MemtoolError } from "../src/io/index.js";
import { guestPhysical } from "../src/paging/index.js";
import type { Layers } from "./machine.js";
import type { OpenOptions } from "./open-options.js";

/**
 * The layers that the options ask for: those of the target, or of a guest inside it. Lets go of them if it fails.
 *
 * @throws {MemtoolError} `NO_PHYSICAL_MEMORY` for a guest of a process, `NO_NESTED_TABLES`. {RangeError}
 */
export async function openGuest(name: string, host: Layers, options: OpenOptions): Promise<Layers> {
  const { ept = [], maxAge } = options;
  let layers = host;
  try {
    for (const { root, format } of Array.isArray(ept) ? ept : [ept]) {
      const { physical } = layers;
      if (physical === undefined) {
        throw new MemtoolError(
          "NO_PHYSICAL_MEMORY",
          `${name} is one process's memory: there are no nested page tables of a guest in it`,
        );
      }
      const guest = await guestPhysical(physical, { root, mmu: format, maxAge });
      layers = { ...layers, physical: guest, guest };
    }
    return layers;
  } catch (error) {
    await host.pool?.close();
    throw error;
  }
}
