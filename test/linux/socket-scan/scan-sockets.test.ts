/** What no table of sockets has and is in memory all the same: the fixture with sockets taken from their tables and from open files. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type KernelSocket,
  listSockets,
  listTasks,
  type ScannedSocket,
  scanSockets,
} from "../../../src/linux/index.js";
import { needStruct, offsetOf } from "../../../src/linux/objects/record.js";
import { sizeOf } from "../../../src/linux/types/c-type.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";
const PAGE = 4096n;

let patched: PatchedKernel;
let listed: KernelSocket[];
let clean: ScannedSocket[];
let scanned: ScannedSocket[];
const damage: string[] = [];
const onDamage = (each: { message: string }) => void damage.push(each.message);
/** The sockets that are made away with. */
let gone: Record<"listener" | "udp" | "unix" | "netlink" | "raw" | "unbound" | "open", KernelSocket>;
let copy: bigint;

const field = async (struct: string, path: string) =>
  BigInt(offsetOf(await patched.kernel.types(), struct, path));
const pointer = async (at: bigint) =>
  new DataView((await patched.kernel.memory.read(at, 8)).slice().buffer).getBigUint64(0, true);
const found = (address: bigint) => scanned.find((each) => each.address === address);

/** Takes a node out of its chain, as hlist_del and hlist_nulls_del do. */
async function unhash(node: bigint): Promise<void> {
  const [next, back] = [await pointer(node), await pointer(node + 8n)];
  await patched.setPointer(back, next);
  if (next !== 0n && (next & 1n) === 0n) await patched.setPointer(next + 8n, back);
}

/** Takes a socket of netlink's out of the chain that it is alone in. */
async function unhashNetlink({ address, protocolNumber }: KernelSocket): Promise<void> {
  const types = await patched.kernel.types();
  const size = BigInt(sizeOf(needStruct(types, "netlink_table")));
  const tables = await pointer((await patched.kernel.symbol("nl_table")).address);
  const table = tables + size * BigInt(protocolNumber ?? 0);
  const buckets = await pointer(table + (await field("netlink_table", "hash.tbl")));
  const node = address + (await field("netlink_sock", "node"));
  for (let i = 0n; i < 1024n; i++) {
    const bucket = buckets + (await field("bucket_table", "buckets")) + 8n * i;
    if (((await pointer(bucket)) & ~1n) === node) return await patched.setPointer(bucket, 0n);
  }
  throw new Error("it is in no bucket");
}

async function unhashSocket({ address }: KernelSocket): Promise<void> {
  await unhash(address + (await field("sock_common", "skc_node")));
}

/** Takes the descriptor away that a socket is open by. */
async function dropFile({ owners: [owner] }: KernelSocket): Promise<void> {
  const tasks = await listTasks(patched.kernel).toArray();
  const task = tasks.find(({ pid }) => pid === owner?.pid);
  const files = await pointer((task?.address ?? 0n) + (await field("task_struct", "files")));
  const table = await pointer(files + (await field("files_struct", "fdt")));
  const slots = await pointer(table + (await field("fdtable", "fd")));
  await patched.setPointer(slots + 8n * BigInt(owner?.fd ?? 0), 0n);
}

const find = (is: (socket: KernelSocket) => boolean) => listed.find((each) => is(each)) as KernelSocket;

beforeAll(async () => {
  patched = await PatchedKernel.open(FIXTURE);
  listed = await listSockets(patched.kernel).toArray();
  clean = await scanSockets(patched.kernel, { onDamage }).toArray();
  gone = {
    listener: find(({ local, state }) => local?.port === 4242 && state === "LISTEN"),
    udp: find(({ local }) => local?.port === 4343),
    unix: find(({ path }) => path === "@memtool-abstract"),
    netlink: find(({ netlink }) => (netlink?.portid ?? 0) !== 0),
    raw: find(({ protocol, family }) => protocol === "raw" && family === "inet"),
    unbound: find(({ path }) => path === "/run/memtool.sock"),
    open: find(({ protocol, owners }) => protocol === "packet" && owners.length > 0),
  };
  for (const each of [gone.listener, gone.unix, gone.raw]) {
    await unhashSocket(each);
    await dropFile(each);
  }
  await unhashNetlink(gone.netlink);
  await dropFile(gone.netlink);
  await unhashSocket(gone.udp);
  await dropFile(gone.open);
  // One that was closed, and that somebody holds yet: as unix_release_sock leaves it.
  await unhashSocket(gone.unbound);
  await dropFile(gone.unbound);
  const flags = gone.unbound.address + (await field("sock", "__sk_common.skc_flags"));
  await patched.setPointer(flags, (await pointer(flags)) | 1n);
  await patched.setPointer(gone.unbound.address + (await field("sock", "sk_socket")), 0n);
  // A copy of one, in the middle of the log.
  copy = ((await patched.kernel.symbol("__log_buf")).address + 2n * PAGE) & ~(PAGE - 1n);
  const original = gone.udp.address & ~(PAGE - 1n);
  await patched.set(copy, await patched.kernel.memory.read(original, Number(PAGE)));
  scanned = await scanSockets(patched.kernel, { onDamage }).toArray();
}, 60_000);
afterAll(() => patched?.close());

