/** The fixture beside an edited copy of itself: exactly the edit is found. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Machine, open } from "../../../connectors/index.js";
import {
  type ComparedPart,
  compareBoots,
  describeBoots,
  diffCachedFiles,
  diffFiles,
  diffMachines,
  diffModules,
  diffProcesses,
  diffSockets,
  diffText,
  findProcess,
  type LinuxKernel,
  listCachedFiles,
  listFiles,
  listModules,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { presentText, registerKprobe } from "../../support/forged-kprobe.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";

let machine: Machine;
let kernel: LinuxKernel;
let edited: PatchedKernel;
beforeAll(async () => {
  machine = await open(FIXTURE);
  kernel = await machine.linux();
});
beforeAll(async () => {
  edited = await PatchedKernel.open(FIXTURE);
  const types = await edited.kernel.types();
  const offset = (struct: string, path: string) => BigInt(offsetOf(types, struct, path));
  const task = await findProcess(edited.kernel, PROCESS);
  await edited.set(task.address + offset("task_struct", "comm"), text("renamed"));
  const [, module] = await listModules(edited.kernel).toArray();
  hidden = module?.name ?? "?";
  await unlink((module?.module as bigint) + offset("module", "list"));
  const files = await listFiles(edited.kernel, { pid: PROCESS }).toArray();
  const file = files.find(({ fd }) => fd === 1)?.file as bigint;
  await edited.set(file + offset("file", "f_pos"), Uint8Array.of(0x39, 0x30, 0, 0, 0, 0, 0, 0));
});
afterAll(async () => {
  await machine?.close();
  await edited?.close();
});

/** The guest's own program. */
const PROCESS = 97;
let hidden = "?";
const text = (name: string) => new Uint8Array(16).map((_, i) => name.charCodeAt(i) || 0);

