/** Peers that say what they should not, or nothing: whoever serves memory, or reads what is served, meets both. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { MachineSource } from "../../connectors/connector.js";
import { openNet } from "../../connectors/net/net.js";
import type { NetPlace } from "../../connectors/net/place.js";
import { encodeBatch, WINDOW_BATCHES, WINDOW_BYTES } from "../../connectors/net/protocol.js";
import { readInto, readPartial, type Source } from "../../src/io/index.js";
import { memorySource } from "../suite/index.js";
import { pattern } from "../support/bytes.js";
import { frame, netPeers, TOKEN } from "../support/net-peers.js";

const { serving, client, listening, raw, silent, impostor } = netPeers();

/** A client that waits for an answer no longer than that. Where the machine is too busy to let it in so soon, it comes again. */
async function impatient(place: NetPlace, timeout: number) {
  for (;;) {
    try {
      return await client({ place }, { retry: 100, timeout });
    } catch (error) {
      if (!String(error).includes(` within ${timeout} ms`)) throw error;
    }
  }
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

  it("any number of silent ones keep nobody out, and are no clients", async () => {
    const served = await serving(memorySource(pattern(100, 1)), { clients: 1 });
    await silent(served.place, 100);
    const { io: reads } = await client(served);
    expect(await readInto(reads, 0, 100)).toEqual(pattern(100, 1));
  });

  it("who asks for notes and reads none is asked no more by the server", async () => {
    let asked = 0;
    const machine: MachineSource = {
      ...memorySource(pattern(100, 1)),
      notes: async () => {
        asked++;
        return { cpus: [], raw: [{ name: "big", type: 1, description: pattern(2 ** 20, asked) }] };
      },
    };
    const { socket } = await raw(await serving(machine, { compress: "never" }));
    socket.pause();
    socket.write(Buffer.concat(Array.from({ length: 500 }, () => frame(7, new Uint8Array(0)))));
    // (What a socket holds on the way is some MiB beside the 8 that wait in the server.)
    await expect.poll(() => asked, { timeout: 5000 }).toBeGreaterThan(4);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(asked).toBeLessThan(50);
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
    await expect.poll(() => rows, { timeout: 20_000 }).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(bytes).toBeLessThanOrEqual(WINDOW_BYTES);
    expect(rows).toBeLessThanOrEqual(WINDOW_BATCHES);
    socket.destroy();
    release();
  });
});

const MAPPING = { start: "0x0", end: "0x1000", offset: "0x0", inode: 0, path: "" };
const notesOf = (source: Source) => (source as MachineSource).notes();

describe("hostile servers", () => {
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
    const { io: reads } = await impatient(await impostor((socket) => say(socket)), 300);
    const { holes } = await readPartial(reads, 0, 100);
    expect(holes).toMatchObject([{ start: 0, end: 100, state: "gone" }]);
  });

  it("silent ones: a read fails also when nothing was asked for longer than they have time", async () => {
    const { io: reads } = await impatient(await impostor(() => {}), 50);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect((await readPartial(reads, 0, 100)).holes).toMatchObject([{ state: "gone" }]);
  });

  it("silent ones: who says nothing of what there is is given up", async () => {
    const place = await impostor(() => {}, { ranges: false });
    await expect(client({ place }, { timeout: 50 })).rejects.toThrow(
      /^net:127\.0\.0\.1:\d+: no answer within 50 ms/,
    );
  });

  it("silent ones: a question for notes fails, and names the server", async () => {
    const place = await impostor(() => {}, { welcome: { notes: true } });
    const { source } = await impatient(place, 50);
    await expect(notesOf(source)).rejects.toThrow(/^net:127\.0\.0\.1:\d+: no answer within 50 ms/);
    await expect(notesOf(source)).rejects.toThrow(/^net:127\.0\.0\.1:\d+: /);
  });

  it("who lets everybody in and cuts them off at once is given up", async () => {
    const place = await impostor(() => {}, { onWelcome: (socket) => socket.destroySoon() });
    const { source } = await client({ place }, { retry: 5000 });
    await expect.poll(() => source.ranges().length, { timeout: 5000 }).toBe(0);
  });

  it.each<[string, unknown]>([
    ["none", { notes: null }],
    ["a list", { notes: [] }],
    ["no CPUs", { notes: { cpus: 7 } }],
    ["no registers", { notes: { cpus: [null] } }],
    ["a register that is no number", { notes: { cpus: [{ registers: { rip: {} } }] } }],
    ["a VMCOREINFO that is no text", { notes: { cpus: [], vmcoreinfo: 7 } }],
    ["raw ones that are none", { notes: { cpus: [], raw: [{}] } }],
    ["nothing", {}],
    ["no object", 7],
  ])("notes that are %s: who asked is told, with the server's name", async (_name, notes) => {
    const place = await impostor((socket) => socket.write(frame(8, notes)), { welcome: { notes: true } });
    const { source, io: reads } = await client({ place }, { retry: 100 });
    await expect(notesOf(source)).rejects.toThrow(
      /^net:127\.0\.0\.1:\d+: .*does not speak memtool's protocol/,
    );
    expect((await readPartial(reads, 0, 100)).holes).toMatchObject([{ state: "gone" }]);
  });

  it.each<[string, unknown]>([
    ["warnings that are no list", { ranges: [], warnings: 7 }],
    ["remarks that are no texts", { ranges: [], remarks: [{}] }],
    ["mappings that are none", { ranges: [], maps: [null] }],
    ["no ranges", { more: true }],
  ])("%s end the connection, with an error that names the server", async (_name, told) => {
    const place = await impostor(() => {}, {
      ranges: false,
      onWelcome: (socket) => socket.write(frame(6, told)),
    });
    await expect(client({ place })).rejects.toThrow(
      /^net:127\.0\.0\.1:\d+: .*does not speak memtool's protocol/,
    );
  });

  it("who tells ranges without end is given up", async () => {
    const page = frame(6, { ranges: [], more: true, maps: new Array(10_000).fill(MAPPING) });
    const place = await impostor(() => {}, {
      ranges: false,
      onWelcome: (socket) => {
        const more = () => socket.destroyed || socket.write(page, () => setImmediate(more));
        more();
      },
    });
    await expect(client({ place })).rejects.toThrow(/more ranges than are told/);
  });

  it("notes that nobody asked for end the connection", async () => {
    const place = await impostor((socket) => socket.write(frame(8, { notes: { cpus: [] } })));
    const { io: reads } = await client({ place }, { retry: 100 });
    expect((await readPartial(reads, 0, 100)).holes).toMatchObject([{ state: "gone" }]);
  });

  it("of another version is told", async () => {
    const later = createServer((socket) => {
      socket.on("error", () => {});
      socket.write(frame(1, { protocol: "memtool net", version: 2, nonce: "n".repeat(32) }));
    });
    await expect(openNet(await listening(later), { token: TOKEN })).rejects.toThrow(
      "it speaks version 2, this memtool version 1",
    );
  });
});
