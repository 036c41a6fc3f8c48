/** Files in the memory of a kernel whose lists, arrays and inodes are damaged: all that can be read is given, and the rest told. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CachedFile, cachedFileMemory, fileParts, listCachedFiles } from "../../../src/linux/index.js";
import { offsetOf as memberOffset } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

describe("files cached in a damaged kernel", () => {
  let patched: PatchedKernel;
  beforeEach(async () => {
    patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
  });
  afterEach(() => patched.close());

  const offsetOf = async (struct: string, path: string) =>
    memberOffset(await patched.kernel.types(), struct, path);
  const list = async () => {
    const damage: string[] = [];
    const files = await listCachedFiles(patched.kernel, {
      onDamage: ({ message }) => damage.push(message),
    }).toArray();
    return { files, damage, paths: files.map(({ path }) => path) };
  };
  const fileAt = async (path: string) =>
    (await list()).files.find((file) => file.path === path) as CachedFile;
  const pointer = async (at: bigint) => {
    const bytes = await patched.kernel.memory.read(at, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  };

  it("end where the list of file systems loops, and open files of the others are there all the same", async () => {
    const head = (await patched.kernel.symbol("super_blocks")).address;
    await patched.setPointer(head, head + 0x10n);
    const { paths, damage } = await list();
    expect(damage.join()).toMatch(/the list of file systems/);
    expect(paths).toContain("/run/deleted-but-open.txt");
  });

  it("end where the inodes of a file system loop", async () => {
    const init = await fileAt("/init");
    const links = init.address + BigInt(await offsetOf("inode", "i_sb_list"));
    await patched.setPointer(links, links);
    const { paths, damage } = await list();
    expect(damage.join()).toMatch(/the inodes of a file system/);
    expect(paths).toEqual(expect.arrayContaining(["/init", "/guest", "/bin/busybox"]));
  });

  it("are all there where the inodes of all file systems are one ring, which is walked once", async () => {
    const before = await list();
    const [s_inodes, s_list] = [
      await offsetOf("super_block", "s_inodes"),
      await offsetOf("super_block", "s_list"),
    ];
    const head = (await patched.kernel.symbol("super_blocks")).address;
    const heads: bigint[] = [];
    for (let at = await pointer(head); at !== head; at = await pointer(at)) {
      heads.push(at - BigInt(s_list) + BigInt(s_inodes));
    }
    expect(heads.length).toBeGreaterThan(10);
    // Two rings whose heads change what follows them are one.
    const link = async (from: bigint, to: bigint) => {
      await patched.setPointer(from, to);
      await patched.setPointer(to + 8n, from);
    };
    for (const [i, one] of heads.slice(1).entries()) {
      const [first, second] = [heads[i] as bigint, one];
      const [afterFirst, afterSecond] = [await pointer(first), await pointer(second)];
      await link(first, afterSecond);
      await link(second, afterFirst);
    }
    const { paths, damage } = await list();
    expect(new Set(paths)).toEqual(new Set(before.paths));
    expect(paths.length).toBe(before.paths.length);
    expect(damage.filter((each) => each.includes("another such list"))).toHaveLength(1);
    // (Once for some thousands of them.)
    expect(damage.filter((each) => each.includes("of another file system")).length).toBeLessThan(6);
  });

  it("have no pages by a node of the array that leads to itself or to garbage, and are not called whole", async () => {
    const guest = await fileAt("/guest");
    const pages = guest.address + BigInt(await offsetOf("inode", "i_data.i_pages.xa_head"));
    const node = (await pointer(pages)) - 2n;
    const slots = node + BigInt(await offsetOf("xa_node", "slots"));
    await patched.setPointer(slots, node + 2n);
    await patched.setPointer(slots + 8n, 0x4141_4141_4141_4142n);
    const { files, damage } = await list();
    const again = files.find(({ path }) => path === "/guest") as CachedFile;
    expect(damage.length).toBeGreaterThan(0);
    expect(again.whole).toBe(false);
    expect(again.cached).toBeLessThan(guest.cached);
    // What may have been there is not said to be zeros.
    expect(fileParts(again)[0]).toMatchObject({ start: 0, kind: "missing", why: "unknown" });
  });

  it("have no page that is another file's", async () => {
    const [guest, busybox] = [await fileAt("/guest"), await fileAt("/bin/busybox")];
    const head = BigInt(await offsetOf("inode", "i_data.i_pages.xa_head"));
    const slot = async (file: CachedFile) => {
      let at = (await pointer(file.address + head)) - 2n;
      const slots = BigInt(await offsetOf("xa_node", "slots"));
      for (;;) {
        const entry = await pointer(at + slots);
        if ((entry & 3n) !== 2n) return at + slots;
        at = entry - 2n;
      }
    };
    await patched.setPointer(await slot(guest), await pointer(await slot(busybox)));
    const { files, damage } = await list();
    expect(damage.join()).toMatch(/another file's/);
    expect(files.find(({ path }) => path === "/guest")?.ranges[0]?.start).toBe(4096);
  });

  it("that lead to no page structure are told", async () => {
    const init = await fileAt("/init");
    await patched.setPointer(
      init.address + BigInt(await offsetOf("inode", "i_data.i_pages.xa_head")),
      0x1000n,
    );
    const { paths, damage } = await list();
    expect(damage.join()).toMatch(/the pages of inode 9 \(\/init\).*no page structure/);
    expect(paths).not.toContain("/init");
  });

  it.each([
    ["2^62", 1n << 62n, 2 ** 62],
    ["2^40", 1n << 40n, 2 ** 40],
    ["2^63: none", 1n << 63n, undefined],
    ["-1: none", (1n << 64n) - 1n, undefined],
    ["100", 100n, 100],
  ])("of the size %s take no more than their pages", async (_, size, told) => {
    const init = await fileAt("/init");
    await patched.setPointer(init.address + BigInt(await offsetOf("inode", "i_size")), size);
    const { files, damage } = await list();
    const again = files.find(({ path }) => path === "/init") as CachedFile;
    expect(again.size).toBe(told);
    expect(again.cached).toBe(size === 100n ? 100 : 4096);
    expect(damage.length).toBe(told === undefined ? 1 : 0);
    expect(fileParts(again).length).toBeLessThan(3);
    const text = await cachedFileMemory(patched.kernel, again).read(0, 18);
    expect(Buffer.from(text).toString()).toBe("#!/bin/busybox sh\n");
  });

  it("with an entry at an index beyond all places in a file have none there", async () => {
    const guest = await fileAt("/guest");
    const head = guest.address + BigInt(await offsetOf("inode", "i_data.i_pages.xa_head"));
    const node = (await pointer(head)) - 2n;
    // A tree of eleven levels: its last slot lies beyond 2^60.
    const shift = node + BigInt(await offsetOf("xa_node", "shift"));
    await patched.set(shift, Uint8Array.of(60));
    const { files, damage } = await list();
    expect(damage.length).toBeGreaterThan(0);
    expect(files.find(({ path }) => path === "/guest")?.cached ?? 0).toBeLessThan(guest.cached);
  });

  it("whose page structures are missing are told", async () => {
    const init = await fileAt("/init");
    const entry = await pointer(init.address + BigInt(await offsetOf("inode", "i_data.i_pages.xa_head")));
    await patched.remove(entry);
    const { damage, paths } = await list();
    expect(damage.join()).toMatch(/the pages of inode/);
    expect(paths).not.toContain("/init");
  });
});
