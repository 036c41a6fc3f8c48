/** Memory served to another place: by the suite, and by hostile peers of both kinds. Loopback and ports that the system chooses only. */
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { MalformedError } from "../../connectors/byte-code.js";
import type { MachineSource } from "../../connectors/connector.js";
import { withMap } from "../../connectors/middleware/remap.js";
import { openNet, serveSource } from "../../connectors/net/net.js";
import type { NetPlace } from "../../connectors/net/place.js";
import { parsePlace } from "../../connectors/net/place.js";
import {
  decodeAnswer,
  decodeBatch,
  encodeAnswer,
  encodeBatch,
  proofOf,
  WINDOW_BATCHES,
  WINDOW_BYTES,
} from "../../connectors/net/protocol.js";
import type { ServedSource, ServeOptions } from "../../connectors/net/serve.js";
import { openProcess } from "../../connectors/proc/open-process.js";
import { openTarget } from "../../connectors/registry.js";
import {
  AddressRanges,
  fault,
  readInto,
  readPartial,
  Scheduler,
  type Source,
  SourceIo,
  write,
} from "../../src/io/index.js";
import { memorySource, sourceSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-net-"));
afterAll(() => rmSync(folder, { recursive: true }));
const token = "a token of some length";
const LOOPBACK: NetPlace = { host: "127.0.0.1", port: 0 };
const io = (source: Source) => new SourceIo(source, new Scheduler());
let sockets = 0;

/** What a test opened, and did not close itself. */
const open: { close?(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close?.();
});

async function serving(
  source: Source,
  options: Partial<ServeOptions> = {},
  place = LOOPBACK,
): Promise<ServedSource> {
  const served = await serveSource(source, place, { kind: "physical", token, ...options });
  open.push(served);
  return served;
}

async function client(served: ServedSource, options: Partial<Parameters<typeof openNet>[1]> = {}) {
  const source = await openNet(served.place, { token, retry: 200, ...options });
  const reads = io(source);
  open.unshift(reads);
  return { source, io: reads };
}

const BYTES = 3 * 4096 + 123;
/** A live source that refuses by itself what is outside. */
const live = (bytes: Uint8Array, mode: "sync" | "async" = "sync") =>
  withMap(memorySource(bytes, { mode, live: true, broken: [{ start: 5000, end: 5100 }] }), [
    { start: 0, end: bytes.length, offset: 0 },
  ]);

for (const [name, place, compress] of [
  ["TCP", () => LOOPBACK, "never"],
  ["a UNIX socket", () => ({ path: join(folder, `s${++sockets}`) }), "always"],
] as const) {
  sourceSuite(`what is served over ${name}`, async () => {
    const bytes = pattern(BYTES, 5);
    const served = await serveSource(live(bytes), place(), {
      kind: "physical",
      token,
      write: true,
      compress,
    });
    const source = await openNet(served.place, { token, write: true, compress, retry: 0 });
    return {
      source,
      base: 0,
      truth: () => bytes.slice(),
      writable: true,
      bad: [{ start: 5000, end: 5100, state: "io" }],
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
    expect(await (source as unknown as MachineSource).notes()).toMatchObject(notes);
    if (process.platform !== "linux") return;
    const { source: process_ } = await client(await serving(openProcess(process.pid), { kind: "virtual" }));
    const { maps } = process_ as unknown as ReturnType<typeof openProcess>;
    expect([process_.kind, maps().length > 10]).toEqual(["virtual", true]);
  });

  it("tells of ranges that come and go", async () => {
    let end = 4096;
    const source: Source = { ...live(pattern(BYTES, 1)), ranges: () => AddressRanges.single(0, end) };
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
    await expect(openNet(place, { token })).rejects.toThrow(/does not have the token|before the welcome/);
  });

  it("is not within reach of others without TLS", async () => {
    const far = { host: "0.0.0.0", port: 0 };
    await expect(serving(memorySource(new Uint8Array(9)), {}, far)).rejects.toMatchObject({
      code: "NOT_LOCAL",
    });
    await expect(openNet({ host: "192.0.2.1", port: 9 }, { token })).rejects.toMatchObject({
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

  it("is over also where it can't be closed well, and says why", async () => {
    const stuck = {
      ...memorySource(pattern(16, 1)),
      close: async () => {
        throw new Error("still paused");
      },
    };
    const served = await serveSource(stuck, LOOPBACK, { kind: "physical", token });
    await expect(served.close()).rejects.toThrow("still paused");
    await served.ended;
  });

  it("serves no more than so many", async () => {
    const served = await serving(memorySource(pattern(100, 1)), { clients: 1 });
    await client(served);
    await expect(client(served)).rejects.toThrow("it serves 1 clients already");
  });
});

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
describe.skipIf(!hasOpenssl)("with TLS (needs openssl for a certificate)", () => {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  if (hasOpenssl) {
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
    const made = [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "2",
    ];
    execFileSync("openssl", [...made, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
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
  });
});

describe("a connection that is lost", () => {
  /** A line to a server that can be cut. */
  async function cuttable(served: ServedSource) {
    const lines = new Set<Socket>();
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
        from.pipe(to);
        from.on("error", () => {});
        from.on("close", () => to.destroy());
      }
    });
    const place = await listening(relay);
    const cut = () => {
      for (const line of lines) line.destroy();
      lines.clear();
    };
    return {
      place,
      cut,
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
    const source = await openNet(line.place, { token });
    open.unshift(source);
    const reads = io(source);
    expect(await readInto(reads, 0, 100)).toEqual(bytes.slice(0, 100));
    expect(await readInto(reads, 50, 9000)).toEqual(bytes.slice(50, 9050));
    expect(source.reconnects).toBe(1);
  });

  it("fails a write under way as io, for nobody knows whether it landed", async () => {
    let line: Awaited<ReturnType<typeof cuttable>> | undefined;
    const memory = memorySource(new Uint8Array(100), { onBatch: () => line?.cut() });
    line = await cuttable(await serving(memory, { write: true }));
    const source = await openNet(line.place, { token, write: true });
    open.unshift(source);
    await expect(write(io(source), 0, Uint8Array.of(1)).promise()).rejects.toThrow(/io state/);
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
    const source = await openNet(line.place, { token, retry: 100 });
    open.unshift(source);
    const reads = io(source);
    expect(await readInto(reads, 0, 4096)).toEqual(bytes.slice(0, 4096));
    const { holes } = await readPartial(reads, 0, bytes.length);
    expect(new Set(holes.map(({ state }) => state))).toEqual(new Set(["gone"]));
    expect((await readPartial(reads, 0, 10)).holes[0]?.state).toBe("gone");
  });

  it("to another source counts as none", async () => {
    const first = await serving(memorySource(pattern(100, 1)));
    const source = await openNet(first.place, { token, retry: 1000 });
    open.unshift(source);
    const reads = io(source);
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

async function listening(server: ReturnType<typeof createServer>): Promise<{ host: string; port: number }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => void server.close() });
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

/** A message as bytes. */
function frame(type: number, body: unknown, claimed?: number): Buffer {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  const header = Buffer.alloc(12);
  header[0] = type;
  header.writeUInt32LE(claimed ?? bytes.length, 4);
  header.writeUInt32LE(claimed ?? bytes.length, 8);
  return Buffer.concat([header, bytes]);
}

/** A client by hand, which is let in if `login`. */
async function raw(served: ServedSource, login = true) {
  const socket = connect(served.place.port as number, "127.0.0.1");
  open.unshift({ close: () => socket.destroy() });
  socket.on("error", () => {});
  const closed = once(socket, "close");
  const [challenge] = (await once(socket, "data")) as [Buffer];
  const { nonce } = JSON.parse(challenge.subarray(12).toString()) as { nonce: string };
  if (login) {
    const mine = "n".repeat(32);
    socket.write(frame(2, { nonce: mine, proof: proofOf(token, "client", `${nonce} ${mine}`) }));
    await once(socket, "data");
  }
  return { socket, closed };
}

describe("hostile clients", () => {
  const garbage: [string, Buffer, boolean][] = [
    ["garbage", Buffer.from("GET / HTTP/1.1\r\n\r\nxxxxxxxxxxxxxxxx"), false],
    ["a length that lies", frame(2, {}, 0x7fff_ffff), false],
    ["a batch before the login", frame(4, Uint8Array.of(0, 0, 1, 0, 8)), false],
    ["a login that is no JSON", frame(2, Uint8Array.of(1, 2, 3)), false],
    ["a batch that is cut off", frame(4, Uint8Array.of(0, 0, 200)), true],
    ["a batch of 2^40 bytes", frame(4, Uint8Array.of(0, 0, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20)), true],
    ["a write, where none is allowed", frame(4, Uint8Array.of(0, 1, 1, 0, 1, 7)), true],
    ["a message of no type", frame(77, {}), true],
  ];

  it.each(garbage)("%s: cut off, and the others are served on", async (_name, bytes, login) => {
    const served = await serving(memorySource(pattern(100, 1)));
    const { io: reads } = await client(served);
    const { socket, closed } = await raw(served, login);
    socket.write(bytes);
    await closed;
    expect(await readInto(reads, 0, 100)).toEqual(pattern(100, 1));
  });

  it("who says nothing, or a byte now and then, is cut off in time", async () => {
    const served = await serving(memorySource(pattern(100, 1)), { loginTime: 100 });
    const silent = connect(served.place.port as number, "127.0.0.1");
    const drip = setInterval(() => silent.write("x"), 20);
    silent.on("error", () => {});
    await once(silent.resume(), "close");
    clearInterval(drip);
  });

  it("who vanishes amid a batch costs nobody else anything", async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let isHeld = true;
    const served = await serving(
      memorySource(pattern(100, 1), { mode: "async", gate: async () => (isHeld ? held : undefined) }),
    );
    const { socket, closed } = await raw(served);
    socket.write(frame(4, Uint8Array.of(0, 0, 1, 0, 8)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await closed;
    isHeld = false;
    release();
    const { io: reads } = await client(served);
    expect(await readInto(reads, 0, 100)).toEqual(pattern(100, 1));
  });

  it("who asks for more and more has so much under way, and no more", async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let rows = 0;
    let bytes = 0;
    const memory = memorySource(new Uint8Array(2 ** 20), { mode: "async", live: true });
    const counted: Source = {
      ...memory,
      transfer: async (batch) => {
        rows += batch.length;
        for (let row = 0; row < batch.length; row++) bytes += batch.lengths[row] as number;
        await held;
        await memory.transfer?.(batch);
      },
    };
    const served = await serving(counted);
    const { socket } = await raw(served);
    // Each asks for a MiB, in ten bytes.
    const asked = Array.from({ length: 2000 }, (_, id) =>
      frame(4, encodeBatch(id, "read", [{ lo: 0, hi: 0, length: 2 ** 20 }], [])),
    );
    socket.write(Buffer.concat(asked));
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(bytes).toBeLessThanOrEqual(WINDOW_BYTES);
    expect(rows).toBeLessThanOrEqual(WINDOW_BATCHES);
    expect(rows).toBeGreaterThan(0);
    socket.destroy();
    release();
  });
});

describe("hostile servers", () => {
  /** A server that lets everybody in who has the token, and then says what it likes. */
  async function server(say: (socket: Socket, asked: Buffer) => void) {
    const theirs = "s".repeat(32);
    const hostile = createServer((socket) => {
      socket.on("error", () => {});
      socket.write(frame(1, { protocol: "memtool net", version: 1, nonce: theirs }));
      socket.once("data", (login: Buffer) => {
        const { nonce } = JSON.parse(login.subarray(12).toString()) as { nonce: string };
        const proof = proofOf(token, "server", `${theirs} ${nonce}`);
        socket.write(frame(3, { name: "evil", kind: "physical", live: true, proof }));
        socket.write(frame(6, { ranges: [["0x0", "0x10000"]] }));
        socket.on("data", (asked: Buffer) => say(socket, asked));
      });
    });
    const source = await openNet(await listening(hostile), { token, retry: 100, timeout: 300 });
    open.unshift(source);
    return io(source);
  }

  const answers: [string, (socket: Socket) => void][] = [
    ["garbage", (socket) => socket.write(pattern(500, 3))],
    ["an answer to nothing", (socket) => socket.write(frame(5, Uint8Array.of(99, 0)))],
    ["too few bytes", (socket) => socket.write(frame(5, Uint8Array.of(1, 0, 1, 2, 3)))],
    ["too many bytes", (socket) => socket.write(frame(5, new Uint8Array(300)))],
    ["a hole behind the end", (socket) => socket.write(frame(5, Uint8Array.of(1, 1, 99, 9, 1)))],
    ["a fault that is none", (socket) => socket.write(frame(5, Uint8Array.of(1, 1, 0, 100, 31)))],
    ["a length that lies", (socket) => socket.write(frame(5, new Uint8Array(4), 0xffff_ffff))],
    ["ranges that are none", (socket) => socket.write(frame(6, { ranges: [["x"]] }))],
    ["nothing", () => {}],
    ["a goodbye", (socket) => socket.write(frame(9, { problem: "enough" }))],
    ["the end", (socket) => socket.destroy()],
  ];

  it.each(answers)("%s: the read fails, and nothing hangs", async (_name, say) => {
    const reads = await server((socket) => say(socket));
    const { holes } = await readPartial(reads, 0, 100);
    expect(holes).toMatchObject([{ start: 0, end: 100, state: "gone" }]);
  });

  it("of another version is told", async () => {
    const later = createServer((socket) => {
      socket.on("error", () => {});
      socket.write(frame(1, { protocol: "memtool net", version: 2, nonce: "n".repeat(32) }));
    });
    await expect(openNet(await listening(later), { token })).rejects.toThrow(
      "it speaks version 2, this memtool version 1",
    );
  });
});

describe("messages", () => {
  const rows = fc.array(
    fc.record({
      lo: fc.integer({ min: 0, max: 0xffff_ffff }),
      hi: fc.integer({ min: 0, max: 0xffff_fffe }),
      length: fc.integer({ min: 1, max: 5000 }),
    }),
    { maxLength: 50 },
  );

  it("come back as they were", () => {
    fc.assert(
      fc.property(fc.nat(), rows, (id, list) => {
        const bytes = list.reduce((sum, { length }) => sum + length, 0);
        const payload = list.map(({ length }, i) => pattern(length, i));
        expect(decodeBatch(encodeBatch(id, "read", list, []))).toMatchObject({
          id,
          direction: "read",
          rows: list,
          bytes,
        });
        const written = decodeBatch(encodeBatch(id, "write", list, payload));
        expect(Buffer.compare(written.payload, Buffer.concat(payload))).toBe(0);
      }),
      { numRuns: 50 },
    );
    fc.assert(
      fc.property(
        fc.nat(),
        fc.array(fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 20 })), { maxLength: 9 }),
        (id, list) => {
          let at = 0;
          const holes = list.map(([gap, length]) => {
            const start = at + gap;
            at = start + length;
            return { start, end: at, fault: fault("io", "memory", "connector", 5), state: "io" as const };
          });
          const bytes = pattern(at + 10, 1);
          const { holes: found, bytes: good } = decodeAnswer(
            encodeAnswer(id, holes, bytes),
            bytes.length,
            "read",
          );
          expect(found).toEqual(holes.map(({ start, end, fault: why }) => ({ start, end, fault: why })));
          const kept = bytes.filter((_, i) => !holes.some(({ start, end }) => start <= i && i < end));
          expect([...good]).toEqual([...kept]);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("of any bytes are read or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        for (const decode of [() => decodeBatch(bytes), () => decodeAnswer(bytes, 64, "read")]) {
          try {
            decode();
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedError);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["127.0.0.1:7000", { host: "127.0.0.1", port: 7000 }],
    ["[::1]:0", { host: "::1", port: 0 }],
    ["unix:/run/a:b", { path: "/run/a:b" }],
    ["host:70000", undefined],
    ["host", undefined],
    ["::1:7000", undefined],
    ["unix:", undefined],
  ])("%s is a place, or none", (text, place) => expect(parsePlace(text)).toEqual(place));
});

describe("net: as a connector", () => {
  it("takes the token from a file or the environment, and says where it comes from", async () => {
    const served = await serving(memorySource(pattern(100, 1)));
    const target = `net:127.0.0.1:${served.place.port}`;
    const file = join(folder, "token");
    writeFileSync(file, `${token}\n`);
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
    const { source } = await openTarget(`net:127.0.0.1:${served.place.port}:token=${token},sync=true`);
    open.unshift({ close: () => source.close?.() });
    expect([source.transfer !== undefined, source.transferSync !== undefined]).toEqual([true, true]);
    expect(await readInto(io(source), 10, 5000)).toEqual(bytes.slice(10, 5010));
  });
});
