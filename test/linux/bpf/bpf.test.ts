/** BPF of the dump that ships: its guest loaded one program. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { open } from "../../../connectors/index.js";
import { type BpfProgram, type Damage, listBpf } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
const symbol = truth.symbols.find(({ module }: { module?: string }) => module === "bpf");

describe("BPF", () => {
  let patched: PatchedKernel | undefined;
  afterEach(() => patched?.close());

  it("programs have the name and tag of their symbol in /proc/kallsyms, and begin there", async () => {
    const machine = await open(DUMP);
    try {
      const [program, ...others] = await (await machine.linux()).bpf().toArray();
      expect(others).toEqual([]);
      // What the guest loaded (fixtures/vm/guest.c, load_bpf): two instructions, by root, at its start.
      expect(program).toMatchObject({
        kind: "program",
        type: "socket_filter",
        instructions: 2,
        uid: 0,
        maps: [],
      });
      const { name, tag, image, loaded } = program as BpfProgram;
      expect(`bpf_prog_${tag}_${name}`).toBe(symbol.name);
      expect(image).toBe(BigInt(symbol.address));
      expect(loaded).toBeGreaterThan(0);
      expect(loaded).toBeLessThan(60);
    } finally {
      await machine.close();
    }
  });

  it("a program whose other half is not there is listed with what is, and that is told", async () => {
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const [before] = await listBpf(kernel).toArray();
    const aux = BigInt(offsetOf(await kernel.types(), "bpf_prog", "aux"));
    await patched.setPointer((before as BpfProgram).address + aux, 0xdead_0000_0000_0100n);
    const damage: Damage[] = [];
    const found = await listBpf(kernel, { onDamage: (each) => damage.push(each) }).toArray();
    expect(found).toMatchObject([{ kind: "program", id: before?.id, instructions: 2, name: undefined }]);
    expect(damage).toMatchObject([{ what: `BPF program ${before?.id}`, reason: "unreadable" }]);
  });
});
