/** Owners of the committed dump's pages, with things that are damaged. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Io, type Routine } from "../../../src/io/index.js";
import {
  type Damage,
  DamageError,
  type LinuxKernel,
  listOwners,
  listSlabs,
  listTasks,
  type OwnerTargets,
  ownerText,
  type PageOwner,
} from "../../../src/linux/index.js";
import { type KernelData, kernelData } from "../../../src/linux/kernel-data.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { findPageArray, type PageArray } from "../../../src/linux/pages/index.js";
import { readSlabs } from "../../../src/linux/slab/slab-page.js";
import { functionsOnly } from "../../support/functions-only.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const WILD = 0xffff_dead_0000_0000n;
const PAGE = 4096;
const RAM = { start: 0, end: 112 << 20 };

function* arrayOf(kernel: LinuxKernel): Routine<PageArray> {
  return yield* findPageArray(yield* kernelData(kernel), () => {});
}

describe("owners of a damaged kernel's pages", () => {
  let patched: PatchedKernel;
  let array: PageArray;
  let told: Damage[];
  let whole: PageOwner[];
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    told = [];
    array = await Io.of(patched.kernel.memory.scheduler, arrayOf, patched.kernel);
    whole = await list(RAM);
    expect(told).toEqual([]);
  });
  afterEach(() => patched?.close());

  const list = (targets: OwnerTargets) =>
    listOwners(patched.kernel, targets, { onDamage: (each) => told.push(each) }).toArray();
  const structOf = (owner: PageOwner) => array.addressOf(Math.floor(owner.physical / PAGE)) as bigint;
  const placeOf = async (owner: PageOwner, member: string) =>
    structOf(owner) + BigInt(offsetOf(await patched.kernel.types(), "page", member));
  const first = <K extends PageOwner["kind"]>(
    kind: K,
    fits: (owner: PageOwner & { kind: K }) => boolean = () => true,
  ) =>
    whole.find(
      (owner): owner is PageOwner & { kind: K } => owner.kind === kind && fits(owner as never),
    ) as PageOwner & {
      kind: K;
    };
  const at = (physical: number) => whole.filter((owner) => owner.physical === physical);

  it("are told in the order of the addresses, as often as these are given, and of each byte", async () => {
    const { physical } = first("slab");
    const [zero] = at(0);
    const found = await list([
      physical + 24,
      0,
      { start: physical + 8, end: physical + PAGE + 1 },
      physical + 24,
    ]);
    expect(found.map((owner) => owner.physical)).toEqual([
      physical + 24,
      0,
      physical + 8,
      physical + PAGE,
      physical + 24,
    ]);
    expect(found[1]).toEqual(zero);
    expect(found[0]).toEqual(found[4]);
    expect(told).toEqual([]);
  });

  it("are none of addresses that are none", async () => {
    await expect(() => list(-1)).rejects.toThrow(RangeError);
    await expect(() => list([{ start: 8, end: 4 }])).rejects.toThrow(RangeError);
    await expect(() => list(1.5)).rejects.toThrow(RangeError);
  });

  it("of a file's page whose mapping leads nowhere are the processes still, and what is wrong is told", async () => {
    const file = first("page cache", (owner) => at(owner.physical).some(({ kind }) => kind === "process"));
    const processes = at(file.physical).filter(({ kind }) => kind === "process");
    await patched.setPointer(await placeOf(file, "mapping"), WILD);
    const found = await list(file.physical);
    expect(found.filter(({ kind }) => kind === "process")).toEqual(processes);
    expect(found.some(({ kind }) => kind === "page cache")).toBe(false);
    expect(told.map(({ reason }) => reason)).toContain("unreadable");
  });

  it("of a page whose mapping is some other structure are no file: an inode must have it", async () => {
    const file = first("page cache");
    const [task] = await listTasks(patched.kernel).toArray();
    await patched.setPointer(await placeOf(file, "mapping"), task?.address as bigint);
    const found = await list(file.physical);
    expect(found.some(({ kind }) => kind === "page cache")).toBe(false);
    expect(told.length).toBeGreaterThan(0);
  });

  it("are given though pages say to be parts of each other, of themselves, or of nothing", async () => {
    const page = first("process", ({ path }) => path === "[heap]");
    const others = [
      structOf(page) + 1n,
      structOf(page) + 64n + 1n,
      (array.addressOf(1) as bigint) + 1n,
      structOf(page) - 8n + 1n,
      WILD + 1n,
    ];
    for (const head of others) {
      told.length = 0;
      await patched.setPointer(await placeOf(page, "compound_head"), head);
      const found = await list(page.physical);
      expect(found.filter(({ kind }) => kind === "process")).toEqual(
        at(page.physical).filter(({ kind }) => kind === "process"),
      );
    }
    expect(told).toMatchObject([{ what: "a struct page", reason: "mismatch" }]);
  });

  it("of pages whose structures are missing are what page tables say, and what is missing is told", async () => {
    const page = first("process", ({ path }) => path === "[heap]");
    const slab = first("slab");
    await patched.remove(structOf(page));
    await patched.remove(structOf(slab));
    const found = await list([page.physical, slab.physical]);
    expect(found.filter(({ kind }) => kind === "process")).toEqual(
      at(page.physical).filter(({ kind }) => kind === "process"),
    );
    expect(found.at(-1)).toMatchObject({ kind: "unknown", why: "its struct page can't be read" });
    expect(told).toMatchObject([
      { what: "a struct page", reason: "unreadable", address: structOf(page) },
      { what: "a struct page", reason: "unreadable", address: structOf(slab) },
    ]);
    await expect(listOwners(patched.kernel, slab.physical).toArray()).rejects.toThrow(DamageError);
  });

  it("of a slab whose cache is none are a slab without a name", async () => {
    const slab = first("slab");
    const types = await patched.kernel.types();
    await patched.setPointer(structOf(slab) + BigInt(offsetOf(types, "slab", "slab_cache")), WILD);
    const found = await list(slab.physical);
    expect(found).toMatchObject([{ kind: "slab", cache: undefined, object: undefined, isFree: undefined }]);
    expect(told).toMatchObject([{ what: "a slab cache", reason: "unreadable" }]);
  });

  it("of a slab whose list of free objects leads out of it are objects of which it is not told whether they are free", async () => {
    const free = first("slab", ({ isFree, objectOffset }) => isFree === true && objectOffset === 0);
    const used = whole.find(
      (owner): owner is PageOwner & { kind: "slab" } => owner.kind === "slab" && owner.isFree === false,
    );
    expect(used).toBeDefined();
    const types = await patched.kernel.types();
    const freelist = structOf(free) + BigInt(offsetOf(types, "slab", "freelist"));
    for (const to of [WILD, (free.object as bigint) + 1n]) {
      await patched.setPointer(freelist, to);
      const [found] = await list(free.physical);
      expect(found).toMatchObject({ kind: "slab", cache: free.cache, object: free.object });
      expect(found).not.toMatchObject({ isFree: false });
    }
  });

  it("tell of each slab as many free objects as it counts itself", async () => {
    const small = (await listSlabs(patched.kernel).toArray()).filter(
      ({ pagesPerSlab }) => pagesPerSlab === 1,
    );
    const names = new Set(small.map(({ name }) => name));
    const pages = whole.flatMap((owner) => (owner.kind === "slab" && names.has(owner.cache) ? [owner] : []));
    const rows = await Io.of(patched.kernel.memory.scheduler, slabsOf, patched.kernel, pages.map(structOf));
    // Those that a CPU has for itself count all of their objects as used.
    const partial = rows.flatMap(({ value }, i) =>
      value !== undefined && value.inUse < value.objects ? [{ page: pages[i] as PageOwner, value }] : [],
    );
    for (const { page, value } of partial.slice(0, 100)) {
      const offsets = Array.from({ length: PAGE / 8 }, (_, i) => page.physical + 8 * i);
      const free = new Set<bigint | undefined>();
      for (const owner of await list(offsets)) {
        if (owner.kind === "slab" && owner.isFree === true) free.add(owner.object);
      }
      expect(free.size).toBe(value.objects - value.inUse);
    }
    expect(partial.length).toBeGreaterThan(10);
  });

  it("are the same where symbols list functions only, as far as no variable names them", async () => {
    patched.kernel.useSymbols(await functionsOnly(patched.kernel));
    const same = (owners: readonly PageOwner[]) =>
      owners.filter(({ kind }) =>
        ["process", "page cache", "slab", "free", "module", "stack", "vmalloc"].includes(kind),
      );
    expect(same(await list(RAM))).toEqual(same(whole));
  });

  it("have a line for people each", () => {
    for (const owner of whole) expect(ownerText(owner)).not.toMatch(/undefined|NaN|\[object/);
  });
});

function* slabsOf(kernel: LinuxKernel, addresses: readonly bigint[]) {
  const data: KernelData = yield* kernelData(kernel);
  return yield* readSlabs(data, addresses);
}
