/** Sockets of a dump against what its guest printed: /proc/net, and the links of every process's descriptors. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { type KernelSocket, listSockets, type SocketAddress } from "../../src/linux/index.js";

/** Runs the tests. @param load The dump, and its truth. */
export function socketSuite(name: string, load: () => Promise<{ target: string; truth: Truth }>): void {
  describe(`the sockets of ${name}`, () => {
    let machine: Machine;
    let truth: Truth;
    let sockets: KernelSocket[];

    beforeAll(async () => {
      const { target, truth: facts } = await load();
      truth = facts;
      machine = await open(target);
      sockets = await listSockets(await machine.linux()).toArray();
    });
    afterAll(() => machine?.close());

    const of = (...protocols: string[]) =>
      sockets.filter(
        ({ namespace, protocol = "" }) => namespace === initial() && protocols.includes(protocol),
      );
    /** The namespace whose /proc/net the guest printed. */
    const initial = () =>
      Number(/\d+/.exec(truth.processes.find(({ pid }) => pid === 1)?.namespaces.net ?? "")?.[0]);
    const sorted = <T extends { kernelAddress: string }>(rows: readonly T[]) =>
      [...rows].sort((a, b) => (a.kernelAddress < b.kernelAddress ? -1 : 1));

    for (const protocol of ["tcp", "udp"] as const) {
      it(`has every ${protocol} socket, with ends, state, user, inode as /proc/net/${protocol} has them`, () => {
        const rows = of(protocol).map((socket) => ({
          local: endText(socket.local),
          remote: endText(socket.remote),
          state: socket.state,
          uid: socket.uid,
          inode: Number(socket.inode ?? 0n),
          kernelAddress: hex(socket.address),
        }));
        expect(sorted(rows)).toEqual(sorted(truth.sockets[protocol]));
        expect(rows.length).toBeGreaterThan(0);
      });
    }

    it("has every unix socket, with its name, type, state as /proc/net/unix has them", () => {
      const rows = of("unix").map((socket) => ({
        path: socket.path,
        type: { stream: 1, dgram: 2, seqpacket: 5 }[socket.type ?? ""],
        state: socket.state === "ESTABLISHED" ? 3 : 1,
        ...(socket.state === "LISTEN" ? { listening: true } : {}),
        inode: Number(socket.inode),
        kernelAddress: hex(socket.address),
      }));
      expect(sorted(rows)).toEqual(sorted(truth.sockets.unix));
      expect(rows.length).toBeGreaterThan(0);
    });

    it("has every netlink socket, with protocol, port, groups, queues, inode as /proc/net/netlink has them", () => {
      const rows = of("netlink").map((socket) => {
        const mask = (socket.netlink?.groups ?? []).reduce((sum, group) => sum + 2 ** (group - 1), 0);
        return [
          socket.address.toString(16),
          `${socket.protocolNumber}`,
          `${socket.netlink?.portid}`,
          mask.toString(16).padStart(8, "0"),
          `${socket.receiveQueue}`,
          `${socket.sendQueue}`,
          `${socket.inode}`,
        ].join(" ");
      });
      const printed = (truth.texts["/proc/net/netlink"] ?? "").trim().split("\n").slice(1);
      const wanted = printed.map((line) => {
        const words = line.trim().split(/\s+/);
        return [...words.slice(0, 6), words[9]].join(" ");
      });
      expect(rows.sort()).toEqual(wanted.sort());
      expect(rows.length).toBeGreaterThan(0);
    });

    it("says which processes have a socket, by which descriptors", () => {
      const rows = sockets.flatMap(({ inode, owners }) =>
        owners.map(({ pid, fd }) => `${pid} ${fd} socket:[${inode}]`),
      );
      const wanted = truth.processes.flatMap(({ pid, files }) =>
        files
          .filter(({ target }) => target.startsWith("socket:"))
          .map(({ descriptor, target }) => `${pid} ${descriptor} ${target}`),
      );
      expect(rows.sort()).toEqual(wanted.sort());
      expect(rows.length).toBeGreaterThan(0);
    });

    it("finds each in the table of its kind, and those of processes a second time there", () => {
      for (const { protocol, state, owners, seen } of sockets) {
        const tcp = state === "LISTEN" ? "listening" : "established";
        expect(seen).toEqual([protocol === "tcp" ? tcp : protocol, ...(owners.length > 0 ? ["files"] : [])]);
      }
    });

    it("knows the other end of a pair of unix sockets", () => {
      const byAddress = new Map(sockets.map((socket) => [socket.address, socket]));
      const pairs = sockets.filter(({ peer }) => typeof peer === "bigint");
      expect(pairs.length).toBeGreaterThan(0);
      for (const { peer, address } of pairs) expect(byAddress.get(peer as bigint)?.peer).toBe(address);
    });
  });
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function endText(end: SocketAddress | null | undefined): string | undefined {
  if (end === null || end === undefined) return undefined;
  return end.address.includes(":") ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`;
}
