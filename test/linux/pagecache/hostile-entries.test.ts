/** Entries of a file's pages that lie: what they lead to is never shown as the file's bytes, and never as zeros. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type CachedFile, fileParts, listCachedFiles } from "../../../src/linux/index.js";
import { needStruct, offsetOf } from "../../../src/linux/objects/record.js";
import { sizeOf } from "../../../src/linux/types/c-type.js";
import type { TypeTable } from "../../../src/linux/types/index.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const PAGE = 4096;
/** A file of tmpfs with 32 pages, all of which are there. */
const PATH = "/shared.bin";

describe("entries of a file's pages that lie", () => {
  let patched: PatchedKernel;
  let types: TypeTable;
  let file: CachedFile;
  /** Address of the first slot. */
  let slots: bigint;
  let entries: bigint[];
  const undo: [bigint, bigint][] = [];

  beforeAll(async () => {
    patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
    types = await patched.kernel.types();
    ({ file } = await read());
    const head = file.address + BigInt(offsetOf(types, "inode", "i_data.i_pages.xa_head"));
    slots = (await word(head)) - 2n + BigInt(offsetOf(types, "xa_node", "slots"));
    entries = await Promise.all(Array.from({ length: 32 }, (_, i) => word(slots + BigInt(8 * i))));
  });
  afterEach(async () => {
    for (const [at, value] of undo.splice(0).reverse()) await patched.setPointer(at, value);
  });
  afterAll(() => patched?.close());

  async function read(): Promise<{ file: CachedFile; damage: string[] }> {
    const damage: string[] = [];
    const files = await listCachedFiles(patched.kernel, {
      where: ({ path }) => path === PATH,
      onDamage: ({ message }) => damage.push(message),
    }).toArray();
    return { file: files[0] as CachedFile, damage };
  }
  async function word(at: bigint): Promise<bigint> {
    const bytes = await patched.kernel.memory.read(at, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }
  async function put(at: bigint, value: bigint): Promise<void> {
    undo.push([at, await word(at)]);
    await patched.setPointer(at, value);
  }
  const slot = (index: number) => slots + BigInt(8 * index);
  const inPage = (index: number, path: string) =>
    (entries[index] as bigint) + BigInt(offsetOf(types, "page", path));
  /** What the file has at a page. */
  const partAt = (of: CachedFile, index: number) =>
    fileParts(of).find(({ start, end }) => start <= index * PAGE && index * PAGE < end);

  it("are none in the dump as it is", async () => {
    const { damage } = await read();
    expect(damage).toEqual([]);
    expect(file).toMatchObject({ inMemory: true, whole: true, size: 32 * PAGE, cached: 32 * PAGE });
  });

  const gone = { kind: "missing", why: "unknown" };
  it.each([
    ["a place in a swap area beyond 2^53", (1n << 58n) + (1n << 56n) + 1n, /swap area that lies beyond/],
    ["nothing, where the file counts a page", 0n, /31 pages are there of the 32/],
    ["another slot, which does not reach there", (2n << 2n) | 2n, /slot 5 stands for slot 2/],
    ["no page structure", 0x1000n, /no page structure/],
  ])("%s: a hole, and told", async (_, entry, message) => {
    await put(slot(5), entry);
    const { file: found, damage } = await read();
    expect(damage.join()).toMatch(message);
    expect(partAt(found, 5)).toMatchObject(gone);
    expect(found.cached).toBe(31 * PAGE);
  });

  it("a page that is in the file already: a hole, and told", async () => {
    await put(slot(5), entries[4] as bigint);
    const { file: found, damage } = await read();
    expect(damage.join()).toMatch(/page 5 is another file's, or page 4 of it/);
    expect(partAt(found, 5)).toMatchObject(gone);
  });

  it("a page behind the first one of another file's: a hole, and told", async () => {
    await put(inPage(5, "mapping"), file.address);
    await put(inPage(6, "compound_head"), (entries[5] as bigint) + 1n);
    const { file: found, damage } = await read();
    expect(damage.join()).toMatch(/page 6 is another file's/);
    expect(partAt(found, 6)).toMatchObject(gone);
  });

  it("a page behind one that is at no such distance in this file: a hole, and told", async () => {
    await put(inPage(6, "compound_head"), (entries[9] as bigint) + 1n);
    const { file: found, damage } = await read();
    expect(damage.join()).toMatch(/page 6 /);
    expect(partAt(found, 6)).toMatchObject(gone);
  });

  it("a page behind one that there is not: a hole, and told", async () => {
    await put(inPage(6, "compound_head"), 0x1001n);
    const { file: found, damage } = await read();
    expect(damage.join()).toMatch(/page 6 leads to a page behind another, which is not there/);
    expect(partAt(found, 6)).toMatchObject(gone);
  });

  describe("of two pages that are one folio", () => {
    let first: number;
    beforeAll(() => {
      const size = BigInt(sizeOf(needStruct(types, "page")));
      first = entries.findIndex((entry, i) => i % 2 === 0 && entries[i + 1] === entry + size);
      expect(first).toBeGreaterThanOrEqual(0);
    });

    /** Makes two pages one, of a size that is told. */
    async function join(order: number): Promise<void> {
      const flags = inPage(first, "flags");
      await put(flags, (await word(flags)) | (1n << 16n));
      await put(inPage(first + 1, "compound_head"), (entries[first] as bigint) + 1n);
      await put(inPage(first + 1, "mapping"), 0n);
      const at = (entries[first] as bigint) + BigInt(offsetOf(types, "folio", "_folio_order"));
      await put(at, ((await word(at)) & ~0xffn) | BigInt(order));
    }

    it("each page is there, whether it is an entry of its own or the first one stands for it", async () => {
      await join(1);
      const own = await read();
      await put(slot(first + 1), entries[first] as bigint);
      const same = await read();
      await put(slot(first + 1), BigInt(first << 2) | 2n);
      const sibling = await read();
      for (const { damage, file: found } of [own, same, sibling]) {
        expect(damage).toEqual([]);
        expect(fileParts(found)).toEqual(fileParts(file));
      }
    });

    it("an entry for more of them than there are takes those that there are", async () => {
      await join(1);
      for (let i = 1; i < 4; i++) await put(slot(first + i), BigInt(first << 2) | 2n);
      const { file: found, damage } = await read();
      expect(damage.join()).toMatch(/2 pages that are 4/);
      expect(partAt(found, first + 1)).toMatchObject({ kind: "memory" });
      expect(partAt(found, first + 2)).toMatchObject(gone);
    });

    it("a size that pages behind do not confirm: a hole, and told", async () => {
      await join(3);
      const { file: found, damage } = await read();
      expect(damage.join()).toMatch(/said to be one of 8, of which the last is another's/);
      expect(partAt(found, first)).toMatchObject(gone);
    });
  });
});