describe("a sound kernel", () => {
  test("hides none, and every listed socket is found by what it looks like", () => {
    expect(clean.filter(({ status }) => ["hidden", "unsure", "copy"].includes(status))).toEqual([]);
    const byShape = clean.filter(({ evidence, status }) => evidence.length > 0 && status === "listed");
    expect(byShape.map(({ address }) => address).sort()).toEqual(listed.map(({ address }) => address).sort());
    expect(byShape.flatMap(({ against }) => against)).toEqual([]);
    expect(listed.length).toBeGreaterThan(50);
  });

  test("has sockets of its own in no table: those that it sends by, without a file and without a port", () => {
    const own = clean.filter(({ status, references }) => status === "kernel" && references !== undefined);
    const ports = own.filter(({ protocol }) => protocol !== "raw").map(({ local }) => local?.port);
    expect(own.length).toBeGreaterThan(10);
    expect(own.flatMap(({ owners, seen }) => [...owners, ...seen])).toEqual([]);
    // (Requests have their listener's port.)
    expect(new Set(ports)).toEqual(new Set([0, 4545]));
  });

  test("has what is left of closed connections in free memory, nobody holding them", () => {
    const freed = clean.filter(({ status }) => status === "freed");
    expect(freed.length).toBeGreaterThan(5);
    expect(freed.filter(({ references }) => references !== 0)).toEqual([]);
    expect(freed.some(({ remote }) => remote?.port === 4550)).toBe(true);
    expect(
      freed.filter(({ inode, path, uid }) => Boolean(inode) || Boolean(path) || uid !== undefined),
    ).toEqual([]);
  });
});

describe("a socket that was taken from its table and from open files", () => {
  test.each([
    ["listener", "listening", "tcp_prot"],
    ["unix", "unix", "unix_dgram_proto"],
    ["netlink", "netlink", "netlink_proto"],
    ["raw", "raw", "raw_prot"],
  ] as const)("is hidden, and it is told which table should have it: %s", (which, table, prot) => {
    const { address, local, path, inode, protocol } = gone[which];
    const status = { status: "hidden", missedBy: [table, "files"], seen: [], owners: [] };
    expect(found(address)).toMatchObject({ ...status, local, path, inode, protocol, prot });
    expect(found(address)?.evidence.length).toBe(10);
  });

  test("is hidden too if only its table has it not", () => {
    expect(found(gone.udp.address)).toMatchObject({
      status: "hidden",
      missedBy: ["udp"],
      seen: ["files"],
      owners: gone.udp.owners,
    });
  });

  test("is not if only no process has it open: a message or io_uring may hold its file", () => {
    expect(found(gone.open.address)).toMatchObject({
      status: "listed",
      missedBy: ["files"],
      seen: ["packet"],
      owners: [],
    });
  });

  test("is not if it was closed", () => {
    expect(found(gone.unbound.address)).toMatchObject({ status: "closed", missedBy: [] });
  });
});

test("a copy of a socket is told from a socket by where its queues lead", async () => {
  const place = await patched.kernel.memory.translate(copy);
  const physical = "physical" in place ? place.physical : 0;
  const copies = scanned.filter((each) => each.physical >= physical && each.physical < physical + 4096);
  expect(copies.map(({ status }) => status)).toContain("copy");
  expect(copies.filter(({ status }) => status === "hidden" || status === "listed")).toEqual([]);
});

test("all others are as before, and nothing is damaged", () => {
  const changed = new Set(Object.values(gone).map(({ address }) => address));
  const rest = (all: ScannedSocket[]) =>
    all
      .filter(({ address, status }) => !changed.has(address) && status !== "copy")
      .map(({ address, status }) => `${address} ${status}`);
  expect(rest(scanned).filter((each) => !rest(clean).includes(each))).toEqual([]);
  expect(rest(clean).filter((each) => !rest(scanned).includes(each))).toEqual([]);
  expect(damage).toEqual([]);
});

test("a table that can't be read misses nobody: what it may have is not called hidden", async () => {
  patched.restore();
  const table = await pointer((await patched.kernel.symbol("udp_table")).address);
  await dropFile(gone.udp);
  // (As the kernel makes those that no process gets.)
  const socket = await pointer(gone.udp.address + (await field("sock", "sk_socket")));
  await patched.setPointer(socket + (await field("socket", "file")), 0n);
  for (let at = 0n; at < 16n; at++) await patched.remove((table & ~(PAGE - 1n)) + at * PAGE);
  const told: string[] = [];
  const all = await scanSockets(patched.kernel, { onDamage: ({ message }) => told.push(message) }).toArray();
  expect(all.find(({ address }) => address === gone.udp.address)).toMatchObject({
    status: "unsure",
    missedBy: [],
  });
  expect(all.filter(({ status }) => status === "hidden")).toEqual([]);
  expect(told.join()).toContain("the table of udp sockets");
});

test("one of a copy of a protocol, which is on no list, is found where no other socket leads to that", async () => {
  patched.restore();
  const { address } = gone.listener;
  await unhashSocket(gone.listener);
  await dropFile(gone.listener);
  const copied = await patched.kernel.symbol("tcp_prot_override");
  await patched.setPointer(address + (await field("sock_common", "skc_prot")), copied.address);
  const place = await patched.kernel.memory.translate(address);
  const start = Number("physical" in place ? place.physical : 0) & ~4095;
  const all = await scanSockets(patched.kernel, { ranges: [{ start, end: start + 8192 }] }).toArray();
  expect(all.find((each) => each.address === address)).toMatchObject({
    status: "hidden",
    missedBy: ["listening", "files"],
    prot: "tcp_prot_override",
  });
});
