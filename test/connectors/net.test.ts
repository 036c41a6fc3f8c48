/** Memory served to another place: by the suite, over TLS, and over lines that break. Loopback and ports that the system chooses only. */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { MachineSource } from "../../connectors/connector.js";
import { openNet, serveSource } from "../../connectors/net/net.js";
import { encodeBatch, MESSAGE } from "../../connectors/net/protocol.js";
import type { ServedSource } from "../../connectors/net/serve.js";
import { openProcess } from "../../connectors/proc/open-process.js";
import { openTarget } from "../../connectors/registry.js";
import { AddressRanges, readInto, readPartial, type Source, write } from "../../src/io/index.js";
import { memorySource, sourceSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";
import { frame, LOOPBACK, netPeers, nextOf, TOKEN } from "../support/net-peers.js";
import { BROKEN, BYTES, brokenMemory, ioOf } from "../support/sources.js";
import { testFolder } from "../support/test-folder.js";

const { folder } = testFolder();
const { open, serving, client, listening, raw, silent } = netPeers();
let sockets = 0;

for (const [name, place, compress] of [
  ["TCP", () => LOOPBACK, "never"],
  ["a UNIX socket", () => ({ path: join(folder, `s${++sockets}`) }), "always"],
] as const) {
  sourceSuite(`what is served over ${name}`, async () => {
    const bytes = pattern(BYTES, 5);
    const served = await serveSource(brokenMemory(bytes), place(), {
      kind: "physical",
      token: TOKEN,
      write: true,
      compress,
    });
    const source = await openNet(served.place, { token: TOKEN, write: true, compress, retry: 0 });
    return {
      source,
      base: 0,
      truth: () => bytes.slice(),
      writable: true,
      bad: [{ ...BROKEN, state: "io" }],
      vanish: () => served.close(),
      close: () => served.close(),
    };
  });
}

describe("a served source", () => {
  it("tells its kind, ranges, notes and mappings", async () => {
    const notes = {
      cpus: [{ pid: 3, registers: { rip: 0xffff_ffff_8100_0000n } }],
      architecture: "x86_64" as const,
    };
    const machine: MachineSource = {
      ...memorySource(pattern(9000, 1), { base: 0x1000 }),
      notes: () => notes,
    };
    const { source } = await client(await serving(machine));
    expect([source.kind, source.serves, source.supports, [...source.ranges()]]).toEqual([
      "physical",
      "memory",
      { write: false, live: false },
      [{ start: 0x1000, end: 0x1000 + 9000 }],
    ]);
    const asked = source as unknown as MachineSource;
    // (Several that ask at once get the same answer.)
    for (const got of await Promise.all([asked.notes(), asked.notes(), asked.notes()])) {
      expect(got).toMatchObject(notes);
    }
    if (process.platform !== "linux") return;
    const { source: process_ } = await client(await serving(openProcess(process.pid), { kind: "virtual" }));
    const { maps } = process_ as unknown as ReturnType<typeof openProcess>;
    expect([process_.kind, maps().length > 10]).toEqual(["virtual", true]);
  });

  it("tells of ranges that come and go", async () => {
    let end = 4096;
    const source: Source = { ...brokenMemory(pattern(BYTES, 1)), ranges: () => AddressRanges.single(0, end) };
    const { source: net } = await client(await serving(source));
    expect([...net.ranges()]).toEqual([{ start: 0, end: 4096 }]);
    end = 8192;
    await expect.poll(() => [...net.ranges()], { timeout: 5000 }).toEqual([{ start: 0, end: 8192 }]);
  });

  it("is not written without leave of both sides", async () => {
    const bytes = pattern(100, 1);
    const served = await serving(memorySource(bytes));
    await expect(client(served, { write: true })).rejects.toThrow("the server does not allow writes");
    const writable = await serving(memorySource(bytes), { write: true });
    const reader = await client(writable);
    expect(() => write(reader.io, 0, Uint8Array.of(9)).sync()).toThrow(/read-only/);
    const writer = await client(writable, { write: true });
    await write(writer.io, 3, Uint8Array.of(9, 8));
    expect([...bytes.subarray(3, 5)]).toEqual([9, 8]);
  });

  it("is read by several at once, each with their own bytes, whatever the compression", async () => {
    const bytes = pattern(4 * 2 ** 20 + 77, 9);
    const served = await serving(memorySource(bytes, { mode: "async" }));
    const clients = await Promise.all(
      (["auto", "always", "never"] as const).map((compress) => client(served, { compress })),
    );
    const whole = await Promise.all(clients.map((each) => readInto(each.io, 0, bytes.length)));
    for (const got of whole) expect(Buffer.compare(got, bytes)).toBe(0);
  });

  it("is refused to those without the token, and does not lend itself to a server without it", async () => {
    const served = await serving(memorySource(pattern(100, 1)));
    await expect(openNet(served.place, { token: "another token" })).rejects.toThrow(
      "the token is another one",
    );
    const impostor = createServer((socket) => {
      socket.write(frame(1, { protocol: "memtool net", version: 1, nonce: "x".repeat(32) }));
      socket.write(frame(3, { name: "x", kind: "physical", proof: "guessed" }));
    });
    const place = await listening(impostor);
    await expect(openNet(place, { token: TOKEN })).rejects.toThrow(
      /does not have the token|before the welcome/,
    );
  });

  it("is not within reach of others without TLS", async () => {
    const far = { host: "0.0.0.0", port: 0 };
    await expect(serving(memorySource(new Uint8Array(9)), {}, far)).rejects.toMatchObject({
      code: "NOT_LOCAL",
    });
    await expect(openNet({ host: "192.0.2.1", port: 9 }, { token: TOKEN })).rejects.toMatchObject({
      code: "NOT_LOCAL",
    });
    await expect(serving(memorySource(new Uint8Array(9)), { token: "short" })).rejects.toMatchObject({
      code: "BAD_TOKEN",
    });
  });

  it.skipIf(process.platform === "win32")(
    "at a UNIX socket is its user's alone (no such files elsewhere)",
    async () => {
      const path = join(folder, "own");
      await serving(memorySource(new Uint8Array(9)), {}, { path });
      expect(statSync(path).mode & 0o777).toBe(0o600);
      await expect(serving(memorySource(new Uint8Array(9)), {}, { path })).rejects.toThrow(
        /there is such a file already/,
      );
    },
  );

  it("that can't be closed is served no more, and says why", async () => {
    const source: Source = {
      ...memorySource(pattern(100, 1)),
      close: () => Promise.reject(new Error("the machine did not go on")),
    };
    const served = await serveSource(source, LOOPBACK, { kind: "physical", token: TOKEN });
    await expect(served.close()).rejects.toThrow("the machine did not go on");
    await served.ended;
  });

  it("that has gone when somebody comes costs the server nothing", async () => {
    let isGone = false;
    const source: Source = {
      ...brokenMemory(pattern(BYTES, 1)),
      ranges: () => {
        if (isGone) throw new Error("no such process");
        return AddressRanges.single(0, 4096);
      },
    };
    const served = await serving(source);
    isGone = true;
    const { source: net } = await client(served);
    expect(net.ranges().length).toBe(0);
  });

  it("serves no more than so many, and says what to do", async () => {
    const served = await serving(memorySource(pattern(100, 1)), { clients: 1 });
    const first = await client(served);
    await expect(client(served)).rejects.toThrow(
      "it serves a client already: come back when one has left (memtool serve --clients N takes more)",
    );
    await first.io.close();
    await expect.poll(() => client(served).then(() => "let in", String), { timeout: 5000 }).toBe("let in");
  });

  it("tells what it warns of, and leaves out", async () => {
    const machine: MachineSource = {
      ...memorySource(pattern(100, 1)),
      notes: () => ({ cpus: [] }),
      warnings: ["the clock is wrong"],
      remarks: ["memory that was plugged in is left out"],
    };
    const { source } = await client(await serving(machine));
    expect([source.warnings, source.remarks]).toEqual([machine.warnings, machine.remarks]);
  });

  it("tells all mappings of a process, however long their list is", async () => {
    const maps = Array.from({ length: 70_000 }, (_, i) => ({
      start: BigInt(i) * 0x2000n,
      end: BigInt(i) * 0x2000n + 0x1000n,
      readable: true,
      writable: false,
      executable: false,
      shared: false,
      offset: 0n,
      inode: i,
      path: `/a/path/of/some/length/${i}`,
    }));
    const ranges = AddressRanges.from(
      maps.map(({ start, end }) => ({ start: Number(start), end: Number(end) })),
    );
    const source = { ...memorySource(new Uint8Array(100)), ranges: () => ranges, maps: () => maps };
    const { source: net } = await client(await serving(source, { kind: "virtual" }));
    expect((net as unknown as typeof source).maps()).toEqual(maps);
    expect([net.ranges().length, net.warnings]).toEqual([70_000, []]);
  });

  it.each([
    ["never", "always", 0],
    ["always", "never", 0],
    ["always", "auto", 1],
    ["auto", "always", 1],
  ] as const)(
    "that compresses %s, for a client that wishes %s: whoever says never is heeded",
    async (compress, wish, packed) => {
      const served = await serving(memorySource(new Uint8Array(5000)), { compress });
      const { socket } = await raw(served, true, { compress: wish });
      socket.write(frame(4, encodeBatch(1, "read", [{ lo: 0, hi: 0, length: 5000 }], [])));
      expect((await nextOf(socket, MESSAGE.answer))[1]).toBe(packed);
    },
  );
});

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
describe.skipIf(!hasOpenssl)("with TLS (needs openssl for a certificate)", () => {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const certify = (keyFile: string, certFile: string, subject: readonly string[]) => {
    const made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(" ");
    execFileSync("openssl", [...made, "-keyout", keyFile, "-out", certFile, ...subject], { stdio: "ignore" });
  };
  if (hasOpenssl) {
    certify(key, cert, ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]);
  }
  const tls = () => ({ cert: readFileSync(cert), key: readFileSync(key) });

  it("a server is known by its fingerprint, or by who vouches for it", async () => {
    const served = await serving(memorySource(pattern(5000, 1)), { tls: tls() });
    const print = execFileSync("openssl", ["x509", "-in", cert, "-noout", "-fingerprint", "-sha256"], {
      encoding: "utf8",
    });
    const fingerprint = (print.split("=")[1] as string).trim();
    for (const how of [{ fingerprint }, { ca: readFileSync(cert) }]) {
      const { io: reads } = await client(served, { tls: how });
      expect(await readInto(reads, 0, 5000)).toEqual(pattern(5000, 1));
    }
    await expect(client(served, { tls: { fingerprint: "0".repeat(64) } })).rejects.toThrow(
      /another fingerprint/,
    );
    await expect(client(served, { tls: {} })).rejects.toThrow(/nobody vouches for its certificate/);
    await expect(client(served, { timeout: 300 })).rejects.toThrow();
    // Those who do not even begin with TLS keep nobody out.
    await silent(served.place, 100);
    const { io: late } = await client(served, { tls: { fingerprint } });
    expect(await readInto(late, 0, 5000)).toEqual(pattern(5000, 1));
  });

  it("a server without TLS is told as that to who wants TLS, without OpenSSL's own words", async () => {
    const served = await serving(memorySource(pattern(100, 1)));
    await expect(client(served, { tls: { fingerprint: "0".repeat(64) } })).rejects.toThrow(
      /: wrong version number: is it served without TLS\? Leave out tls, fingerprint and ca$/,
    );
  });

  it("a server with TLS is told as that to who comes without", async () => {
    const served = await serving(memorySource(pattern(100, 1)), { tls: tls() });
    await expect(client(served, { timeout: 300 })).rejects.toThrow(
      /: it may be served with TLS \(fingerprint=…, which the server prints, or ca=FILE\)$/,
    );
  });

  it("a certificate that has not the address is told with how to accept it", async () => {
    const [otherKey, other] = [join(folder, "other-key.pem"), join(folder, "other.pem")];
    certify(otherKey, other, ["-subj", "/CN=elsewhere"]);
    const served = await serving(memorySource(pattern(100, 1)), {
      tls: { cert: readFileSync(other), key: readFileSync(otherKey) },
    });
    await expect(client(served, { tls: { ca: readFileSync(other) } })).rejects.toThrow(
      /127\.0\.0\.1 is not in the cert's list: fingerprint=…, which the server prints, accepts that one certificate$/,
    );
  });
});

