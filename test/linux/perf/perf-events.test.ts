/** Perf events that no guest of ours has, or that somebody damaged: written into the log of the dump that ships, which is large. */
import { afterEach, describe, expect, it } from "vitest";
import { listPerfEvents, listTasks, type Task } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { breakpointName, perfEventName } from "../../../src/linux/perf/names.js";
import type { TypeTable } from "../../../src/linux/types/type-table.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
const opened = PatchedKernel.open(FIXTURE).then(async (patched) => ({
  patched,
  types: await patched.kernel.types(),
  task: (await listTasks(patched.kernel).toArray()).find(({ pid }) => pid === 97) as Task,
  page: ((await patched.kernel.symbol("__log_buf")).address + 4096n) & ~4095n,
}));

/** An event in a task's second context, and on the list of what that task opened. */
async function write(): Promise<{ patched: PatchedKernel; types: TypeTable; task: Task; event: bigint }> {
  const { patched, types, task, page } = await opened;
  const [event, context, pmu, name] = [page, page + 2048n, page + 2560n, page + 3072n];
  await patched.set(page, new Uint8Array(4096));
  const at = (struct: string, path: string) => BigInt(offsetOf(types, struct, path));
  const ring = async (head: bigint, node: bigint) => {
    for (const [from, to] of [
      [head, node],
      [node, head],
    ] as const) {
      await patched.setPointer(from, to);
      await patched.setPointer(from + 8n, to);
    }
  };
  const set = (path: string, value: bigint) => patched.setPointer(event + at("perf_event", path), value);
  await ring(task.address + at("task_struct", "perf_event_list"), event + at("perf_event", "owner_entry"));
  await patched.setPointer(task.address + at("task_struct", "perf_event_ctxp[1]"), context);
  await ring(context + at("perf_event_context", "event_list"), event + at("perf_event", "event_entry"));
  await patched.setPointer(context + at("perf_event_context", "task"), task.address);
  await patched.set(pmu + at("pmu", "type"), Uint8Array.of(40, 0, 0, 0));
  await patched.setPointer(pmu + at("pmu", "name"), name);
  await patched.set(
    name,
    Uint8Array.from("uncore", (each) => each.charCodeAt(0)),
  );
  await set("id", 7n);
  await set("attr.type", 40n);
  await set("attr.config", 0x1234_5678_9abc_def0n);
  await set("attr.sample_period", 0xffff_ffff_ffff_fff0n);
  await set("pmu", pmu);
  await set("ctx", context);
  await set("group_leader", event);
  await set("owner", 0xffff_ffff_ffff_ffffn);
  await set("count", 5n);
  await set("child_count", 6n);
  await patched.set(event + at("perf_event", "cpu"), Uint8Array.of(255, 255, 255, 255));
  return { patched, types, task, event };
}

describe("a perf event", () => {
  afterEach(async () => (await opened).patched.restore());

  it("of a PMU has its name, numbers of 64 bits are exact, and the kernel's own are told", async () => {
    const { patched, event } = await write();
    expect(await listPerfEvents(patched.kernel).toArray()).toMatchObject([
      {
        address: event,
        type: "uncore",
        name: null,
        config: 0x1234_5678_9abc_def0n,
        period: 0xffff_ffff_ffff_fff0n,
        count: 11n,
        cpu: -1,
        owner: null,
        isKernels: true,
        target: { pid: 97, tgid: 97, comm: "guest" },
        seen: ["owner", "task"],
      },
    ]);
  });

  it("that calls code which nobody owns is told so; one that calls nothing calls nothing", async () => {
    const { patched, types, event } = await write();
    const handler = event + BigInt(offsetOf(types, "perf_event", "overflow_handler"));
    await patched.setPointer(handler, event);
    const [hooked] = await listPerfEvents(patched.kernel).toArray();
    expect(hooked).toMatchObject({ handler: event, handlerOwner: undefined });
    await patched.setPointer(handler, 0n);
    const [plain] = await listPerfEvents(patched.kernel).toArray();
    expect(plain).toMatchObject({ handler: 0n, handlerName: null, handlerOwner: null });
  });

  it("on a list that leads elsewhere is given, and the list is damaged", async () => {
    const { patched, types, event } = await write();
    await patched.setPointer(
      event + BigInt(offsetOf(types, "perf_event", "event_entry")),
      0xdead_0000_0000_0100n,
    );
    const damage: string[] = [];
    const onDamage = (each: { message: string }) => void damage.push(each.message);
    expect(await listPerfEvents(patched.kernel, { onDamage }).toArray()).toHaveLength(1);
    expect(damage.join()).toContain("the events of a task");
  });

  it("whose PMU and program can't be read has the rest", async () => {
    const { patched, types, event } = await write();
    for (const path of ["pmu", "prog"]) {
      await patched.setPointer(event + BigInt(offsetOf(types, "perf_event", path)), 0xdead_0000_0000_0100n);
    }
    const damage: string[] = [];
    const onDamage = (each: { message: string }) => void damage.push(each.message);
    expect(await listPerfEvents(patched.kernel, { onDamage }).toArray()).toMatchObject([
      { id: 7, type: "40", pmu: undefined, program: { id: undefined, name: undefined } },
    ]);
    expect(damage.join()).toMatch(/a PMU at .*a BPF program at /);
  });

  it("is looked for in no more PMUs than a machine can have, and that is told", async () => {
    const { patched, page } = await opened;
    // (Another thing has that name too.)
    const head = (await patched.kernel.symbols("pmus").toArray())[0]?.address as bigint;
    const count = 4097;
    const at = (i: number) => (i < 0 || i >= count ? head : page + BigInt(16 * i));
    const links = BigUint64Array.from({ length: 2 * count }, (_, i) =>
      at(i % 2 === 0 ? i / 2 + 1 : (i - 1) / 2 - 1),
    );
    const bytes = new Uint8Array(links.buffer);
    for (let from = 0; from < bytes.length; from += 4096) {
      await patched.set(page + BigInt(from), bytes.subarray(from, from + 4096));
    }
    await patched.setPointer(head, at(0));
    await patched.setPointer(head + 8n, at(count - 1));
    const damage: string[] = [];
    await listPerfEvents(patched.kernel, { onDamage: ({ message }) => damage.push(message) }).toArray();
    expect(damage).toContainEqual(expect.stringMatching(/^the list of PMUs .*4097 can't be: 4096/));
  });

  it("is there only if a process that is asked for has to do with it", async () => {
    const { patched } = await write();
    expect(await listPerfEvents(patched.kernel, { pid: 97 }).toArray()).toHaveLength(1);
    expect(await listPerfEvents(patched.kernel, { pid: 98 }).toArray()).toEqual([]);
  });
});

it("names are those of perf-list", () => {
  expect([0, 9].map((config) => perfEventName(0, BigInt(config)))).toEqual(["cycles", "ref-cycles"]);
  expect(perfEventName(0, (10n << 32n) | 1n)).toBe("instructions");
  expect(perfEventName(3, 0x0n)).toBe("L1-dcache-loads");
  expect(perfEventName(3, 0x1_0103n)).toBe("dTLB-store-misses");
  expect(perfEventName(3, 0x202n)).toBe("LLC-prefetches");
  expect([perfEventName(3, 0x7n), perfEventName(1, 99n), perfEventName(1, 1n << 32n)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(perfEventName(4, 0x1c0n)).toBe("r1c0");
  expect([breakpointName(0x1000n, 8n, 3), breakpointName(0x20n, 1n, 4)]).toEqual([
    "mem:0x1000/8:rw",
    "mem:0x20/1:x",
  ]);
});
