/** Sockets of a dump against what its guest printed: /proc/net of two namespaces, and the links of every process's descriptors. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { internetAddress, TCP_STATES } from "../../fixtures/vm/truth.mjs";
import { type KernelSocket, listSockets, type SocketAddress, scanSockets } from "../../src/linux/index.js";

/** Protocols with a table of lines as /proc/net/tcp has them, each for IPv4 and IPv6. */
const INTERNET = { tcp: "tcp", udp: "udp", udplite: "udplite", raw: "raw", icmp: "ping" } as const;
/** As socket(2) numbers them. */
const TYPES: Readonly<Record<string, number>> = { stream: 1, dgram: 2, raw: 3, seqpacket: 5 };

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

    /** The network namespace of a process. */
    const namespaceOf = (pid: number) =>
      Number(/\d+/.exec(truth.processes.find((each) => each.pid === pid)?.namespaces.net ?? "")?.[0]);

    for (const [where, numberOf, folder] of [
      ["the first namespace", () => 1, () => "/proc/net"],
      ["another namespace", () => truth.networkPid, () => `/proc/${truth.networkPid}/net`],
    ] as const) {
      const of = (protocol: string) =>
        sockets.filter(
          (each) => each.namespace === namespaceOf(numberOf()) && (each.protocol ?? "").startsWith(protocol),
        );
      /** Lines of a table without its head, as words. */
      const printed = (table: string) => {
        const text = truth.texts[`${folder()}/${table}`];
        if (text === undefined) throw new Error(`The guest printed no ${folder()}/${table}`);
        const lines = text.split("\n").slice(1);
        return lines.filter((line) => line !== "").map((line) => line.trim().split(/\s+/));
      };

      for (const [protocol, source] of Object.entries(INTERNET)) {
        it(`has every ${protocol} socket of ${where}, with ends, state, queues, user, inode as /proc has them`, () => {
          const own =
            protocol === "udp" ? of(protocol).filter((each) => each.protocol === "udp") : of(protocol);
          const rows = own.map((socket) =>
            [
              hex(socket.address),
              endText(socket.local),
              endText(socket.remote),
              socket.state,
              `${socket.sendQueue}:${socket.receiveQueue}`,
              socket.uid,
              socket.inode ?? 0n,
            ].join(" "),
          );
          const guests = [protocol, `${protocol}6`].flatMap(printed).map((words) => {
            const [, local = "", remote = "", state = "", queues = ""] = words;
            const [sent, received] = queues.split(":").map((digits) => Number.parseInt(digits, 16));
            return [
              hex(BigInt(`0x${words[11]}`)),
              internetAddress(local),
              internetAddress(remote),
              TCP_STATES[Number.parseInt(state, 16)],
              `${sent}:${received}`,
              words[7],
              words[9],
            ].join(" ");
          });
          expect(rows.sort()).toEqual(guests.sort());
          expect(new Set(own.map(({ seen }) => seen[0]))).toEqual(
            new Set(protocol !== "tcp" ? own.slice(0, 1).map(() => source) : ["established", "listening"]),
          );
        });
      }

      it(`has every unix socket of ${where}, with its name, type, state as /proc has them`, () => {
        const rows = of("unix").map((socket) => {
          const flags = socket.state === "LISTEN" ? "00010000" : "00000000";
          const state = socket.state === "ESTABLISHED" ? "03" : "01";
          const type = `000${TYPES[socket.type ?? ""]}`;
          return `${hex(socket.address)} ${flags} ${type} ${state} ${socket.inode} ${socket.path}`;
        });
        const guests = printed("unix").map(([at = "", , , flags, type, state, inode, path = ""]) => {
          return `${hex(BigInt(`0x${at.replace(":", "")}`))} ${flags} ${type} ${state} ${inode} ${path}`;
        });
        expect(rows.sort()).toEqual(guests.sort());
        expect(rows.length).toBeGreaterThan(0);
      });

      it(`has every netlink socket of ${where}, with protocol, port, groups, queues, inode as /proc has them`, () => {
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
        const guests = printed("netlink").map((words) => [...words.slice(0, 6), words[9]].join(" "));
        expect(rows.sort()).toEqual(guests.sort());
        expect(rows.length).toBeGreaterThan(0);
      });

      it(`has every packet socket of ${where}, with type, EtherType, device, queue, user, inode as /proc has them`, () => {
        const rows = of("packet").map((socket) =>
          [
            socket.address.toString(16),
            TYPES[socket.type ?? ""],
            socket.etherType?.toString(16).padStart(4, "0"),
            socket.device,
            socket.receiveQueue,
            socket.uid,
            socket.inode,
          ].join(" "),
        );
        const guests = printed("packet").map(
          ([sk, , type, protocol, device, , received, user, inode]) =>
            `${sk} ${type} ${protocol} ${device} ${received} ${user} ${inode}`,
        );
        expect(rows.sort()).toEqual(guests.sort());
        expect(rows.length).toBeGreaterThan(0);
      });
    }

    it("has sockets in the states that are rare, and of the kinds that are", () => {
      const states = new Set(sockets.filter(({ protocol }) => protocol === "tcp").map(({ state }) => state));
      for (const state of ["TIME_WAIT", "SYN_RECV", "FIN_WAIT2", "CLOSE_WAIT"])
        expect(states).toContain(state);
      const kinds = new Set(sockets.map(({ protocol, family }) => `${protocol} ${family}`));
      for (const kind of [
        "udplite inet",
        "udplite inet6",
        "icmp inet",
        "raw inet",
        "raw inet6",
        "packet packet",
      ]) {
        expect(kinds).toContain(kind);
      }
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
        const table =
          protocol === "tcp"
            ? state === "LISTEN"
              ? "listening"
              : "established"
            : protocol?.startsWith("icmp") === true
              ? "ping"
              : protocol;
        expect(seen).toEqual([table, ...(owners.length > 0 ? ["files"] : [])]);
      }
    });

    it("has each where a scan of memory finds it too, and none that is hidden", async () => {
      const scanned = await scanSockets(await machine.linux(), { onDamage: () => {} }).toArray();
      const found = scanned.filter(({ evidence, against }) => evidence.length > 0 && against.length === 0);
      const places = new Set(found.map(({ address }) => address));
      expect(sockets.filter(({ address }) => !places.has(address))).toEqual([]);
      const odd = scanned.filter(({ status }) => ["hidden", "unsure", "copy"].includes(status));
      expect(odd).toEqual([]);
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
