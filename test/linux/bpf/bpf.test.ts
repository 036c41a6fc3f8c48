/** BPF of the dump that ships, damaged; what it is whole, bpf-suite.ts compares. */
import { afterEach, describe, expect, it } from "vitest";
import { type BpfProgram, type Damage, listBpf } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";

describe("BPF", () => {
  let patched: PatchedKernel | undefined;
  afterEach(() => patched?.close());

  it("a program whose other half is not there is listed with what is, and that is told", async () => {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const [before] = await listBpf(kernel).toArray();
    const aux = BigInt(offsetOf(await kernel.types(), "bpf_prog", "aux"));
    await patched.setPointer((before as BpfProgram).address + aux, 0xdead_0000_0000_0100n);
    const damage: Damage[] = [];
    const found = await listBpf(kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(found[0]).toMatchObject({ kind: "program", id: before?.id, instructions: 2, name: undefined });
    expect(damage).toMatchObject([{ what: `BPF program ${before?.id}`, reason: "unreadable" }]);
  });

  it("maps, links and the maps that a program uses are listed; types have their names", async () => {
    // They are written into a page of zeros, and are the one entry (index 0) of their arrays.
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const types = await kernel.types();
    const page = (await kernel.symbol("empty_zero_page")).address;
    const head = BigInt(offsetOf(types, "idr", "idr_rt") + offsetOf(types, "xarray", "xa_head"));
    const put = async (at: bigint, struct: string, values: Record<string, number>) => {
      for (const [path, value] of Object.entries(values)) {
        const bytes = new Uint8Array(4);
        new DataView(bytes.buffer).setUint32(0, value, true);
        await patched?.set(at + BigInt(offsetOf(types, struct, path)), bytes);
      }
    };
    const [before] = (await listBpf(kernel).toArray()) as BpfProgram[];
    if (before === undefined) throw new Error("no program");
    const [map, link, array] = [page + 0x100n, page + 0x800n, page + 0xc00n];
    await put(map, "bpf_map", { map_type: 2, key_size: 4, value_size: 8, max_entries: 16, map_flags: 0x400 });
    await patched.set(map + BigInt(offsetOf(types, "bpf_map", "name")), new TextEncoder().encode("counts"));
    await put(link, "bpf_link", { type: 3 });
    await patched.setPointer(link + BigInt(offsetOf(types, "bpf_link", "prog")), before.address);
    await patched.setPointer((await kernel.symbol("prog_idr")).address + head, before.address);
    await patched.setPointer((await kernel.symbol("map_idr")).address + head, map);
    await patched.setPointer((await kernel.symbol("link_idr")).address + head, link);
    const auxAt = before.address + BigInt(offsetOf(types, "bpf_prog", "aux"));
    const aux = new DataView((await kernel.memory.read(auxAt, 8)).slice().buffer).getBigUint64(0, true);
    await patched.setPointer(array, map);
    await patched.setPointer(aux + BigInt(offsetOf(types, "bpf_prog_aux", "used_maps")), array);
    await put(aux, "bpf_prog_aux", { used_map_cnt: 0xffff_ffff });
    const damage: Damage[] = [];
    const found = await listBpf(kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(found).toEqual([
      { ...before, id: 0, maps: [0] },
      {
        kind: "map",
        id: 0,
        type: "array",
        name: "counts",
        keySize: 4,
        valueSize: 8,
        maxEntries: 16,
        flags: 0x400,
        address: map,
      },
      { kind: "link", id: 0, type: "cgroup", program: 0, address: link },
    ]);
    // Of as many as it says, there is one: the count is not believed, and what is behind it are no maps.
    expect(new Set(damage.map(({ reason }) => reason))).toEqual(new Set(["too long", "mismatch"]));
  });
});
