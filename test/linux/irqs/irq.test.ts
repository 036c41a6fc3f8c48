/** Interrupts of the committed dump's kernel, with things that are damaged, and by symbols that lack variables. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Damage, type Interrupt, listIrqs, listSoftirqs } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { Member, StructType, sizeOf } from "../../../src/linux/types/c-type.js";
import { typeNamed } from "../../../src/linux/types/type-name.js";
import type { TypeTable } from "../../../src/linux/types/type-table.js";
import { functionsOnly } from "../../support/functions-only.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const WILD = 0xffff_dead_0000_0000n;

describe("interrupts", () => {
  let patched: PatchedKernel;
  let whole: Interrupt[];
  let told: Damage[];
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    whole = await listIrqs(patched.kernel).toArray();
    told = [];
  });
  afterEach(() => patched?.close());

  const options = () => ({ onDamage: (each: Damage) => told.push(each) });
  const list = () => listIrqs(patched.kernel, options()).toArray();
  const offset = async (struct: string, path: string) =>
    BigInt(offsetOf(await patched.kernel.types(), struct, path));
  const of = (label: string) => whole.find((each) => each.label === label) as Interrupt;

  it("are the same where symbols list functions only, but for what only a variable of its own counts", async () => {
    const softirqs = await listSoftirqs(patched.kernel).toArray();
    patched.kernel.useSymbols(await functionsOnly(patched.kernel));
    expect(await list()).toEqual(whole.filter(({ label }) => !["ERR", "MIS"].includes(label)));
    const found = await listSoftirqs(patched.kernel, options()).toArray();
    expect(found).toEqual(softirqs.map((each) => ({ ...each, handler: null })));
    expect(softirqs.map(({ handler }) => handler)).toContain("run_timer_softirq");
    expect(told).toEqual([]);
  });

  it("of posted messages are counted last, by kernels that have a counter for them (6.10)", async () => {
    const types = await patched.kernel.types();
    const stat = sizeOf(typeNamed(types, "irq_cpustat_t"));
    const counter = new Member("posted_msi_notification_count", 0, 0, () => typeNamed(types, "unsigned int"));
    const newer = new StructType("struct", "", stat, () => [counter]);
    const table: TypeTable = {
      name: types.name,
      pointerSize: types.pointerSize,
      littleEndian: types.littleEndian,
      find: (kind, name) => types.find(kind, name),
      variable: (name) => (name === "irq_stat" ? newer : types.variable(name)),
      perCpuOffset: (name) => types.perCpuOffset?.(name),
      all: () => types.all(),
    };
    patched.kernel.useTypes(table);
    expect((await list()).at(-1)).toMatchObject({
      label: "PMN",
      counts: [{ cpu: 0 }],
      description: "Posted MSI notification event",
    });
    expect(told).toEqual([]);
  });

  it("that nobody handles and that never came are given when all are asked for", async () => {
    const all = await listIrqs(patched.kernel, { all: true }).toArray();
    expect(all.length).toBeGreaterThan(whole.length);
    expect(all.filter(({ actions, total }) => actions.length > 0 || total !== 0)).toEqual(
      whole.filter(({ irq, total }) => irq !== null || total !== 0),
    );
  });

  it("have the handlers up to a pointer that leads back, or nowhere; which is told", async () => {
    const { actions } = of("4");
    const at = (actions[0]?.address as bigint) + (await offset("irqaction", "next"));
    for (const [pointer, reason] of [
      [actions[0]?.address as bigint, "loop"],
      [of("1").actions[0]?.address as bigint, "loop"],
      [WILD, "unreadable"],
    ] as const) {
      told.length = 0;
      await patched.setPointer(at, pointer);
      expect(await list()).toEqual(whole);
      expect(told).toMatchObject([{ what: "the handlers of an interrupt", address: pointer, reason }]);
      await expect(listIrqs(patched.kernel).toArray()).rejects.toMatchObject({ code: "DAMAGED" });
    }
  });

  it("may have one handler together, as all those have that lead to others", async () => {
    const action = await offset("irq_desc", "action");
    await patched.setPointer((of("1").address as bigint) + action, of("4").actions[0]?.address as bigint);
    const shared = { ...of("1"), actions: of("4").actions };
    expect(await list()).toEqual(whole.map((each) => (each.label === "1" ? shared : each)));
    expect(told).toEqual([]);
  });

  it("whose handler is wild have its address, and no name", async () => {
    const [action] = of("1").actions;
    await patched.setPointer((action?.address as bigint) + (await offset("irqaction", "handler")), WILD);
    const changed = { ...of("1"), actions: [{ ...action, handler: null, handlerAddress: WILD }] };
    expect(await list()).toEqual(whole.map((each) => (each.label === "1" ? changed : each)));
    expect(told).toEqual([]);
  });

  it("are not another one's: a descriptor in a wrong place is told, and left out there", async () => {
    const address = of("4").address as bigint;
    const irq = address + (await offset("irq_desc", "irq_data.irq"));
    await patched.set(irq, new Uint8Array([3, 0, 0, 0]));
    expect(await list()).toEqual(whole.filter(({ label }) => label !== "4"));
    expect(told).toMatchObject([{ what: "the descriptor of interrupt 4", address, reason: "mismatch" }]);
  });

  it("whose counts, controller, name and CPUs can't be read have the rest, and that is told", async () => {
    const address = of("4").address as bigint;
    for (const path of ["kstat_irqs", "irq_data.chip", "name"]) {
      await patched.setPointer(address + (await offset("irq_desc", path)), WILD);
    }
    const found = (await list()).find(({ label }) => label === "4");
    expect(found).toEqual({
      ...of("4"),
      counts: [{ cpu: 0, count: undefined }],
      total: undefined,
      chip: undefined,
      flow: undefined,
    });
    expect(told.map(({ what }) => what).sort()).toEqual([
      "an irq_chip",
      "the count of an interrupt",
      "the name of an interrupt's handling",
    ]);
  });

  it("of CPUs that there are not, are not counted: a count and a set of them that lie are told", async () => {
    const count = (await patched.kernel.symbol("nr_cpu_ids")).address;
    const mask = (await patched.kernel.symbol("__cpu_possible_mask")).address;
    await patched.set(count, new Uint8Array(4).fill(0xff));
    await patched.set(mask, new Uint8Array(64).fill(0xff));
    // (Where a second one's would be, the dump has nothing.)
    const found = (await list()).map((each) => ({
      ...each,
      counts: each.counts.filter(({ cpu, count }) => cpu === 0 || count !== undefined),
    }));
    expect(found).toEqual(whole);
    expect(told.length).toBeGreaterThan(100);
  });

  it("without their page are told, and the others given", async () => {
    const address = of("8").address as bigint;
    await patched.remove(address);
    const found = await list();
    const others = whole.filter((each) => each.address === null || each.address >> 12n !== address >> 12n);
    expect(found).toEqual(expect.arrayContaining(others));
    expect(told.map(({ reason }) => reason)).toContain("unreadable");
  });
});
