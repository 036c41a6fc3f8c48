/** The command about netfilter: rows for programs, a table for people. */
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";

const TARGET = ["-f", "fixtures/linux-6.1-x86_64.kdump"];

describe("memtool netfilter", () => {
  it("gives a row for each hook: where it hangs, what runs there and whose code that is", async () => {
    const { out, status } = await memtool(["netfilter", "--json", ...TARGET]);
    expect(status).toBe(0);
    const rows = jsonLines(out);
    expect(rows[0]).toMatchObject({ hook: "input", function: "nft_do_chain_ipv4", module: "nf_tables" });
    expect(rows[0]).toMatchObject({ table: "memtool", chain: "input" });
    expect(rows.slice(1, 3)).toEqual(
      ["ipv4", "ipv6"].map((family) => ({
        namespace: expect.any(Number),
        family,
        hook: "postrouting",
        device: null,
        priority: -225,
        function: "apparmor_ip_postroute",
        module: null,
        owned: true,
        table: null,
        chain: null,
        handler: expect.stringMatching(/^0xffffffff/),
        priv: "0x0",
        registered: family,
        ops: expect.stringMatching(/^0xffffffff/),
      })),
    );
  });

  it("shows people a table", async () => {
    const { out } = await memtool(["netfilter", ...TARGET]);
    expect(out).toMatch(/^ *NETNS +FAMILY +HOOK +DEVICE +PRIORITY +FUNCTION +MODULE /);
    expect(out).toMatch(/ ipv4 +input +-5 +nft_do_chain_ipv4 +nf_tables +memtool +input +0xff/);
    expect(out).toMatch(/ ipv4 +postrouting +-225 +apparmor_ip_postroute /);
  });

  it("gives a row for each chain of a table; entries are those of x_tables only", async () => {
    const { out, status } = await memtool(["netfilter", "--tables", "--json", ...TARGET]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toMatchObject([
      { table: "memtool", chain: "input", hooks: ["input"], policy: "accept", rules: 1, entries: null },
      {
        table: "memtool",
        chain: "inner-output",
        hooks: ["output"],
        policy: "accept",
        rules: 1,
        entries: null,
      },
    ]);
  });

  it("says so where no connections are tracked, which is no failure", async () => {
    for (const json of [[], ["--json"]]) {
      const done = await memtool(["netfilter", "--conntrack", ...json, ...TARGET]);
      expect(done).toMatchObject({ status: 0, out: "", err: "memtool: no connections are tracked\n" });
    }
  });

  it("takes one of them only", async () => {
    const { status, err } = await memtool(["netfilter", "--tables", "--conntrack", ...TARGET]);
    expect(status).toBe(2);
    expect(err).toContain("--tables and --conntrack can't be given together");
  });
});
