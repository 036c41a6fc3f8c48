/**
 * Names of mapped ranges that the guests have none of: names of anonymous memory (Debian's kernels are built without), and files
 * of overlayfs on a kernel that has `struct backing_file`. The dump that ships is changed for them, or its types are.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Damage, listVmas, type TypeTable, type Vma } from "../../../src/linux/index.js";
import { needStruct, offsetOf } from "../../../src/linux/objects/record.js";
import { type CType, Member, StructType } from "../../../src/linux/types/c-type.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

/** A table of types, some of which are others. */
function typesWith(types: TypeTable, ...others: StructType[]): TypeTable {
  return {
    name: types.name,
    pointerSize: types.pointerSize,
    littleEndian: types.littleEndian,
    find: (kind, name) =>
      others.find((each) => each.kind === kind && each.name === name) ?? types.find(kind, name),
    variable: (name) => types.variable(name),
    all: () => types.all(),
  };
}

function struct(
  name: string,
  size: number,
  members: readonly (readonly [string, number, CType])[],
): StructType {
  return new StructType("struct", name, size, () =>
    members.map(([member, offset, type]) => new Member(member, 8 * offset, 0, () => type)),
  );
}

describe("names of mapped ranges", () => {
  let patched: PatchedKernel;
  let types: TypeTable;
  let before: Vma[];

  beforeEach(async () => {
    patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
    types = await patched.kernel.types();
    before = (await list()).vmas;
  });
  afterEach(() => patched.close());

  async function list(): Promise<{ vmas: Vma[]; damage: Damage[] }> {
    const damage: Damage[] = [];
    const onDamage = (each: Damage) => damage.push(each);
    return { vmas: await listVmas(patched.kernel, { pages: false, onDamage }).toArray(), damage };
  }

  const at = (name: string, member: string) => BigInt(offsetOf(types, name, member));

  function range(of: (vma: Vma) => boolean): Vma {
    const found = before.find(of);
    if (found === undefined) throw new Error("no such range");
    return found;
  }

  async function pointerAt(address: bigint): Promise<bigint> {
    return new DataView((await patched.kernel.memory.read(address, 8)).buffer).getBigUint64(0, true);
  }

  /** Memory of the kernel with a name, as an `anon_vma_name`. */
  async function nameOf(text: string): Promise<bigint> {
    const { address } = await patched.kernel.symbol("linux_banner");
    await patched.set(address + at("anon_vma_name", "name"), Buffer.from(`${text}\0`));
    return address;
  }

  it("anonymous memory has the name that its process gave it; the heap, and ranges of files, have their own", async () => {
    const anonymous = range(({ path }) => path === "");
    const heap = range(({ path }) => path === "[heap]");
    const name = await nameOf("jemalloc");
    for (const vma of [anonymous, heap]) {
      await patched.setPointer(vma.address + at("vm_area_struct", "anon_name"), name);
    }
    const { vmas, damage } = await list();
    const changed = vmas.filter((vma, i) => vma.path !== before[i]?.path);
    expect(damage).toEqual([]);
    expect(changed.map(({ address, path }) => [address, path])).toEqual([
      [anonymous.address, "[anon:jemalloc]"],
    ]);
  });

  it("so has shared memory, where the name has a place of its own", async () => {
    const old = needStruct(types, "vm_area_struct");
    const { type } = needStruct(types, "anon_vma_name") && {
      type: old.own("vm_private_data")?.type as CType,
    };
    const place = offsetOf(types, "vm_area_struct", "vm_private_data");
    const members = old.members.map((each) => [each.name, each.bitOffset / 8, each.type] as const);
    patched.kernel.useTypes(
      typesWith(types, struct("vm_area_struct", old.size, [["anon_name", place, type], ...members])),
    );
    const file = range(({ path }) => path === "/guest");
    await patched.setPointer(file.address + BigInt(place), await nameOf("buffers"));
    const { vmas, damage } = await list();
    const changed = vmas.filter((vma, i) => vma.path !== before[i]?.path);
    expect(damage).toEqual([]);
    expect(changed.map(({ address, path }) => [address, path])).toEqual([
      [file.address, "[anon_shmem:buffers]"],
    ]);
  });

  it("a file that backs one of overlayfs is shown by what the user opened", async () => {
    const { size } = needStruct(types, "file");
    const backing = struct("backing_file", size + 16, [
      ["file", 0, needStruct(types, "file")],
      ["user_path", size, needStruct(types, "path")],
    ]);
    // One process's program becomes what another's backs: the first process's is the only one that is mapped of it.
    const guest = range(({ path }) => path === "/guest");
    const other = range(({ path }) => path !== undefined && path !== "/guest" && path.startsWith("/bin/"));
    const file = await pointerAt(other.address + at("vm_area_struct", "vm_file"));
    const seen = await pointerAt(guest.address + at("vm_area_struct", "vm_file"));
    const path = await patched.kernel.memory.read(seen + at("file", "f_path"), 16);
    await patched.set(file + BigInt(size), path);
    const mode = await patched.kernel.memory.read(file + at("file", "f_mode"), 4);
    mode[3] = (mode[3] as number) | 2;
    await patched.set(file + at("file", "f_mode"), mode);
    const unknown = (await list()).vmas;
    expect(unknown.find(({ address }) => address === other.address)?.path).toBe(other.path);

    patched.kernel.useTypes(typesWith(types, backing));
    const { vmas, damage } = await list();
    expect(damage).toEqual([]);
    expect(vmas.find(({ address }) => address === other.address)).toMatchObject({
      path: "/guest",
      inode: guest.inode,
      device: guest.device,
    });

    await patched.setPointer(file + BigInt(size + 8), 0xdead_0000_0000_0100n);
    const wild = await list();
    expect(wild.vmas.find(({ address }) => address === other.address)?.path).toBe(undefined);
    expect(wild.damage.length).toBeGreaterThan(0);
  });
});