async function unlink(node: bigint): Promise<void> {
  const bytes = await edited.kernel.memory.read(node, 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [next, previous] = [view.getBigUint64(0, true), view.getBigUint64(8, true)];
  await edited.setPointer(previous, next);
  await edited.setPointer(next + 8n, previous);
}

describe("the fixture and itself", () => {
  test("have no difference, and everything was compared but text that neither has", async () => {
    const parts: ComparedPart[] = [];
    const damage: string[] = [];
    const found = await diffMachines(machine, machine, {
      onPart: (part) => parts.push(part),
      onDamage: ({ message }) => damage.push(message),
    }).toArray();
    expect(found).toEqual([]);
    expect(damage).toEqual([]);
    const compared = new Map(parts.map((part) => [part.kind, part.compared]));
    expect(compared.get("process")).toBe(63);
    expect(compared.get("module")).toBe(9);
    expect(compared.get("file")).toBeGreaterThan(200);
    expect(compared.get("cached-file")).toBeGreaterThan(300);
    expect(compared.get("pages")).toBeGreaterThan(16_000);
    expect(parts.find(({ kind }) => kind === "text")?.why).toMatch(/bytes are missing in one/);
    // (The dump left them out: it is not that one of the machines has them and the other has not.)
    expect(parts.find(({ kind }) => kind === "cached-file")?.why).toMatch(/^\d+ are missing in a dump$/);
  });

  test("are one boot, and it is said why", async () => {
    const boots = await compareBoots(kernel, kernel);
    expect(boots).toMatchObject({ sameBuild: true, sameBoot: true, elapsed: 0n });
    expect(describeBoots(boots)).toMatch(
      /^one boot of one machine \(one boot id, [0-9a-f]{32}; .*0\.000 s later$/,
    );
  });
});

describe("the fixture and an edited copy", () => {
  test("a process that was renamed is changed, with both names", async () => {
    const found = await diffProcesses(kernel, edited.kernel).toArray();
    expect(found.map(({ change, pid, fields }) => ({ change, pid, fields }))).toEqual([
      { change: "changed", pid: PROCESS, fields: [{ field: "comm", before: "guest", after: "renamed" }] },
    ]);
  });

  test("a module that was taken off the list is gone", async () => {
    const found = await diffModules(kernel, edited.kernel).toArray();
    expect(found.map(({ change, what }) => [change, what])).toEqual([["gone", hidden]]);
  });

  test("and the other way round it appeared", async () => {
    const found = await diffModules(edited.kernel, kernel).toArray();
    expect(found.map(({ change, what }) => [change, what])).toEqual([["appeared", hidden]]);
  });

  test("a place in a file that moved is the only change of open files", async () => {
    const found = await diffFiles(kernel, edited.kernel).toArray();
    expect(new Set(found.flatMap(({ fields }) => fields.map(({ field }) => field)))).toEqual(
      new Set(["position"]),
    );
    const fd = found.find(({ pid, after }) => pid === PROCESS && after?.fd === 1);
    expect(fd?.fields).toEqual([{ field: "position", before: expect.any(Number), after: 12345 }]);
  });

  test("sockets are the same", async () => {
    expect(await diffSockets(kernel, edited.kernel).toArray()).toEqual([]);
  });

  test("a cached file of which a byte was written differs in that page, and no other file does", async () => {
    const files = await listCachedFiles(kernel, { where: ({ path }) => path === "/init" }).toArray();
    const { physical } = files[0]?.runs[0] ?? { physical: -1 };
    const base = await pageOffset();
    await edited.set(base + BigInt(physical), Uint8Array.of(0x58));
    const found = await diffCachedFiles(kernel, edited.kernel).toArray();
    expect(
      found.map(({ what, after }) => [what, after?.ranges.map(({ start }) => start), after?.pages]),
    ).toEqual([["/init", [0], 1]]);
  });

  test("a function whose text was patched is changed, and nothing explains it", async () => {
    const { address, name } = await presentText(kernel);
    const code = await edited.kernel.memory.read(address, 16);
    await edited.set(address + 5n, Uint8Array.of((code[5] as number) ^ 0xff, (code[6] as number) ^ 0xff));
    const found = await diffText(kernel, edited.kernel).toArray();
    expect(found.map(({ what, note, after }) => ({ what, note, bytes: after?.bytes }))).toEqual([
      { what: name, note: null, bytes: 2 },
    ]);
  });

  test("a kprobe explains its breakpoint and the jump to its slot, and no other change of the byte", async () => {
    const { address, name } = await presentText(kernel, 1);
    const at = address + 4n;
    const code = await edited.kernel.memory.read(at, 5);
    const slot = at + 5n + 0x1234n;
    await registerKprobe(edited, at, code, slot);
    const noteOf = async (bytes: Uint8Array) => {
      await edited.set(at, bytes);
      const found = await diffText(kernel, edited.kernel).toArray();
      return found.find(({ what }) => what === name)?.note;
    };
    expect(await noteOf(code.with(0, 0xcc))).toBe("the kernel's own doing: kprobe");
    expect(await noteOf(Uint8Array.of(0xe9, 0x34, 0x12, 0, 0))).toBe("the kernel's own doing: kprobe");
    expect(await noteOf(Uint8Array.of(0xe9, 0x35, 0x12, 0, 0))).toBeNull();
    expect(await noteOf(code.with(0, 0xcc).with(1, (code[1] as number) ^ 1))).toBeNull();
    expect(await noteOf(code.with(0, (code[0] as number) ^ 1))).toBeNull();
    expect(await noteOf(code)).toBeUndefined();
    // A byte of the jump may be what stood there, so that those behind are a difference of their own.
    const jump = Uint8Array.of(0xe9, 0x34, code[2] as number, 0, 0);
    await registerKprobe(edited, at, code, at + 5n + BigInt(new DataView(jump.buffer).getInt32(1, true)));
    expect(await noteOf(jump)).toBe("the kernel's own doing: kprobe");
    await edited.set(at, code);
  });

  test("a process that began at another time under the same number is another process", async () => {
    const types = await edited.kernel.types();
    const { address } = await findProcess(edited.kernel, 110);
    await edited.set(
      address + BigInt(offsetOf(types, "task_struct", "start_boottime")),
      Uint8Array.of(1, 2, 3),
    );
    const found = await diffProcesses(kernel, edited.kernel).toArray();
    expect(found.filter(({ pid }) => pid === 110).map(({ change }) => change)).toEqual(["gone", "appeared"]);
  });

  test("what one of them lacks is said of it", async () => {
    const other = await open("fixtures/linux-6.1-i386.kdump");
    const untyped = await other.linux();
    await expect(diffModules(kernel, untyped).toArray()).rejects.toThrow(/^second: this kernel has no BTF/);
    await expect(diffModules(untyped, kernel).toArray()).rejects.toThrow(/^first: this kernel has no BTF/);
    await other.close();
  });

  test("as two boots, a process is known by its name, and addresses say nothing", async () => {
    const found = await diffProcesses(kernel, edited.kernel, { sameBoot: false }).toArray();
    expect(found.map(({ change, what }) => [change, what])).toEqual([
      ["gone", "guest"],
      ["appeared", "renamed"],
    ]);
  });
});

/** Where all physical memory is mapped. */
async function pageOffset(): Promise<bigint> {
  const at = await kernel.symbol("page_offset_base");
  const bytes = await kernel.memory.read(at.address, 8);
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
}
