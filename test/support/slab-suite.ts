/** Caches of a dump's kernel against the /proc/slabinfo that its guest printed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { type Damage, listSlabs, type SlabCache } from "../../src/linux/index.js";
import type { LinuxSubject } from "./linux-suite.js";

/** What the guest needs to print the rest of /proc, and to end: these go on after /proc/slabinfo was printed. */
const MOVES =
  /inode|^(dentry|cred_jar|filp|kmalloc-.*|numa_policy|shared_policy_node|vm_area_struct|anon_vma.*|names_cache|seq_file|pid|maple_node|radix_tree_node|skbuff.*|tw_sock_.*)$/;

/** Columns of /proc/slabinfo, as far as they say something of SLUB. */
interface Line {
  readonly name: string | undefined;
  readonly size: number | undefined;
  readonly objectsPerSlab: number | undefined;
  readonly pagesPerSlab: number | undefined;
  readonly counts: readonly (number | undefined)[];
}

/** Runs the tests. @param get The dump, and its truth. */
export function slabSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`the slab caches of ${name}`, () => {
    let machine: Machine;
    let truth: Truth;
    let slabs: SlabCache[];
    const damage: Damage[] = [];
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      machine = await open(subject.target);
      slabs = await listSlabs(await machine.linux(), { onDamage: (found) => damage.push(found) }).toArray();
    });
    afterAll(() => machine?.close());

    const printed = () => {
      const text = truth.texts["/proc/slabinfo"];
      if (text === undefined) throw new Error("the guest has not printed /proc/slabinfo");
      return text.trim().split("\n").slice(2).map(lineOf);
    };

    it("are all there, in order, with sizes and what a slab holds; nothing is damaged", () => {
      const still = ({ counts: _, ...line }: Line) => line;
      expect(slabs.map((slab) => still(shown(slab)))).toEqual(printed().map(still));
      expect(slabs.length).toBeGreaterThan(50);
      expect(damage).toEqual([]);
    });

    it("have the numbers of objects and slabs that /proc/slabinfo had, but those that went on", () => {
      const lines = printed();
      const others = slabs.filter((slab, i) => `${shown(slab).counts}` !== `${lines[i]?.counts}`);
      expect(others.map(({ name = "" }) => name).filter((each) => !MOVES.test(each))).toEqual([]);
      expect(others.length).toBeLessThan(slabs.length / 8);
      // Both what is partly free and what is not are among them.
      const same = slabs.filter((slab) => !others.includes(slab) && (slab.objects ?? 0) > 0);
      expect(same.some(({ activeObjects, objects }) => activeObjects !== objects)).toBe(true);
      expect(same.some(({ activeObjects, objects }) => activeObjects === objects)).toBe(true);
    });

    it("have as many aliases as the kernel counts, and constructors and flags with names", () => {
      const merged = slabs.filter(({ references = 0 }) => references > 1);
      expect(merged.length).toBeGreaterThan(5);
      for (const { name: own, aliases, references } of merged)
        expect([own, aliases.length + 1]).toEqual([own, references]);
      const inodes = slabs.find(({ name: own }) => own === "inode_cache");
      expect(inodes).toMatchObject({ ctor: { name: "init_once" }, references: 1 });
      expect(inodes?.flagNames).toEqual(expect.arrayContaining(["RECLAIM_ACCOUNT", "PANIC", "ACCOUNT"]));
      expect(slabs.find(({ name: own }) => own === "task_struct")?.ctor).toBeNull();
    });
  });
}

function shown(slab: SlabCache): Line {
  const { name, size, objectsPerSlab, pagesPerSlab, activeObjects, objects, activeSlabs, slabs } = slab;
  return { name, size, objectsPerSlab, pagesPerSlab, counts: [activeObjects, objects, activeSlabs, slabs] };
}

function lineOf(line: string): Line {
  const words = line.split(/\s+/);
  const number = (column: number) => Number(words[column]);
  return {
    name: words[0],
    size: number(3),
    objectsPerSlab: number(4),
    pagesPerSlab: number(5),
    counts: [number(1), number(2), number(13), number(14)],
  };
}