describe("a connection that is lost", () => {
  /** A line to a server that can be cut. */
  async function cuttable(served: ServedSource) {
    const lines = new Set<Socket>();
    const near = new Set<Socket>();
    let isDown = false;
    const relay = createServer((socket) => {
      if (isDown) {
        socket.destroy();
        return;
      }
      const onward = connect(served.place.port as number, "127.0.0.1");
      for (const [from, to] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        lines.add(from);
        from.pipe(to, { end: false });
        from.on("error", () => {});
      }
      onward.on("close", () => socket.destroy());
      near.add(socket);
    });
    const place = await listening(relay);
    const cut = () => {
      for (const line of lines) line.destroy();
      lines.clear();
    };
    return {
      place,
      cut,
      /** So that only this side hears of it. */
      cutHere: () => {
        for (const socket of near) socket.destroy();
      },
      up: () => {
        isDown = false;
      },
      down: () => {
        isDown = true;
        cut();
      },
    };
  }

  it("comes back, and reads under way are asked again", async () => {
    const bytes = pattern(BYTES, 1);
    let asked = 0;
    let line: Awaited<ReturnType<typeof cuttable>> | undefined;
    const slow: Source = {
      ...memorySource(bytes, { mode: "async" }),
      transfer: async (batch) => {
        if (++asked === 2) line?.cut();
        await memorySource(bytes, { mode: "async" }).transfer?.(batch);
      },
    };
    line = await cuttable(await serving(slow));
    const source = await openNet(line.place, { token: TOKEN });
    open.unshift(source);
    const reads = ioOf(source);
    expect(await readInto(reads, 0, 100)).toEqual(bytes.slice(0, 100));
    expect(await readInto(reads, 50, 9000)).toEqual(bytes.slice(50, 9050));
    expect(source.reconnects).toBe(1);
  });

  it("fails a write under way as io, for nobody knows whether it landed", async () => {
    let line: Awaited<ReturnType<typeof cuttable>> | undefined;
    const memory = memorySource(new Uint8Array(100), { onBatch: () => line?.cut() });
    line = await cuttable(await serving(memory, { write: true }));
    const source = await openNet(line.place, { token: TOKEN, write: true });
    open.unshift(source);
    await expect(write(ioOf(source), 0, Uint8Array.of(1)).promise()).rejects.toThrow(/io state/);
  });

  it("comes back also where the server still takes it for there, and is full of it", async () => {
    const line = await cuttable(await serving(memorySource(pattern(100, 1)), { clients: 1 }));
    const source = await openNet(line.place, { token: TOKEN, retry: 5000 });
    open.unshift(source);
    line.cutHere();
    expect(await readInto(ioOf(source), 0, 100)).toEqual(pattern(100, 1));
    expect(source.reconnects).toBe(1);
  });

  it("comes back once there is room, where another took its place meanwhile", async () => {
    const events: string[] = [];
    const served = await serving(memorySource(pattern(100, 1)), {
      clients: 1,
      onEvent: (event) => events.push(event),
    });
    const line = await cuttable(served);
    const source = await openNet(line.place, { token: TOKEN, retry: 10_000 });
    open.unshift(source);
    line.down();
    await expect.poll(() => events.join(), { timeout: 5000 }).toContain("gone");
    const { io: other } = await client(served);
    line.up();
    await expect.poll(() => events.join(), { timeout: 5000 }).toContain("it serves a client already");
    await other.close();
    expect(await readInto(ioOf(source), 0, 100)).toEqual(pattern(100, 1));
    expect(source.reconnects).toBe(1);
  });

  it("for good makes everything gone, and keeps what was read", async () => {
    const bytes = pattern(8 * 2 ** 20, 1);
    let line: Awaited<ReturnType<typeof cuttable>> | undefined;
    let batches = 0;
    const slow: Source = {
      ...memorySource(bytes, { mode: "async" }),
      transfer: async (batch) => {
        if (++batches === 2) line?.down();
        await memorySource(bytes, { mode: "async" }).transfer?.(batch);
      },
    };
    line = await cuttable(await serving(slow));
    const source = await openNet(line.place, { token: TOKEN, retry: 100 });
    open.unshift(source);
    const reads = ioOf(source);
    expect(await readInto(reads, 0, 4096)).toEqual(bytes.slice(0, 4096));
    const { holes } = await readPartial(reads, 0, bytes.length);
    expect(new Set(holes.map(({ state }) => state))).toEqual(new Set(["gone"]));
    expect((await readPartial(reads, 0, 10)).holes[0]?.state).toBe("gone");
  });

  it("to another source counts as none", async () => {
    const first = await serving(memorySource(pattern(100, 1)));
    const source = await openNet(first.place, { token: TOKEN, retry: 1000 });
    open.unshift(source);
    const reads = ioOf(source);
    const { port } = first.place;
    await first.close();
    await serving(
      { ...memorySource(pattern(100, 2)), name: "another" },
      {},
      { host: "127.0.0.1", port: port as number },
    );
    expect((await readPartial(reads, 0, 10)).holes[0]?.state).toBe("gone");
  });
});

