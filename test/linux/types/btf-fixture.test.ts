import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Machine } from "../../../connectors/machine.js";
import { open } from "../../../connectors/open.js";
import type { LinuxKernel, TypeTable } from "../../../src/linux/index.js";
import type { Btf } from "../../../src/linux/types/btf/btf.js";
import { sizeOf } from "../../../src/linux/types/c-type.js";
import { findMember, findPlace, needPlace } from "../../../src/linux/types/member-path.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import { walkTypes } from "../../support/walk-types.js";

describe("the kernel of the committed dump", () => {
  let machine: Machine;
  let kernel: LinuxKernel;
  let types: TypeTable;
  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump");
    kernel = await machine.linux();
    types = await kernel.types();
  });
  afterAll(() => machine.close());

  it("says the same sizes and offsets by BTF as by VMCOREINFO", () => {
    const { sizes, offsets } = kernel.vmcoreinfo;
    let compared = 0;
    for (const [name, size] of sizes) {
      const type = types.find("struct", name) ?? types.find("name", name);
      if (type === undefined) continue;
      expect([name, sizeOf(type)]).toEqual([name, size]);
      compared++;
    }
    for (const [path, offset] of offsets) {
      const dot = path.indexOf(".");
      const type = types.find("struct", path.slice(0, dot));
      if (type === undefined) continue;
      expect([path, needPlace(type, path.slice(dot + 1)).bitOffset]).toEqual([path, 8 * offset]);
      compared++;
    }
    expect(compared).toBeGreaterThan(30);
  });

  it("has no damage, and every type can be looked at", () => {
    expect((types as Btf).damage).toBeUndefined();
    walkTypes(
      types,
      [...types.all()].map(({ type }) => type),
    );
  });

  it("has members by paths, through members without a name", () => {
    const task = typeNamed(types, "task_struct");
    expect(needPlace(task, "tasks.prev").bitOffset - needPlace(task, "tasks").bitOffset).toBe(64);
    expect(needPlace(task, "comm[3]").bitOffset - needPlace(task, "comm").bitOffset).toBe(24);
    expect(findPlace(task, "comm[16]")).toBeUndefined();
    expect(findPlace(task, "nosuch")).toBeUndefined();
    expect(findPlace(typeNamed(types, "pid"), "numbers[7].ns")).toBeDefined();
    expect(findMember(typeNamed(types, "page") as never, "compound_head")?.bitOffset).toBe(64);
    expect(() => needPlace(task, "nosuch")).toThrowError(expect.objectContaining({ code: "NO_MEMBER" }));
    expect(() => findPlace(task, "a..b")).toThrowError(expect.objectContaining({ code: "NO_MEMBER" }));
  });
});
