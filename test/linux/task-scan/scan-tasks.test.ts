/** What hides from lists and is in memory all the same: the fixture with tasks taken off its lists. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { listTasks, type ScannedTask, scanTasks, type Task } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
const COPY_BYTES = 4096n;

let patched: PatchedKernel;
let threads: Task[];
let clean: ScannedTask[];
let scanned: ScannedTask[];
const damage: string[] = [];
/** Where a copy of a task is put. */
let spare: bigint;

const task = (pid: number) => threads.find((each) => each.pid === pid) as Task;
const found = (pid: number) => scanned.filter((each) => each.pid === pid && each.status !== "copy");
const field = async (path: string, struct = "task_struct") =>
  BigInt(offsetOf(await patched.kernel.types(), struct, path));
const pointer = async (at: bigint) =>
  new DataView((await patched.kernel.memory.read(at, 8)).slice().buffer).getBigUint64(0, true);

async function unlink(pid: number, list: string): Promise<void> {
  const node = task(pid).address + (await field(list));
  const [next, previous] = [await pointer(node), await pointer(node + 8n)];
  await patched.setPointer(previous, next);
  await patched.setPointer(next + 8n, previous);
  // As list_del leaves it.
  await patched.setPointer(node, 0xdead_0000_0000_0100n);
  await patched.setPointer(node + 8n, 0xdead_0000_0000_0122n);
}

/** Takes a number out of the first namespace's tree, which has two levels. */
async function forgetNumber(pid: number): Promise<void> {
  const namespace = (await patched.kernel.symbol("init_pid_ns")).address;
  const root = await pointer(namespace + (await field("idr.idr_rt.xa_head", "pid_namespace")));
  const slots = await field("slots", "xa_node");
  const node = await pointer((root & ~3n) + slots + 8n * BigInt(pid >> 6));
  await patched.setPointer((node & ~3n) + slots + 8n * BigInt(pid & 63), 0n);
}

beforeAll(async () => {
  patched = await PatchedKernel.open(FIXTURE);
  threads = await listTasks(patched.kernel, { threads: true }).toArray();
  clean = await scanTasks(patched.kernel).toArray();
  await unlink(96, "tasks");
  await forgetNumber(98);
  for (const list of ["tasks", "sibling", "thread_node", "cg_list"]) await unlink(100, list);
  await forgetNumber(100);
  // One that has ended, as release_task leaves it.
  for (const list of ["tasks", "sibling", "thread_node", "cg_list"]) await unlink(103, list);
  await forgetNumber(103);
  const dead = task(103).address;
  await patched.set(dead + (await field("exit_state")), Uint8Array.of(0x10, 0, 0, 0));
  for (const path of ["mm", "sighand"]) await patched.setPointer(dead + (await field(path)), 0n);
  // A copy of one, in the middle of the log.
  spare = ((await patched.kernel.symbol("__log_buf")).address + 2n * COPY_BYTES) & ~(COPY_BYTES - 1n);
  await patched.set(spare, await patched.kernel.memory.read(task(1).address & ~0xfffn, 4096));
  const onDamage = (each: { message: string }) => damage.push(each.message);
  scanned = await scanTasks(patched.kernel, { onDamage }).toArray();
}, 60_000);
afterAll(() => patched?.close());

test("a sound kernel hides none, and every listed thread is found by its shape", () => {
  expect(
    clean.filter(({ status }) => status !== "listed").map(({ status, comm }) => `${status} ${comm}`),
  ).toEqual(["idle swapper/0"]);
  const byShape = clean.filter(({ evidence }) => evidence.length > 0).map(({ address }) => address);
  expect(threads.length).toBeGreaterThan(60);
  expect(threads.map(({ address }) => address).filter((each) => !byShape.includes(each))).toEqual([]);
  expect(clean.flatMap(({ against }) => against)).toEqual([]);
});

test("one that the list of processes has not is hidden, and its number's is the list that has it", () => {
  expect(found(96)).toMatchObject([
    {
      status: "hidden",
      comm: "busybox",
      missedBy: ["tasks"],
      listedBy: ["numbers", "children", "threads", "cgroup"],
      address: task(96).address,
      ppid: 1,
    },
  ]);
});

test("one that has no number any more is hidden", () => {
  expect(found(98)).toMatchObject([{ status: "hidden", missedBy: ["numbers"] }]);
});

test("one that is on no list at all is hidden", () => {
  expect(found(100)).toMatchObject([
    {
      status: "hidden",
      missedBy: ["tasks", "numbers", "children", "threads", "cgroup"],
      listedBy: [],
      cache: "task_struct",
    },
  ]);
});

test("one that has ended and was taken off the lists is not hidden", () => {
  expect(found(103)).toMatchObject([{ status: "exited", missedBy: [] }]);
});

test("a copy of a task is told from a task by where its lists lead", () => {
  const copies = scanned.filter(({ status }) => status === "copy");
  expect(copies.map(({ comm }) => comm)).toEqual(["init"]);
});

test("all others are listed as before, and nothing is damaged", () => {
  const others = scanned.filter(
    ({ pid, status }) => ![96, 98, 100, 103].includes(pid ?? -1) && status !== "copy",
  );
  expect(others.map(({ status, pid }) => [status, pid])).toEqual(
    clean
      .filter(({ pid }) => ![96, 98, 100, 103].includes(pid ?? -1))
      .map(({ status, pid }) => [status, pid]),
  );
  expect(damage).toEqual([]);
});

test("lists that can't be followed miss nobody", async () => {
  const torn = await PatchedKernel.open(FIXTURE);
  try {
    // (Of a task in the middle, both pointers.)
    const node = task(20).address + (await field("tasks"));
    await torn.setPointer(node, 0n);
    await torn.setPointer(task(21).address + (await field("tasks")) + 8n, 0n);
    const told: string[] = [];
    const all = await scanTasks(torn.kernel, { onDamage: ({ message }) => told.push(message) }).toArray();
    expect(all.filter(({ status }) => status === "hidden")).toEqual([]);
    expect(all.length).toBe(clean.length);
    expect(told.join()).toContain("the list of tasks");
  } finally {
    torn.close();
  }
});
