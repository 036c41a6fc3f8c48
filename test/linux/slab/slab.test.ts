/** Slab caches of the committed dump's kernel, with things that are damaged. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Damage, listSlabs, type SlabCache } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { functionsOnly } from "../../support/functions-only.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const WILD = 0xffff_dead_0000_0000n;

describe("slab caches", () => {
  let patched: PatchedKernel;
  let whole: SlabCache[];
  let told: Damage[];
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    whole = await listSlabs(patched.kernel).toArray();
    told = [];
  });
  afterEach(() => patched?.close());

  const list = () => listSlabs(patched.kernel, { onDamage: (each) => told.push(each) }).toArray();
  const offset = async (struct: string, path: string) =>
    BigInt(offsetOf(await patched.kernel.types(), struct, path));
  const of = (name: string) => whole.find((each) => each.name === name) as SlabCache;
  const withChanged = (name: string, change: Partial<SlabCache>) =>
    whole.map((each) => (each.name === name ? { ...each, ...change } : each));
  const pointer = async (at: bigint) => {
    const bytes = await patched.kernel.memory.read(at, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  };
  /** Address of the only node of a cache. */
  const nodeOf = async (name: string) => pointer(of(name).address + (await offset("kmem_cache", "node")));
  const uncounted = {
    activeObjects: undefined,
    objects: undefined,
    activeSlabs: undefined,
    slabs: undefined,
  };
  /** One that has partial slabs. */
  const partly = () =>
    whole.find(({ activeObjects = 0, objects = 0 }) => activeObjects < objects) as SlabCache;

  it("are the same where symbols list functions only", async () => {
    patched.kernel.useSymbols(await functionsOnly(patched.kernel));
    expect(await list()).toEqual(whole);
    expect(told).toEqual([]);
  });

  it("are given once, all of them, though their list has a loop or leads nowhere, which is told", async () => {
    const next = await offset("kmem_cache", "list.next");
    const at = of("dentry").address + next;
    for (const [to, reason] of [
      [of("dentry").address + next, "loop"],
      [(whole[0] as SlabCache).address + next, "loop"],
      [WILD, "unreadable"],
    ] as const) {
      told.length = 0;
      await patched.setPointer(at, to);
      expect(await list()).toEqual(whole);
      expect(told).toMatchObject([{ what: "the list of slab caches", address: to, reason }]);
    }
    await expect(listSlabs(patched.kernel).toArray()).rejects.toMatchObject({ code: "DAMAGED" });
  });

  it("whose partial slabs are in a loop, lead nowhere or are another's have no count of active objects", async () => {
    const name = partly().name as string;
    const head = (await nodeOf(name)) + (await offset("kmem_cache_node", "partial"));
    const slab = (await pointer(head)) - (await offset("slab", "slab_list"));
    const owner = slab + (await offset("slab", "slab_cache"));
    const lost = withChanged(name, { activeObjects: undefined });
    const next = slab + (await offset("slab", "slab_list.next"));
    for (const [at, to, reason] of [
      [next, WILD, "unreadable"],
      [next, await pointer(head), "loop"],
      [owner, of("dentry").address, "mismatch"],
    ] as const) {
      told.length = 0;
      const before = await pointer(at);
      await patched.setPointer(at, to);
      expect(await list()).toEqual(lost);
      expect(told).toMatchObject([{ reason }]);
      expect(told[0]?.what).toContain(` of ${name}`);
      await patched.setPointer(at, before);
    }
  });

  it("with a partial slab that says to have more objects in use than it has are told", async () => {
    const name = partly().name as string;
    const head = (await nodeOf(name)) + (await offset("kmem_cache_node", "partial"));
    const slab = (await pointer(head)) - (await offset("slab", "slab_list"));
    await patched.set(slab + (await offset("slab", "inuse")), new Uint8Array([0xff, 0xff]));
    expect(await list()).toEqual(withChanged(name, { activeObjects: undefined }));
    expect(told).toMatchObject([{ what: `a partial slab of ${name}`, address: slab, reason: "invalid" }]);
  });

  it("have no counts that can't be, whether or not the partial slabs can be counted; which is told", async () => {
    const name = partly().name as string;
    const node = await nodeOf(name);
    const slabs = node + (await offset("kmem_cache_node", "nr_slabs"));
    const objects = node + (await offset("kmem_cache_node", "total_objects"));
    const link = node + (await offset("kmem_cache_node", "partial.next"));
    for (const partial of [await pointer(link), WILD]) {
      await patched.setPointer(link, partial);
      for (const [at, value] of [
        [slabs, 0xffff_ffff_ffff_fff0n],
        [slabs, 1n << 62n],
        [objects, 0xffff_ffff_ffff_fff0n],
        [objects, 1n << 62n],
      ] as const) {
        told.length = 0;
        const before = await pointer(at);
        await patched.setPointer(at, value);
        expect(await list()).toEqual(withChanged(name, uncounted));
        expect(told.at(-1)).toMatchObject({ what: `the objects of slab cache ${name}`, reason: "invalid" });
        await patched.setPointer(at, before);
      }
    }
  });

  it("have no counts where their node is wild, or another cache's; which is told", async () => {
    const at = of("dentry").address + (await offset("kmem_cache", "node"));
    await patched.setPointer(at, WILD);
    expect(await list()).toEqual(withChanged("dentry", uncounted));
    expect(told).toMatchObject([{ what: "the nodes of slab cache dentry", reason: "unreadable" }]);
    told.length = 0;
    // (The list has the newest first: that of the oldest is read last.)
    await patched.setPointer(at, await nodeOf("kmem_cache"));
    const found = await list();
    expect(found.map(({ name }) => name)).toEqual(whole.map(({ name }) => name));
    expect(found.find(({ name }) => name === "kmem_cache")).toMatchObject(uncounted);
    expect(told).toContainEqual(
      expect.objectContaining({ what: "the nodes of slab cache kmem_cache", reason: "loop" }),
    );
  });

  it("with slabs of an order that can't be have no shape, and that is told", async () => {
    const { address } = of("dentry");
    await patched.set(address + (await offset("kmem_cache", "oo.x")), new Uint8Array(4).fill(0xff));
    const shapeless = { objectsPerSlab: undefined, pagesPerSlab: undefined, slabSize: undefined };
    expect(await list()).toEqual(withChanged("dentry", shapeless));
    expect(told).toMatchObject([{ what: "the slabs of dentry", address, reason: "invalid" }]);
  });

  it("whose name or constructor is wild have the rest", async () => {
    const { address } = of("inode_cache");
    await patched.setPointer(address + (await offset("kmem_cache", "ctor")), WILD);
    const ctor = { address: WILD, name: undefined };
    expect(await list()).toEqual(withChanged("inode_cache", { ctor }));
    expect(told).toEqual([]);
    await patched.setPointer(address + (await offset("kmem_cache", "name")), WILD);
    expect(await list()).toEqual(withChanged("inode_cache", { ctor, name: undefined }));
    expect(told).toMatchObject([{ what: "the name of a slab cache", address: WILD, reason: "unreadable" }]);
  });

  it("have the aliases of their own folder only: what leads nowhere is nobody's", async () => {
    const merged = whole.find(({ aliases }) => aliases.length > 0) as SlabCache;
    const folder = await offset("kmem_cache", "kobj.sd");
    // A cache without a folder, and links without a target.
    const first = await pointer(merged.address + folder);
    const parent = await pointer(first + (await offset("kernfs_node", "parent")));
    const top = await pointer(parent + (await offset("kernfs_node", "dir.children")));
    const node = top - (await offset("kernfs_node", "rb"));
    const target = node + (await offset("kernfs_node", "symlink.target_kn"));
    const flags = node + (await offset("kernfs_node", "flags"));
    await patched.set(flags, new Uint8Array([4, 0]));
    await patched.setPointer(target, 0n);
    await patched.setPointer(of("dentry").address + folder, 0n);
    const found = await list();
    expect(found.find(({ name }) => name === "dentry")?.aliases).toEqual([]);
    expect(found.length).toBe(whole.length);
    // A folder in a loop ends, and is told.
    await patched.setPointer(top + (await offset("rb_node", "rb_left")), top);
    told.length = 0;
    expect((await list()).length).toBe(whole.length);
    expect(told).toContainEqual(expect.objectContaining({ what: "the folder of slab caches in sysfs" }));
  });
});
