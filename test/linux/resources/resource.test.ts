/** Resources of the committed dump's kernel against its /proc/iomem, and of a kernel with a tree that is damaged. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { Truth } from "../../../fixtures/vm/truth.mjs";
import { type Damage, listResources, type Resource } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const TRUTH: Truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));

function shown({ start, end, name, depth }: Resource): Truth["iomem"][number] {
  return { start: `0x${start.toString(16)}`, end: `0x${end.toString(16)}`, name: name ?? "", depth };
}

describe("resources", () => {
  let patched: PatchedKernel;
  afterEach(() => patched?.close());

  it("are those of /proc/iomem, in its order", async () => {
    patched = await PatchedKernel.open(DUMP);
    const found = await listResources(patched.kernel).toArray();
    expect(TRUTH.iomem.length).toBeGreaterThan(10);
    expect(found.map(shown)).toEqual(TRUTH.iomem);
  });

  it("are ports when ports are asked for: all within 64 KiB, each in what it lies in", async () => {
    patched = await PatchedKernel.open(DUMP);
    const ports = await listResources(patched.kernel, { ports: true }).toArray();
    expect(ports.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["dma1", "pic1", "keyboard", "fpu"]),
    );
    const open: Resource[] = [];
    for (const port of ports) {
      expect(port.end).toBeLessThanOrEqual(0x10000n);
      open.length = port.depth;
      const above = open.at(-1);
      if (above !== undefined) {
        expect(port.start >= above.start && port.end <= above.end, `${port.name} in ${above.name}`).toBe(
          true,
        );
      }
      open.push(port);
    }
  });

  it("end at a sibling that was there before, and at one that is no address; both are told", async () => {
    patched = await PatchedKernel.open(DUMP);
    const types = await patched.kernel.types();
    const whole = await listResources(patched.kernel).toArray();
    const tops = whole.filter(({ depth }) => depth === 0);
    const [first, , third] = tops as [Resource, Resource, Resource];
    const sibling = third.address + BigInt(offsetOf(types, "resource", "sibling"));
    for (const [pointer, reason] of [
      [first.address, "loop"],
      [0xffff_dead_0000_0000n, "unreadable"],
    ] as const) {
      await patched.setPointer(sibling, pointer);
      const told: Damage[] = [];
      const found = await listResources(patched.kernel, { onDamage: (each) => told.push(each) }).toArray();
      expect(found).toEqual(whole.slice(0, whole.indexOf(tops[3] as Resource)));
      expect(told).toMatchObject([{ what: "a resource", address: pointer, reason }]);
      await expect(listResources(patched.kernel).toArray()).rejects.toMatchObject({ code: "DAMAGED" });
    }
  });
});