describe("net: as a connector", () => {
  it("takes the token from a file or the environment, and says where it comes from", async () => {
    const served = await serving(memorySource(pattern(100, 1)));
    const target = `net:127.0.0.1:${served.place.port}`;
    const file = join(folder, "token");
    writeFileSync(file, `${TOKEN}\n`);
    const { source, kind } = await openTarget(`${target}:token-file=${file},metrics=true`);
    expect(kind).toBe("physical");
    await source.close?.();
    await expect(openTarget(target)).rejects.toThrow(
      /which token\? .* set MEMTOOL_TOKEN, or token-file=FILE/,
    );
    await expect(openTarget("net:nowhere")).rejects.toMatchObject({ code: "BAD_TARGET" });
  });

  it("with sync=true is read synchronously, through a worker's connection", async () => {
    const bytes = pattern(9000, 1);
    const served = await serving(memorySource(bytes));
    // (A thread that waits can't serve: what is read synchronously is tested on the command, whose server is another program.)
    const { source } = await openTarget(`net:127.0.0.1:${served.place.port}:token=${TOKEN},sync=true`);
    open.unshift({ close: () => source.close?.() });
    expect([source.transfer !== undefined, source.transferSync !== undefined]).toEqual([true, true]);
    expect(await readInto(ioOf(source), 10, 5000)).toEqual(bytes.slice(10, 5010));
  });
});
