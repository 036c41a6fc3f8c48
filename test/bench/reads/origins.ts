/** Where the bytes come from: memory, files, the shipped kdump. */
import { open } from "../../../connectors/index.js";
import { type AddressSpace, MemtoolError } from "../../../src/index.js";
import { fixture, KDUMP, rawFile } from "../fixture.js";
import { memorySpace } from "../memory-space.js";
import type { Against } from "../row.js";
import { isSequential, KIB, mappedOf, memcpyOf, type Pattern, preadOf } from "./patterns.js";

/** The project's goals, where it has some. */
function preadGoal({ label }: Pattern): Against["goals"] {
  if (label.startsWith("sequential") && !label.endsWith("8 B")) return [{ name: "goal", ratio: 0.8 }];
  return label.startsWith("random 4 KiB") ? [{ name: "goal", ratio: 0.5 }] : [];
}

/** Where bytes come from. */
export interface Origin {
  readonly label: string;
  readonly against: (pattern: Pattern) => Against[];
  /** An address space and what closes it; `undefined` where this machine can't do it. */
  readonly open: () => Promise<readonly [AddressSpace, () => unknown] | undefined>;
}

export const origins: readonly Origin[] = [
  {
    label: "memory",
    against: (pattern) => [
      {
        limit: memcpyOf(pattern),
        goals: isSequential(pattern) && pattern.size > 8 ? [{ name: "goal", ratio: 0.8 }] : [],
      },
    ],
    open: async () => {
      const { ram, root } = await fixture();
      return [memorySpace(ram, root), () => undefined];
    },
  },
  {
    label: "raw file",
    against: (pattern) => [{ limit: preadOf(pattern), goals: preadGoal(pattern) ?? [] }],
    open: async () => {
      const machine = await open(await rawFile(), { kernel: "none" });
      return [machine.addressSpace((await fixture()).root), () => machine.close()];
    },
  },
  {
    label: "mapped file",
    against: (pattern) =>
      pattern.size === 4 * KIB
        ? [{ limit: mappedOf(pattern), goals: isSequential(pattern) ? [] : [{ name: "goal", ratio: 0.7 }] }]
        : [{ limit: memcpyOf(pattern) }],
    open: async () => {
      try {
        const machine = await open({ connector: `file:${await rawFile()}:map=true` }, { kernel: "none" });
        return [machine.addressSpace((await fixture()).root), () => machine.close()];
      } catch (error) {
        // Without the optional package that maps files, or a file connector that can.
        if (error instanceof MemtoolError) return undefined;
        throw error;
      }
    },
  },
  {
    label: "kdump",
    against: (pattern) => [{ limit: memcpyOf(pattern) }],
    open: async () => {
      const machine = await open(KDUMP, { kernel: "none" });
      return [machine.addressSpace((await fixture()).root), () => machine.close()];
    },
  },
];
