import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Checked, type CheckNote, listChecked, listTasks, type Task } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { memoryOfTask } from "../../../src/linux/tasks/task.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

let patched: PatchedKernel;
let tasks: Task[];
beforeAll(async () => {
  patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
  tasks = await listTasks(patched.kernel).toArray();
});
afterEach(() => patched.restore());
afterAll(() => patched?.close());

async function run(all = false) {
  const found: Checked[] = [];
  const notes: CheckNote[] = [];
  const damage: string[] = [];
  const checked = listChecked(patched.kernel, "processes", {
    all,
    onNote: (note) => notes.push(note),
    onDamage: ({ message }) => damage.push(message),
  });
  for await (const each of checked) found.push(each);
  return {
    found,
    notes,
    damage,
    said: found.map(({ severity, what, evidence }) => [severity, what, evidence]),
  };
}
const offset = async (struct: string, path: string) =>
  BigInt(offsetOf(await patched.kernel.types(), struct, path));
const pointer = async (at: bigint) =>
  new DataView((await patched.kernel.memory.read(at, 8)).slice().buffer).getBigUint64(0, true);
const named = (comm: string) => {
  const task = tasks.find((each) => each.comm === comm);
  if (task?.mm === undefined) throw new Error(`no process ${comm}`);
  return { ...task, mm: task.mm };
};
const text = (value: string) => new TextEncoder().encode(`${value}\0`);
const rename = async (task: Task, comm: string) =>
  await patched.set(task.address + (await offset("task_struct", "comm")), text(comm));
/** Where the kernel's own mapping of all memory has a page of a process. */
const mappedAt = async (task: Task, address: bigint) => {
  const found = await memoryOfTask(patched.kernel, task).translate(address);
  if (!("physical" in found)) throw new Error("not there");
  return (await pointer((await patched.kernel.symbol("page_offset_base")).address)) + BigInt(found.physical);
};

test("processes that only have other names than their programs are no finding, and are counted", async () => {
  const { found, notes, damage } = await run();
  expect(found).toEqual([]);
  expect(damage).toEqual([]);
  expect(notes.map(({ text: said }) => said)).toEqual([
    "18 processes; 15 have given themselves other names than their programs' (--all shows both)",
  ]);
});

test("with all, each process is shown with its program", async () => {
  const { found } = await run(true);
  expect(found).toHaveLength(18);
  expect(found).toContainEqual(
    expect.objectContaining({ what: "mt-bpf (105)", expected: "/guest", severity: null }),
  );
});

describe("finds", () => {
  test("a process that calls itself as a kernel thread of this machine", async () => {
    await rename(named("mt-bpf"), "kthreadd");
    expect((await run()).said).toEqual([
      ["alert", "kthreadd (105)", "it calls itself as a kernel thread is called, and runs /guest"],
    ]);
  });

  test("a process that calls itself as a worker that this machine never had", async () => {
    await rename(named("mt-bpf"), "kworker/77:3");
    expect((await run()).said).toMatchObject([["alert", "kworker/77:3 (105)", expect.anything()]]);
  });

  test("a process that calls itself as another program that runs", async () => {
    await rename(named("mt-bpf"), "busybox");
    expect((await run()).said).toEqual([
      [
        "notice",
        "busybox (105)",
        "it calls itself busybox, as processes that run /bin/busybox are called, and runs /guest",
      ],
    ]);
  });

  test("arguments that are a kernel thread's name in brackets", async () => {
    const task = named("mt-witness");
    const at = await mappedAt(task, task.mmRaw?.argStart as bigint);
    await patched.setPointer(
      task.mm + (await offset("mm_struct", "arg_end")),
      (task.mmRaw?.argStart as bigint) + 11n,
    );
    await patched.set(at, text("[kthreadd]"));
    expect((await run()).said).toEqual([
      [
        "alert",
        "mt-witness (98)",
        'its arguments show "[kthreadd]", as a kernel thread\'s would be shown, and it runs /guest',
      ],
    ]);
  });

  test("arguments that are the path of another program", async () => {
    const task = named("mt-witness");
    const start = task.mmRaw?.argStart as bigint;
    await patched.setPointer(task.mm + (await offset("mm_struct", "arg_end")), start + 15n);
    await patched.set(await mappedAt(task, start), text("/usr/sbin/sshd"));
    expect((await run()).said).toEqual([
      ["notice", "mt-witness (98)", 'its first argument is "/usr/sbin/sshd", and it runs /guest'],
    ]);
  });

  test("arguments that lie elsewhere than in the stack", async () => {
    const task = named("mt-bpf");
    const code = await pointer(task.mm + (await offset("mm_struct", "start_code")));
    await patched.setPointer(task.mm + (await offset("mm_struct", "arg_start")), code);
    await patched.setPointer(task.mm + (await offset("mm_struct", "arg_end")), code + 8n);
    const { found } = await run();
    expect(found.map(({ evidence }) => evidence)).toEqual([
      expect.stringContaining("its arguments were moved out of its stack (PR_SET_MM)"),
    ]);
  });

  test("a program that is not the one which its code was mapped of", async () => {
    const exe = await offset("mm_struct", "exe_file");
    const other = await pointer(named("busybox").mm + exe);
    await patched.setPointer(named("mt-bpf").mm + exe, other);
    const { found } = await run();
    expect(found).toMatchObject([{ severity: "alert", what: "mt-bpf (105)", expected: "/bin/busybox" }]);
    expect(found[0]?.evidence).toContain("where its program began, /guest is mapped");
  });

  test("programs whose file was deleted", async () => {
    const file = await pointer(named("busybox").mm + (await offset("mm_struct", "exe_file")));
    const dentry = await pointer(file + (await offset("file", "f_path.dentry")));
    await patched.setPointer(dentry + (await offset("dentry", "d_hash.pprev")), 0n);
    const { found } = await run();
    expect(found.length).toBeGreaterThan(0);
    expect(new Set(found.map(({ severity, evidence }) => `${severity}: ${evidence}`))).toEqual(
      new Set(["notice: its program's file was deleted"]),
    );
  });
});

test("a process whose stack is not in the dump is no finding, and is counted", async () => {
  const task = named("mt-bpf");
  await rename(task, "busybox");
  await patched.remove(await mappedAt(task, task.mmRaw?.argStart as bigint));
  const { found, notes } = await run();
  expect(found).toEqual([]);
  expect(notes).toContainEqual({
    check: "processes",
    told: false,
    text: expect.stringMatching(/^what \d+ processes were started by is not in the dump/),
  });
});
