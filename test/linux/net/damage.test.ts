/** Sockets of a kernel whose memory is damaged: what is left is listed, and what is wrong is told. */
import { afterEach, describe, expect, it } from "vitest";
import { type Damage, type KernelSocket, listSockets } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const NOWHERE = 0xdead_0000_0000_0100n;

describe("the sockets of a damaged kernel", () => {
  let patched: PatchedKernel;
  let sockets: KernelSocket[];
  afterEach(() => patched?.close());

  async function start(): Promise<(struct: string, member: string) => bigint> {
    patched = await PatchedKernel.open(DUMP);
    sockets = await listSockets(patched.kernel).toArray();
    const types = await patched.kernel.types();
    return (struct, member) => BigInt(offsetOf(types, struct, member));
  }

  async function list(): Promise<{ found: KernelSocket[]; damage: Damage[] }> {
    const damage: Damage[] = [];
    const found = await listSockets(patched.kernel, { onDamage: (each) => damage.push(each) }).toArray();
    return { found, damage };
  }

  async function symbol(name: string): Promise<bigint> {
    return (await patched.kernel.symbol(name)).address;
  }

  const addresses = (list: readonly KernelSocket[]) => list.map(({ address }) => address).sort();

  it("are found through processes' files when the tables of TCP claim more chains than can be", async () => {
    const offset = await start();
    const mask = (await symbol("tcp_hashinfo")) + offset("inet_hashinfo", "ehash_mask");
    await patched.set(mask, new Uint8Array([0xff, 0xff, 0xff, 0x7f]));
    const { found, damage } = await list();
    // What no process has (what waits, is asked for, was not accepted) was in that table only.
    const isLost = ({ owners, seen }: KernelSocket) => seen[0] === "established" && owners.length === 0;
    expect(sockets.filter(isLost).length).toBeGreaterThan(3);
    expect(addresses(found)).toEqual(addresses(sockets.filter((each) => !isLost(each))));
    const inFiles = found.filter(({ protocol, state }) => protocol === "tcp" && state !== "LISTEN");
    for (const { seen } of inFiles) expect(seen).toEqual(["files"]);
    expect(damage).toMatchObject([{ reason: "too long", what: "the table of established sockets" }]);
  });

  it("end a chain that leads back to itself, and lose none", async () => {
    const offset = await start();
    const udp = sockets.find(({ protocol }) => protocol === "udp") as KernelSocket;
    const node = udp.address + offset("sock_common", "skc_node");
    await patched.setPointer(node, node);
    const { found, damage } = await list();
    expect(addresses(found)).toEqual(addresses(sockets));
    expect(damage).toMatchObject([{ reason: "loop", address: node }]);
  });

  it("are found through processes' files when the list of namespaces leads nowhere, both ways", async () => {
    await start();
    const head = await symbol("net_namespace_list");
    await patched.setPointer(head, NOWHERE);
    await patched.setPointer(head + 8n, NOWHERE);
    const { found, damage } = await list();
    const isUnix = ({ protocol }: KernelSocket) => protocol === "unix";
    expect(addresses(found)).toEqual(addresses(sockets));
    expect(found.filter(isUnix).every(({ seen }) => seen.join() === "files")).toBe(true);
    expect(damage).toMatchObject([{ address: NOWHERE, reason: "unreadable" }]);
  });

  it("have no name, but all the rest, when a name's length lies", async () => {
    const offset = await start();
    const named = sockets.find(({ path }) => path === "@memtool-abstract") as KernelSocket;
    const [pointer] = new BigUint64Array(
      (await patched.kernel.memory.read(named.address + offset("unix_sock", "addr"), 8)).slice().buffer,
    );
    await patched.set((pointer as bigint) + offset("unix_address", "len"), new Uint8Array([0, 0, 0, 0x70]));
    const { found, damage } = await list();
    expect(found).toEqual(
      sockets.map((each) => (each.address === named.address ? { ...each, path: undefined } : each)),
    );
    expect(damage).toMatchObject([{ what: "a unix address", address: pointer, reason: "invalid" }]);
  });

  it("are listed, with nothing known of it but its owner, when a socket's page is missing", async () => {
    await start();
    const gone = sockets.find(({ protocol }) => protocol === "udp") as KernelSocket;
    await patched.remove(gone.address);
    const { found, damage } = await list();
    const left = found.find(({ address }) => address === gone.address);
    expect(left).toMatchObject({ protocol: undefined, state: undefined, owners: gone.owners });
    expect(damage.length).toBeGreaterThan(0);
    expect(damage.every(({ reason }) => reason === "unreadable")).toBe(true);
  });
});
