/** Whose code an address is, of modules made by hand: next to each other, and one within the other. */
import { expect, it } from "vitest";
import { Io, Scheduler } from "../../../src/io/index.js";
import { kernelData } from "../../../src/linux/kernel-data.js";
import { CodeOwners } from "../../../src/linux/modules/code-owner.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

const BASE = 0xffff_ffff_c000_0000n;

it("is that of the module whose memory is around it, in whatever order they are listed", async () => {
  const types = new HandTypes()
    .struct("list_head", ["next", "struct list_head*"], ["prev", "struct list_head*"])
    .struct("module_layout", ["base", "void*"], ["size", "unsigned int"])
    .struct(
      "module",
      ["state", "unsigned int"],
      ["list", "struct list_head"],
      ["name", "char[16]"],
      ["core_layout", "struct module_layout"],
    );
  const memory = new HandMemory(types);
  const at = (base: bigint, path: string) => base + BigInt(types.offset("module", path));
  const modules = [
    ["far", 0x9000, 0x1000],
    ["wide", 0x2000, 0x5000],
    ["first", 0x1000, 0x1000],
    ["inner", 0x3000, 0x1000],
  ] as const;
  const head = memory.take(16);
  const nodes = [head];
  for (const [name, start, size] of modules) {
    const module = memory.take(96);
    memory.bytes(at(module, "name"), new TextEncoder().encode(name));
    memory.put(at(module, "core_layout.base"), BASE + BigInt(start));
    memory.put(at(module, "core_layout.size"), size, 4);
    nodes.push(at(module, "list"));
  }
  for (const [i, node] of nodes.entries()) {
    memory.put(node, nodes[(i + 1) % nodes.length] as bigint);
    memory.put(node + 8n, nodes.at(i - 1) as bigint);
  }
  const kernel = handKernel(types, memory, { variables: { modules: head } });
  const owners = await Io.of(new Scheduler(), function* () {
    const data = yield* kernelData(kernel);
    const all = yield* CodeOwners.read(data, () => {});
    const found: unknown[] = [];
    for (const offset of [0xfff, 0x1000, 0x1fff, 0x2000, 0x5000, 0x6fff, 0x7000, 0x9fff, 0xa000]) {
      found.push(yield* all.of(BASE + BigInt(offset)));
    }
    return found;
  });
  const none = undefined;
  expect(owners).toEqual([none, "first", "first", "wide", "wide", "wide", none, "far", none]);
});
