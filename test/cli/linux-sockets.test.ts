/** The command about sockets: rows for programs, a table for people. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";

const TARGET = ["-f", "fixtures/linux-6.1-x86_64.kdump"];
const TRUTH: Truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));

describe("memtool sockets", () => {
  it("gives a row for each socket of TCP, UDP, UNIX, with ends, state, inode and owners", async () => {
    const { out, status } = await memtool(["sockets", "--json", ...TARGET]);
    expect(status).toBe(0);
    const rows = new Map(jsonLines(out).map((row) => [row.sock, row]));
    const owners = (inode: number) =>
      TRUTH.processes.flatMap(({ pid, files }) =>
        files
          .filter(({ target }) => target === `socket:[${inode}]`)
          .map(({ descriptor }) => expect.objectContaining({ pid, fd: descriptor })),
      );
    for (const protocol of ["tcp", "udp"] as const) {
      for (const { local, remote, state, inode, uid, kernelAddress } of TRUTH.sockets[protocol]) {
        // (/proc/net has 0 for what has none.)
        const own = inode === 0 ? null : inode;
        const wanted = { protocol, local: endOf(local), remote: endOf(remote), state, inode: own, uid };
        expect(rows.get(kernelAddress)).toMatchObject({ ...wanted, owners: owners(inode) });
      }
    }
    for (const { path, inode, kernelAddress } of TRUTH.sockets.unix) {
      expect(rows.get(kernelAddress)).toMatchObject({ protocol: "unix", path, inode, owners: owners(inode) });
    }
  });

  it("gives only those of a process with --pid", async () => {
    const { out } = await memtool(["sockets", "--json", "--pid", `${TRUTH.pid}`, ...TARGET]);
    const files = TRUTH.processes.find(({ pid }) => pid === TRUTH.pid)?.files ?? [];
    const wanted = files.filter(({ target }) => target.startsWith("socket:")).map(({ target }) => target);
    expect(
      jsonLines(out)
        .map(({ inode }) => `socket:[${inode}]`)
        .sort(),
    ).toEqual(wanted.sort());
  });

  it("shows people addresses, names and owners", async () => {
    const { out } = await memtool(["sockets", ...TARGET]);
    expect(out).toMatch(/^PROTO +FAMILY +TYPE +STATE +LOCAL +REMOTE /);
    expect(out).toMatch(/tcp +inet6 +stream +LISTEN +\[::1\]:4244 +\[::\]:0 .*97\/guest:14/);
    expect(out).toMatch(/unix +unix +dgram +CLOSE +@memtool-abstract .*97\/guest:9/);
  });
});

describe("memtool sockets --scan", () => {
  it("prints an object a line, with the tables that miss it and the evidence of each", async () => {
    const { out, err, status } = await memtool(["sockets", "--scan", "--json", ...TARGET]);
    expect(status).toBe(0);
    const rows = new Map(jsonLines(out).map((row) => [row.sock, row]));
    const [first] = TRUTH.sockets.tcp;
    expect(rows.get(first?.kernelAddress)).toMatchObject({
      status: "listed",
      physical: expect.stringMatching(/^0x/),
      missedBy: [],
      cache: "TCP",
      prot: "tcp_prot",
      against: [],
    });
    expect(err).toMatch(/^memtool: \d+ listed, \d+ kernel, \d+ freed; none is hidden\n$/);
  });

  it("shows people what is listed in few words, and all evidence of what is not", async () => {
    const { out } = await memtool(["sockets", "--scan", ...TARGET]);
    expect(out).toMatch(/\[::1\]:4244 .* listed +10 of 10\n/);
    expect(out).toMatch(/ kernel +10 of 10: leads to udp_prot, empty queues lead to itself, /);
  });

  it("shows with --pid what the process has open", async () => {
    const { out } = await memtool(["sockets", "--scan", "--json", "--pid", `${TRUTH.pid}`, ...TARGET]);
    const plain = await memtool(["sockets", "--json", "--pid", `${TRUTH.pid}`, ...TARGET]);
    const places = (text: string) => jsonLines(text).map(({ sock }) => sock);
    expect(places(out).sort()).toEqual(places(plain.out).sort());
  });
});

function endOf(text: string): { address: string; port: number } {
  const at = text.lastIndexOf(":");
  return { address: text.slice(0, at).replace(/[[\]]/g, ""), port: Number(text.slice(at + 1)) };
}
